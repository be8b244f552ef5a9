//! The rows of a report, added up as people ask for them.

use std::collections::BTreeMap;

use sklookup_policy::{Entry, Label, Outcome, Packet, Policy};
use sklookup_replay::{Decided, Report, Traffic};

/// What one policy would do.
#[derive(Default)]
pub struct Sums<'a> {
    /// By binding, as the policy has them; those with traffic.
    pub bindings: BTreeMap<usize, (Traffic, &'a Packet)>,
    /// By label.
    pub labels: BTreeMap<&'a Label, Traffic>,
    /// To some label.
    pub steered: Traffic,
    /// Left to the regular lookup by a binding.
    pub passed: Traffic,
    /// Refused by a binding.
    pub refused: Traffic,
    /// Left to the regular lookup because no binding matches.
    pub unmatched: Traffic,
    /// About which the interface would decide, which is not told.
    pub untold: Traffic,
    /// All of it.
    pub total: Traffic,
}

impl<'a> Sums<'a> {
    pub fn of(report: &'a Report, policy: &'a Policy) -> Sums<'a> {
        let mut sums = Sums::default();
        for row in &report.rows {
            let traffic = row.traffic;
            sums.total.add(traffic);
            match row.by {
                Decided::Binding(index) => {
                    match &policy.entries()[index].binding.outcome {
                        Outcome::Steer { label, .. } => {
                            sums.steered.add(traffic);
                            sums.labels.entry(label).or_default().add(traffic);
                        }
                        Outcome::Pass => sums.passed.add(traffic),
                        Outcome::Refuse => sums.refused.add(traffic),
                    }
                    sums.bindings.insert(index, (traffic, &row.example));
                }
                Decided::NoBinding => sums.unmatched.add(traffic),
                Decided::Interface => sums.untold.add(traffic),
            }
        }
        sums
    }
}

/// What differs between two policies.
#[derive(Default)]
pub struct Changes<'a> {
    /// What gets another outcome, the most flows first.
    pub rows: Vec<Change<'a>>,
    /// All of that.
    pub changed: Traffic,
    /// What gets the same from both.
    pub unchanged: Traffic,
    /// About which the interface would decide, which is not told.
    pub untold: Traffic,
}

/// Traffic that gets another outcome.
pub struct Change<'a> {
    /// The binding that decided; `None`: no binding did.
    pub from: Option<&'a Entry>,
    /// The binding that would decide.
    pub to: Option<&'a Entry>,
    pub traffic: Traffic,
    pub example: &'a Packet,
}

impl<'a> Changes<'a> {
    pub fn of(report: &'a Report, to: &'a Policy, from: &'a Policy) -> Changes<'a> {
        let mut changes = Changes::default();
        for row in &report.rows {
            let traffic = row.traffic;
            let found = |decided: Decided, policy: &'a Policy| match decided {
                Decided::Binding(index) => Some(policy.entries().get(index)),
                Decided::NoBinding => Some(None),
                Decided::Interface => None,
            };
            let against = row.against.expect("there were two policies");
            let (Some(from), Some(to)) = (found(against, from), found(row.by, to)) else {
                changes.untold.add(traffic);
                continue;
            };
            if fate(from) == fate(to) {
                changes.unchanged.add(traffic);
            } else {
                changes.changed.add(traffic);
                changes.rows.push(Change { from, to, traffic, example: &row.example });
            }
        }
        changes.rows.sort_by_key(|change| std::cmp::Reverse((change.traffic.flows, change.traffic.packets)));
        changes
    }
}

/// What becomes of a packet: `pass` is what no binding does too.
fn fate(entry: Option<&Entry>) -> &Outcome {
    entry.map_or(&Outcome::Pass, |entry| &entry.binding.outcome)
}
