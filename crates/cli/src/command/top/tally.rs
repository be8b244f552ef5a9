//! Rates: what was counted between two looks.

use std::collections::HashMap;
use std::time::Instant;

use sklookup_compiler::Counts;
use sklookup_policy::{Entry, Outcome, Policy};
use sklookup_steering::Sum;

use super::history::Histories;

/// What was counted, and how fast.
#[derive(Debug, Default)]
pub struct Tally {
    /// What is in effect.
    pub policy: Policy,
    /// Of all bindings together.
    pub total: Row,
    /// Of each binding, in the order of the policy.
    pub bindings: Vec<Row>,
    /// Of each label, and of the rules that pass and refuse, by name.
    pub groups: Vec<Group>,
    /// How the last ticks were, of bindings, groups, and all together as number 0.
    pub histories: [Histories; 3],
    group_of: Vec<usize>,
    counts: Vec<Counts>,
    at: Option<Instant>,
}

/// What was counted of one thing, and how fast.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Row {
    /// Since it was applied first.
    pub sum: Sum,
    /// Runs of the hook per second.
    pub runs: f64,
    /// Of these, such that found no socket or could not select it.
    pub errors: f64,
}

/// Bindings that belong together.
#[derive(Debug)]
pub struct Group {
    /// The label, or the action.
    pub name: String,
    /// It is a label.
    pub is_label: bool,
    /// What they counted.
    pub row: Row,
}

impl Tally {
    /// The numbers of histories.
    pub const BINDINGS: usize = 0;
    pub const GROUPS: usize = 1;
    pub const TOTAL: usize = 2;

    /// Takes what was counted until now.
    pub fn take(&mut self, policy: &Policy, counts: Vec<Counts>, now: Instant) {
        if *policy != self.policy || self.bindings.len() != policy.len() {
            self.change(policy);
        }
        let seconds = self.at.map(|at| now.duration_since(at).as_secs_f64());
        self.histories.iter_mut().for_each(Histories::tick);
        self.total = Row::default();
        self.groups.iter_mut().for_each(|group| group.row = Row::default());
        let entries = self.policy.entries();
        for (index, (entry, counts)) in entries.iter().zip(&counts).enumerate() {
            let row = &mut self.bindings[index];
            row.sum = Sum::of(&entry.binding, counts);
            let before = self.counts.get(index).copied().unwrap_or_default();
            (row.runs, row.errors) = match seconds {
                // The first look has nothing to compare with.
                None => (0.0, 0.0),
                Some(seconds) => {
                    let per_second = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds.max(0.001);
                    (per_second(counts.hits, before.hits), per_second(errors(counts), errors(&before)))
                }
            };
            self.histories[Tally::BINDINGS].note(index, in_history(row.runs));
            for sum in [&mut self.total, &mut self.groups[self.group_of[index]].row] {
                sum.sum.add(&row.sum);
                sum.runs += row.runs;
                sum.errors += row.errors;
            }
        }
        for (number, group) in self.groups.iter().enumerate() {
            self.histories[Tally::GROUPS].note(number, in_history(group.row.runs));
        }
        self.histories[Tally::TOTAL].note(0, in_history(self.total.runs));
        self.counts = counts;
        self.at = Some(now);
    }

    /// Another policy: what stays keeps its counts and its history.
    fn change(&mut self, policy: &Policy) {
        let place = |entry: &Entry| policy.entries().binary_search_by(|other| other.binding.cmp(&entry.binding)).ok();
        let moved: Vec<Option<usize>> = self.policy.entries().iter().map(place).collect();
        let mut counts = vec![Counts::default(); policy.len()];
        for (place, count) in moved.iter().zip(&self.counts) {
            if let Some(place) = place {
                counts[*place] = *count;
            }
        }
        self.histories[Tally::BINDINGS].renumber(|binding| moved.get(binding).copied().flatten());

        let mut groups: Vec<Group> = Vec::new();
        let mut known: HashMap<Option<&str>, usize> = HashMap::new();
        let mut refusing = None;
        self.group_of = Vec::with_capacity(policy.len());
        for entry in policy.entries() {
            let mut add = |name: &str, is_label| {
                groups.push(Group { name: name.to_owned(), is_label, row: Row::default() });
                groups.len() - 1
            };
            self.group_of.push(match &entry.binding.outcome {
                Outcome::Steer { label, .. } => {
                    *known.entry(Some(label.as_str())).or_insert_with(|| add(label.as_str(), true))
                }
                Outcome::Pass => *known.entry(None).or_insert_with(|| add("pass", false)),
                Outcome::Refuse => *refusing.get_or_insert_with(|| add("refuse", false)),
            });
        }
        let numbers: HashMap<(&str, bool), usize> =
            groups.iter().enumerate().map(|(number, group)| ((group.name.as_str(), group.is_label), number)).collect();
        let old = &self.groups;
        let number = |group: usize| {
            let group = old.get(group)?;
            numbers.get(&(group.name.as_str(), group.is_label)).copied()
        };
        self.histories[Tally::GROUPS].renumber(number);
        self.groups = groups;
        self.bindings = vec![Row::default(); policy.len()];
        self.counts = counts;
        self.policy = policy.clone();
    }
}

/// A rate as histories have it: whatever is not zero is not zero there.
fn in_history(rate: f64) -> u64 {
    rate.ceil() as u64
}

/// Hook runs that did not get the socket they were meant for.
pub fn errors(counts: &Counts) -> u64 {
    let Counts { hits: _, no_socket, unsupported, wrong_protocol, wrong_family, already_selected } = *counts;
    no_socket + unsupported + wrong_protocol + wrong_family + already_selected
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use sklookup_policy::parse_file;

    fn policy(lines: &[&str]) -> Policy {
        Policy::new(parse_file(&format!("bindings = {lines:?}"), "p.toml").unwrap()).unwrap()
    }

    fn hits(hits: u64, no_socket: u64) -> Counts {
        Counts { hits, no_socket, ..Counts::default() }
    }

    #[test]
    fn rates_are_what_was_counted_between_two_looks() {
        let policy = policy(&["a tcp 192.0.2.1 80", "a tcp 192.0.2.2 80", "pass tcp 192.0.2.3 80"]);
        let mut tally = Tally::default();
        let start = Instant::now();
        tally.take(&policy, vec![hits(100, 0), hits(0, 0), hits(7, 0)], start);
        assert_eq!(tally.total.runs, 0.0, "what was counted before is no rate");
        tally.take(&policy, vec![hits(120, 4), hits(2, 0), hits(7, 0)], start + Duration::from_secs(2));
        assert_eq!((tally.bindings[0].runs, tally.bindings[0].errors), (10.0, 2.0));
        assert_eq!((tally.total.runs, tally.total.sum.counts.hits), (11.0, 129));
        let groups: Vec<(&str, f64)> = tally.groups.iter().map(|group| (group.name.as_str(), group.row.runs)).collect();
        assert_eq!(groups, [("a", 11.0), ("pass", 0.0)]);
        assert_eq!(tally.histories[Tally::GROUPS].last(0, 2), [0, 11]);
    }

    #[test]
    fn what_happens_less_than_once_a_second_is_no_silence() {
        let policy = policy(&["a tcp 192.0.2.1 80"]);
        let mut tally = Tally::default();
        let start = Instant::now();
        tally.take(&policy, vec![hits(0, 0)], start);
        tally.take(&policy, vec![hits(1, 0)], start + Duration::from_secs(10));
        for histories in &tally.histories {
            assert_eq!(histories.last(0, 2), [0, 1]);
        }
    }

    #[test]
    fn what_stays_keeps_counts_and_history_when_the_policy_changes() {
        let mut tally = Tally::default();
        let start = Instant::now();
        let second = |number| start + Duration::from_secs(number);
        let two = policy(&["a tcp 192.0.2.1 80", "b tcp 192.0.2.2 80"]);
        tally.take(&two, vec![hits(0, 0), hits(0, 0)], start);
        tally.take(&two, vec![hits(0, 0), hits(5, 0)], second(1));
        let other = policy(&["b tcp 192.0.2.2 80", "c tcp 192.0.2.0 80"]);
        tally.take(&other, vec![hits(3, 0), hits(9, 0)], second(2));
        assert_eq!(tally.bindings.iter().map(|row| row.runs).collect::<Vec<_>>(), [3.0, 4.0]);
        assert_eq!(tally.histories[Tally::BINDINGS].last(1, 3), [0, 5, 4]);
        let b = tally.groups.iter().position(|group| group.name == "b").unwrap();
        assert_eq!(tally.histories[Tally::GROUPS].last(b, 2), [5, 4]);
        // Taken away and applied again, it counts from nothing.
        tally.take(&two, vec![hits(0, 0), hits(1, 0)], second(3));
        assert_eq!(tally.bindings[1].runs, 0.0);
    }
}
