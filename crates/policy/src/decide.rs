//! The definition of what a policy does to a packet.

use std::cmp::Reverse;

use crate::packet::Packet;
use crate::policy::Policy;

/// Which binding decides about a packet. Indices count [`Policy::entries`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Decision {
    /// The binding whose outcome the packet gets; `None`: no binding matches, and the regular lookup goes on.
    pub winner: Option<usize>,
    /// The other bindings that match, best first.
    pub runners_up: Vec<usize>,
}

/// Decides by looking at every binding: written for reading, and what every compiled form has to agree with.
///
/// Bindings of equal precedence that match one packet have the same outcome, or the policy would not exist; the first
/// in order wins.
pub fn decide(policy: &Policy, packet: &Packet) -> Decision {
    let entries = policy.entries();
    let mut matching: Vec<usize> = (0..entries.len()).filter(|&index| entries[index].binding.matches(packet)).collect();
    matching.sort_by_key(|&index| (Reverse(entries[index].binding.precedence()), index));

    let mut best_first = matching.into_iter();
    Decision { winner: best_first.next(), runners_up: best_first.collect() }
}
