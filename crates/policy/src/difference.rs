//! What would change between two policies.

use std::cmp::Ordering;

use crate::binding::Binding;
use crate::policy::Policy;

/// The difference of two policies, each list in the order of [`Binding`]. Origins and owners are not compared.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Difference<'a> {
    /// Bindings that only the new policy has.
    pub added: Vec<&'a Binding>,
    /// Bindings that only the old policy has.
    pub removed: Vec<&'a Binding>,
    /// Bindings that match the same packets in both and treat them otherwise.
    pub changed: Vec<Change<'a>>,
}

/// A binding whose outcome changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change<'a> {
    /// The binding as it was.
    pub before: &'a Binding,
    /// The binding as it will be.
    pub after: &'a Binding,
}

impl Difference<'_> {
    /// Whether the two policies have the same bindings.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }
}

/// Compares two policies in one pass over both.
pub fn difference<'a>(old: &'a Policy, new: &'a Policy) -> Difference<'a> {
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
            (Some(before), Some(after)) if before.outcome != after.outcome => {
                difference.changed.push(Change { before, after });
            }
            (Some(was), None) => difference.removed.push(was),
            (None, Some(is)) => difference.added.push(is),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::parse_file;

    fn policy(lines: &[&str]) -> Policy {
        Policy::new(parse_file(&format!("bindings = {lines:?}"), "p.toml").unwrap()).unwrap()
    }

    fn texts(bindings: &[&Binding]) -> Vec<String> {
        bindings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn added_removed_and_changed_are_apart() {
        let old = policy(&["a tcp 192.0.2.1 80", "b tcp 192.0.2.2 80", "c tcp 192.0.2.3 80", "d tcp 192.0.2.9"]);
        let new = policy(&["z tcp 192.0.2.0 80", "a tcp 192.0.2.1 80", "x tcp 192.0.2.2 80", "c tcp 192.0.2.3 81"]);
        let difference = difference(&old, &new);
        assert_eq!(texts(&difference.added), ["z tcp 192.0.2.0 80", "c tcp 192.0.2.3 81"]);
        assert_eq!(texts(&difference.removed), ["c tcp 192.0.2.3 80", "d tcp 192.0.2.9"]);
        let [Change { before, after }] = difference.changed[..] else { panic!("{difference:?}") };
        assert_eq!(texts(&[before, after]), ["b tcp 192.0.2.2 80", "x tcp 192.0.2.2 80"]);
    }

    #[test]
    fn a_change_of_when_empty_is_a_change_and_of_origin_is_none() {
        let old = policy(&["a tcp 192.0.2.1 80"]);
        assert!(difference(&old, &policy(&["a tcp 192.0.2.1/32 80-80"])).is_empty());
        assert_eq!(difference(&old, &policy(&["a tcp 192.0.2.1 80 when-empty pass"])).changed.len(), 1);
    }

    #[test]
    fn against_nothing_everything_is_added_or_removed() {
        let (nothing, some) = (Policy::default(), policy(&["a tcp 192.0.2.1 80", "a tcp 192.0.2.2 80"]));
        assert_eq!(difference(&nothing, &some).added.len(), 2);
        assert_eq!(difference(&some, &nothing).removed.len(), 2);
        assert!(difference(&some, &some).is_empty());
    }
}
