//! What would change between two policies.

use std::cmp::Ordering;

use crate::binding::{Binding, Outcome};
use crate::policy::Policy;

/// The difference of two policies, each list in the order of [`Binding`]. Origins and owners are not compared.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Difference {
    /// Bindings that only the new policy has.
    pub added: Vec<Binding>,
    /// Bindings that only the old policy has.
    pub removed: Vec<Binding>,
    /// Bindings that match the same packets in both and treat them otherwise.
    pub changed: Vec<Change>,
}

/// A binding whose outcome changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The binding as it will be.
    pub binding: Binding,
    /// What its packets got before.
    pub before: Outcome,
}

impl Difference {
    /// Whether the two policies have the same bindings.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }
}

/// Compares two policies in one pass over both.
pub fn difference(old: &Policy, new: &Policy) -> Difference {
    let mut difference = Difference::default();
    let mut before = old.entries().iter().map(|entry| &entry.binding).peekable();
    let mut after = new.entries().iter().map(|entry| &entry.binding).peekable();
    loop {
        // What a policy matches is unique in it and sorted, or its bindings would be in conflict.
        let order = match (before.peek(), after.peek()) {
            (None, None) => return difference,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(before), Some(after)) => before.cmp_match(after),
        };
        let was = before.next_if(|_| order.is_le());
        let is = after.next_if(|_| order.is_ge());
        match (was, is) {
            (Some(was), Some(is)) if was.outcome != is.outcome => {
                difference.changed.push(Change { binding: is.clone(), before: was.outcome.clone() });
            }
            (Some(was), None) => difference.removed.push(was.clone()),
            (None, Some(is)) => difference.added.push(is.clone()),
            _ => {}
        }
    }
}
