//! What many bindings counted together, and what became of it.
//!
//! The program counts hits, and why no socket was selected. Everything else follows from what the binding says, and costs a
//! packet nothing: a hit of a rule was refused or passed, a hit without a socket is what `when-empty` says, all others were
//! steered.

use std::collections::HashMap;

use sklookup_compiler::Counts;
use sklookup_policy::{Binding, Label, Outcome, Policy, WhenEmpty};

/// What bindings counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// How many bindings.
    pub bindings: usize,
    /// What they counted.
    pub counts: Counts,
    /// What became of it.
    pub fates: Fates,
}

/// What became of the runs of the hook that bindings won. Each run has one fate: they add up to the hits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fates {
    /// A socket of the label was selected.
    pub steered: u64,
    /// Refused, by a rule or for want of a socket.
    pub refused: u64,
    /// Left to the regular lookup, by a rule or for want of a socket.
    pub passed: u64,
    /// Left to the socket that a program attached before ours had selected.
    pub left: u64,
}

/// The bindings of a policy, summed.
#[derive(Debug)]
pub struct Sums<'a> {
    /// All of them.
    pub total: Sum,
    /// Those that steer, by label.
    pub labels: HashMap<&'a Label, Sum>,
    /// Those that pass.
    pub pass: Sum,
    /// Those that refuse.
    pub refuse: Sum,
}

impl Sum {
    /// What one binding counted.
    pub fn of(binding: &Binding, counts: &Counts) -> Sum {
        Sum { bindings: 1, counts: *counts, fates: Fates::of(&binding.outcome, counts) }
    }

    /// Adds what others counted.
    pub fn add(&mut self, other: &Sum) {
        self.bindings += other.bindings;
        add(&mut self.counts, &other.counts);
        self.fates.steered += other.fates.steered;
        self.fates.refused += other.fates.refused;
        self.fates.passed += other.fates.passed;
        self.fates.left += other.fates.left;
    }
}

impl Fates {
    fn of(outcome: &Outcome, counts: &Counts) -> Fates {
        let Counts { hits, no_socket, unsupported, wrong_protocol, wrong_family, already_selected } = *counts;
        let in_vain = no_socket + unsupported + wrong_protocol + wrong_family;
        match outcome {
            Outcome::Pass => Fates { passed: hits, ..Fates::default() },
            Outcome::Refuse => Fates { refused: hits, ..Fates::default() },
            Outcome::Steer { when_empty, .. } => {
                let (refused, passed) = match when_empty {
                    WhenEmpty::Refuse => (in_vain, 0),
                    WhenEmpty::Pass => (0, in_vain),
                };
                // Hits are counted on each CPU without a lock, faults with one: a lost hit should not be 2^64 steered.
                let steered = hits.saturating_sub(in_vain + already_selected);
                Fates { steered, refused, passed, left: already_selected }
            }
        }
    }
}

impl<'a> Sums<'a> {
    /// Sums what was counted for each binding of a policy, in its order.
    pub fn of(policy: &'a Policy, counts: &[Counts]) -> Sums<'a> {
        let mut sums =
            Sums { total: Sum::default(), labels: HashMap::new(), pass: Sum::default(), refuse: Sum::default() };
        for (entry, counts) in policy.entries().iter().zip(counts) {
            let one = Sum::of(&entry.binding, counts);
            sums.total.add(&one);
            let sum = match &entry.binding.outcome {
                Outcome::Steer { label, .. } => sums.labels.entry(label).or_default(),
                Outcome::Pass => &mut sums.pass,
                Outcome::Refuse => &mut sums.refuse,
            };
            sum.add(&one);
        }
        sums
    }
}

/// Adds one binding's counts to a sum.
pub(crate) fn add(sum: &mut Counts, counts: &Counts) {
    sum.hits += counts.hits;
    sum.no_socket += counts.no_socket;
    sum.unsupported += counts.unsupported;
    sum.wrong_protocol += counts.wrong_protocol;
    sum.wrong_family += counts.wrong_family;
    sum.already_selected += counts.already_selected;
}

#[cfg(test)]
mod tests {
    use super::*;
    use sklookup_policy::{Origin, parse_binding};

    /// Faults of every kind, and twelve runs in all.
    const COUNTS: Counts =
        Counts { hits: 12, no_socket: 1, unsupported: 2, wrong_protocol: 1, wrong_family: 1, already_selected: 3 };

    fn policy() -> Policy {
        let lines = ["a tcp ::1 1", "a tcp ::1 2 when-empty pass", "b udp ::1", "pass tcp ::1 3", "refuse tcp ::1 4-5"];
        let entries = lines.iter().flat_map(|line| parse_binding(line, Origin::Command("x".into())).unwrap());
        Policy::new(entries.collect()).unwrap()
    }

    #[test]
    fn each_run_has_one_fate() {
        let policy = policy();
        let rule = Counts { hits: 12, ..Counts::default() };
        for entry in policy.entries() {
            let counts = if entry.binding.label().is_some() { COUNTS } else { rule };
            let Fates { steered, refused, passed, left } = Sum::of(&entry.binding, &counts).fates;
            assert_eq!(steered + refused + passed + left, 12, "{}", entry.binding);
        }
    }

    #[test]
    fn what_finds_no_socket_is_what_the_binding_says() {
        let policy = policy();
        let sums = Sums::of(&policy, &vec![COUNTS; policy.len()]);
        let a = sums.labels[&"a".parse::<Label>().unwrap()];
        assert_eq!((a.bindings, a.counts.hits, a.counts.no_socket), (2, 24, 2));
        assert_eq!(a.fates, Fates { steered: 8, refused: 5, passed: 5, left: 6 });
        let b = sums.labels[&"b".parse::<Label>().unwrap()];
        assert_eq!(b.fates, Fates { steered: 4, refused: 5, passed: 0, left: 3 });
        assert_eq!(sums.pass.fates, Fates { passed: 12, ..Fates::default() });
        assert_eq!(sums.refuse.fates, Fates { refused: 12, ..Fates::default() });
        assert_eq!((sums.total.bindings, sums.total.counts.hits), (5, 60));
        assert_eq!(sums.total.fates, Fates { steered: 12, refused: 22, passed: 17, left: 9 });
    }

    #[test]
    fn a_hit_that_was_lost_makes_no_number_of_twenty_digits() {
        let policy = policy();
        let counts = Counts { hits: 1, no_socket: 2, ..Counts::default() };
        assert_eq!(Sum::of(&policy.entries()[0].binding, &counts).fates.steered, 0);
    }
}
