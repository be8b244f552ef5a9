//! A set of bindings in which every packet has one answer.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use crate::binding::Binding;
use crate::entry::Entry;
use crate::names::{Interface, Label};
use crate::packet::Packet;
use crate::ports::Ports;
use crate::prefix;
use crate::problem::{Problem, Problems};

/// The most bindings a policy can have.
pub const MAX_BINDINGS: usize = 1_000_000;

/// The most labels a policy can name.
pub const MAX_LABELS: usize = 10_000;

/// A valid policy: its bindings in the order of [`Binding`]'s `Ord`, each once, and no two in conflict.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    entries: Vec<Entry>,
    labels: Vec<Label>,
    interfaces: Vec<Interface>,
}

impl Policy {
    /// Makes a policy of `entries`, given in any order, or tells everything that is wrong with them.
    ///
    /// Of entries with equal bindings one is kept: the first without an owner, else the first.
    ///
    /// Wrong are bindings that can't be meant (the parser makes none), conflicts, and more than [`MAX_BINDINGS`]
    /// bindings or [`MAX_LABELS`] labels.
    pub fn new(mut entries: Vec<Entry>) -> Result<Self, Vec<Problem>> {
        let mut problems = Problems::default();
        for entry in &mut entries {
            if let Err(problem) = entry.binding.normalize() {
                problems.add(|| problem.at(entry.origin.clone()));
            }
        }

        // Stable, so that of twins of one kind the first given comes first.
        entries.sort_by(|a, b| (a.binding.cmp(&b.binding)).then(a.owner.is_some().cmp(&b.owner.is_some())));
        entries.dedup_by(|later, kept| later.binding == kept.binding);

        // A conflict shows between neighbours: those that could be in conflict differ in their first ports only and are
        // sorted by them, so whatever lies between two overlapping ranges overlaps both, and can't agree with both.
        for pair in entries.windows(2) {
            let [first, second] = pair else { continue };
            if let Some(packet) = proof_of_conflict(&first.binding, &second.binding) {
                problems.add(|| conflict(first, second, &packet));
            }
        }

        let labels = distinct(entries.iter().filter_map(|entry| entry.binding.label()));
        let interfaces = distinct(entries.iter().filter_map(|entry| entry.binding.interface.as_ref()));
        if entries.len() > MAX_BINDINGS {
            problems.add(|| {
                Problem::new(format!("the policy has {} bindings", entries.len()))
                    .help(format!("at most {MAX_BINDINGS} are possible: write prefixes and port ranges where you can"))
            });
        }
        if labels.len() > MAX_LABELS {
            problems.add(|| {
                Problem::new(format!("the policy names {} labels", labels.len())).help(format!(
                    "at most {MAX_LABELS} are possible: services that share their sockets can share a label"
                ))
            });
        }
        problems.or(Self { entries, labels, interfaces })
    }

    /// The bindings with their origins, in order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Every label that a binding names, sorted.
    pub fn labels(&self) -> &[Label] {
        &self.labels
    }

    /// Every interface that a binding names, sorted.
    pub fn interfaces(&self) -> &[Interface] {
        &self.interfaces
    }

    /// How many bindings there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no binding, so that every packet goes on to the regular lookup.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The canonical text: a policy file with one line per binding, in order. Equal sets of bindings have equal text,
    /// and the text read again is the same set. Origins and owners are not in it.
    pub fn canonical(&self) -> String {
        let mut text = String::from("bindings = [\n");
        for entry in &self.entries {
            // Interface names may hold quotes and backslashes.
            let line = entry.binding.to_string().replace('\\', "\\\\").replace('"', "\\\"");
            text.push_str("  \"");
            text.push_str(&line);
            text.push_str("\",\n");
        }
        text.push_str("]\n");
        text
    }
}

/// A packet that both bindings match with equal precedence, if there is one and their outcomes differ.
fn proof_of_conflict(first: &Binding, second: &Binding) -> Option<Packet> {
    let overlap_start = first.ports.first().max(second.ports.first());
    let overlap = overlap_start <= first.ports.last().min(second.ports.last());
    if first.outcome == second.outcome || !overlap || first.cmp_but_first_port(second).is_ne() {
        return None;
    }
    let source = first.source.map_or(prefix::example_peer(first.destination), prefix::example);
    let port = match first.ports {
        Ports::Every => 80,
        Ports::Range(_) => overlap_start,
    };
    Some(Packet {
        protocol: first.protocol,
        source: SocketAddr::new(source, 40000),
        destination: SocketAddr::new(prefix::example(first.destination), port),
        interface: first.interface.clone(),
    })
}

fn conflict(first: &Entry, second: &Entry, packet: &Packet) -> Problem {
    let Entry { binding, origin, .. } = second;
    Problem::new(format!(
        "`{}` conflicts with `{binding}` ({origin}): both match `{packet}` with equal precedence",
        first.binding
    ))
    .help("remove one, or make one more precise: a longer prefix, fewer ports, a source or an interface")
    .at(first.origin.clone())
}

fn distinct<'a, T: Ord + Clone + 'a>(names: impl Iterator<Item = &'a T>) -> Vec<T> {
    names.collect::<BTreeSet<_>>().into_iter().cloned().collect()
}
