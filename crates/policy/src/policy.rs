//! A set of bindings in which every packet has one answer.

use std::collections::{BTreeSet, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;

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
///
/// A clone shares the bindings: there may be a million.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy(Arc<Contents>);

#[derive(Debug, Default, PartialEq, Eq)]
struct Contents {
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
    pub fn new(entries: Vec<Entry>) -> Result<Self, Vec<Problem>> {
        let mut problems = Problems::default();
        let entries = in_order(entries, &mut problems);
        let labels = distinct(labels(&entries));
        let interfaces = distinct(interfaces(&entries));
        Self::checked(Contents { entries, labels, interfaces }, problems)
    }

    /// The policy with more entries: what [`Policy::new`] makes of all of them, without sorting again what is in order.
    ///
    /// # Errors
    /// As [`Policy::new`].
    pub fn with(&self, added: Vec<Entry>) -> Result<Self, Vec<Problem>> {
        if added.is_empty() {
            return Ok(self.clone());
        }
        let mut problems = Problems::default();
        let added = in_order(added, &mut problems);
        let labels = distinct(self.labels().iter().chain(labels(&added)));
        let interfaces = distinct(self.interfaces().iter().chain(interfaces(&added)));

        let mut entries = Vec::with_capacity(self.len() + added.len());
        let mut rest = self.entries();
        for new in added {
            let (before, from) = rest.split_at(rest.partition_point(|entry| entry.binding < new.binding));
            entries.extend_from_slice(before);
            rest = from;
            match from.split_first() {
                Some((twin, after)) if twin.binding == new.binding => {
                    entries.push(if twin.owner.is_some() && new.owner.is_none() { new } else { twin.clone() });
                    rest = after;
                }
                _ => entries.push(new),
            }
        }
        entries.extend_from_slice(rest);
        Self::checked(Contents { entries, labels, interfaces }, problems)
    }

    /// The policy with those of its entries that are to be kept; the same one if these are all.
    #[must_use]
    pub fn filtered(&self, keep: impl FnMut(&Entry) -> bool) -> Self {
        let kept: Vec<bool> = self.entries().iter().map(keep).collect();
        if kept.iter().all(|&kept| kept) {
            return self.clone();
        }
        // A part of what is without conflicts has none.
        let entries: Vec<Entry> =
            self.entries().iter().zip(kept).filter(|&(_, kept)| kept).map(|(entry, _)| entry.clone()).collect();
        let labels = distinct(labels(&entries));
        let interfaces = distinct(interfaces(&entries));
        Self(Arc::new(Contents { entries, labels, interfaces }))
    }

    /// Checks what bindings in order can still have wrong together.
    fn checked(contents: Contents, mut problems: Problems) -> Result<Self, Vec<Problem>> {
        let Contents { entries, labels, .. } = &contents;
        // A conflict shows between neighbours: those that could be in conflict differ in their first ports only and are
        // sorted by them, so whatever lies between two overlapping ranges overlaps both, and can't agree with both.
        for pair in entries.windows(2) {
            let [first, second] = pair else { continue };
            if let Some(packet) = proof_of_conflict(&first.binding, &second.binding) {
                problems.add(|| conflict(first, second, &packet));
            }
        }
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
        problems.or(()).map(|()| Self(Arc::new(contents)))
    }

    /// The bindings with their origins, in order.
    pub fn entries(&self) -> &[Entry] {
        &self.0.entries
    }

    /// Every label that a binding names, sorted.
    pub fn labels(&self) -> &[Label] {
        &self.0.labels
    }

    /// Every interface that a binding names, sorted.
    pub fn interfaces(&self) -> &[Interface] {
        &self.0.interfaces
    }

    /// How many bindings there are.
    pub fn len(&self) -> usize {
        self.entries().len()
    }

    /// Whether there is no binding, so that every packet goes on to the regular lookup.
    pub fn is_empty(&self) -> bool {
        self.entries().is_empty()
    }

    /// The canonical text: a policy file with one line per binding, in order. Equal sets of bindings have equal text,
    /// and the text read again is the same set. Origins and owners are not in it.
    pub fn canonical(&self) -> String {
        let mut text = String::from("bindings = [\n");
        for entry in self.entries() {
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

/// Sorts entries, and of those with equal bindings keeps the first without an owner, else the first.
fn in_order(mut entries: Vec<Entry>, problems: &mut Problems) -> Vec<Entry> {
    for entry in &mut entries {
        if let Err(problem) = entry.binding.normalize() {
            problems.add(|| problem.at(entry.origin.clone()));
        }
    }
    // Stable, so that of twins of one kind the first given comes first.
    entries.sort_by(|a, b| (a.binding.cmp(&b.binding)).then(a.owner.is_some().cmp(&b.owner.is_some())));
    entries.dedup_by(|later, kept| later.binding == kept.binding);
    entries
}

fn labels(entries: &[Entry]) -> impl Iterator<Item = &Label> {
    entries.iter().filter_map(|entry| entry.binding.label())
}

fn interfaces(entries: &[Entry]) -> impl Iterator<Item = &Interface> {
    entries.iter().filter_map(|entry| entry.binding.interface.as_ref())
}

/// The different ones of some names, sorted.
fn distinct<'a, T: Ord + Clone + AsRef<str> + 'a>(names: impl Iterator<Item = &'a T>) -> Vec<T> {
    // Bindings that were read together share the text of their names: most need not be compared.
    let mut seen = HashSet::new();
    let unseen = names.filter(|&name| seen.insert(name.as_ref().as_ptr()));
    unseen.collect::<BTreeSet<_>>().into_iter().cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{Origin, Owner};
    use crate::line::parse_binding;
    use crate::ports::PortRange;

    fn entries(lines: &[&str]) -> Vec<Entry> {
        let read = |(index, line): (usize, &&str)| {
            parse_binding(line, Origin::File { path: "p.toml".into(), line: index as u32 + 1 }).unwrap()
        };
        lines.iter().enumerate().flat_map(read).collect()
    }

    #[test]
    fn bindings_are_sorted_and_canonical_whatever_the_order_of_writing() {
        let policy = Policy::new(entries(&[
            "web tcp 2001:db8::/48 80",
            "dns udp,tcp 192.0.2.53/32 53 from 0.0.0.0/0 when-empty pass",
            "web tcp 192.0.2.0/24 8000-8999,443,80 dev eth\"\\0 from 198.51.100.0/24 when-empty refuse",
            "pass tcp 192.0.2.0/24 *",
        ]));
        let text = r#"bindings = [
  "web tcp 192.0.2.0/24 80 from 198.51.100.0/24 dev eth\"\\0",
  "web tcp 192.0.2.0/24 443 from 198.51.100.0/24 dev eth\"\\0",
  "web tcp 192.0.2.0/24 8000-8999 from 198.51.100.0/24 dev eth\"\\0",
  "pass tcp 192.0.2.0/24",
  "dns tcp 192.0.2.53 53 when-empty pass",
  "web tcp 2001:db8::/48 80",
  "dns udp 192.0.2.53 53 when-empty pass",
]
"#;
        let policy = policy.unwrap();
        assert_eq!(policy.canonical(), text);
        assert_eq!(Policy::new(crate::parse_file(text, "p.toml").unwrap()).unwrap().canonical(), text);
        assert_eq!(policy.labels().iter().map(Label::as_str).collect::<Vec<_>>(), ["dns", "web"]);
        assert_eq!(policy.interfaces().iter().map(Interface::as_str).collect::<Vec<_>>(), ["eth\"\\0"]);
        assert_eq!(Policy::default().canonical(), "bindings = [\n]\n");
    }

    #[test]
    fn of_twins_the_first_without_an_owner_is_kept() {
        let mut twins = entries(&["web tcp 192.0.2.7 80", "web tcp 192.0.2.7/32 80-80", "web tcp 192.0.2.7 80"]);
        twins[0].owner = Some(Owner { pid: 7, start: 9, pid_namespace: None });
        let policy = Policy::new(twins.clone()).unwrap();
        assert_eq!(policy.entries(), &twins[1..2]);

        twins.iter_mut().for_each(|twin| twin.owner = Some(Owner { pid: 7, start: 9, pid_namespace: None }));
        assert_eq!(Policy::new(twins.clone()).unwrap().entries(), &twins[..1]);
    }

    #[test]
    fn adding_and_keeping_are_the_same_as_making_anew() {
        let owner = Some(Owner { pid: 7, start: 9, pid_namespace: None });
        let mut some = entries(&["a tcp 192.0.2.0/24 80", "b tcp 192.0.2.7 80 dev x", "c udp 192.0.2.9", "c tcp ::/0"]);
        some[1].owner = owner;
        let mut more = entries(&["d tcp 10.0.0.1 80", "c udp 192.0.2.9", "b tcp 192.0.2.7 80 dev x", "a tcp ::/0 1"]);
        more[1].owner = owner;
        let policy = Policy::new(some.clone()).unwrap();
        let whole = policy.with(more.clone()).unwrap();
        assert_eq!(whole, Policy::new([some, more.clone()].concat()).unwrap());
        assert_eq!(whole.len(), 6);

        let kept: Vec<Entry> =
            whole.entries().iter().filter(|entry| entry.binding.interface.is_none()).cloned().collect();
        let part = whole.filtered(|entry| entry.binding.interface.is_none());
        assert_eq!(part, Policy::new(kept).unwrap());
        assert_eq!(part.interfaces(), []);
        assert_eq!(Policy::default().with(more.clone()), Policy::new(more));
    }

    #[test]
    fn adding_a_conflict_is_refused_as_it_would_be_in_one_file() {
        let (some, more) = (entries(&["a tcp 192.0.2.0/24 80-90"]), entries(&["b tcp 192.0.2.0/24 85-95"]));
        let policy = Policy::new(some.clone()).unwrap();
        assert_eq!(policy.with(more.clone()), Policy::new([some, more].concat()));
        let mut wrong = entries(&["a tcp 192.0.2.0/24 99"]);
        wrong[0].binding.destination = "192.0.2.7/24".parse().unwrap();
        assert!(policy.with(wrong).is_err());
    }

    #[test]
    fn overlaps_of_one_outcome_and_neighbours_of_two_are_no_conflict() {
        for lines in [
            &["a tcp 192.0.2.0/24 80-81", "a tcp 192.0.2.0/24 81-82"][..],
            &["a tcp 192.0.2.0/24 80-81", "b tcp 192.0.2.0/24 82-83"],
            &["a tcp 192.0.2.0/24 80-82", "b tcp 192.0.2.0/24 81-82"],
            &["a tcp 192.0.2.0/24", "b tcp 192.0.2.0/24 1-65535"],
            &["a tcp 192.0.2.0/24 80", "b udp 192.0.2.0/24 80"],
            &["a tcp 192.0.2.0/24 80 dev x", "b tcp 192.0.2.0/24 80 dev y", "c tcp 192.0.2.0/24 80"],
            &["a tcp 192.0.2.0/24 80 from 10.0.0.0/8", "b tcp 192.0.2.0/24 80 from 11.0.0.0/8"],
        ] {
            assert!(Policy::new(entries(lines)).is_ok(), "{lines:?}");
        }
    }

    #[test]
    fn every_conflict_is_reported_and_other_problems_beside_them() {
        let mut wrong = entries(&[
            "a tcp 192.0.2.0/24 80",
            "b tcp 192.0.2.0/24 80",
            "a udp 2001:db8::/48",
            "refuse udp 2001:db8::/48",
            "c tcp 192.0.2.7 80",
        ]);
        wrong[4].binding.source = Some("::/0".parse().unwrap());
        let problems = Policy::new(wrong).unwrap_err();
        let origins: Vec<String> =
            problems.iter().map(|problem| problem.origin.as_ref().unwrap().to_string()).collect();
        assert_eq!(origins, ["p.toml:5", "p.toml:1", "p.toml:3"]);
    }

    #[test]
    fn bindings_that_no_parser_would_make_are_refused() {
        let bare = entries(&["web tcp 192.0.2.0/24 80"]).remove(0);
        let refused = |change: fn(&mut Binding)| {
            let mut entry = bare.clone();
            change(&mut entry.binding);
            Policy::new(vec![entry]).is_err()
        };
        assert!(!refused(|_| ()));
        assert!(refused(|binding| binding.destination = "192.0.2.7/24".parse().unwrap()));
        assert!(refused(|binding| binding.destination = "::ffff:0:0/96".parse().unwrap()));
        assert!(refused(|binding| binding.source = Some("10.0.0.1/8".parse().unwrap())));
        assert!(refused(|binding| binding.source = Some("2001:db8::/48".parse().unwrap())));
        assert!(refused(|binding| binding.ports = Ports::Range(PortRange { first: 0, last: 9 })));
        assert!(refused(|binding| binding.ports = Ports::Range(PortRange { first: 9, last: 8 })));
    }

    #[test]
    fn a_source_of_everything_is_no_source() {
        let mut entry = entries(&["web tcp 192.0.2.0/24 80"]);
        entry[0].binding.source = Some("0.0.0.0/0".parse().unwrap());
        assert_eq!(Policy::new(entry).unwrap().entries()[0].binding.source, None);
    }

    #[test]
    fn a_policy_over_the_limits_is_refused() {
        let lines: Vec<String> = (0..=MAX_LABELS).map(|i| format!("label{i} tcp 10.0.0.0/8 {}", i + 1)).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        assert!(Policy::new(entries(&lines[1..])).is_ok());
        let problems = Policy::new(entries(&lines)).unwrap_err();
        assert_eq!(problems[0].message, "the policy names 10001 labels");

        let mut many = entries(&["web tcp 192.0.2.0/24 80"]);
        many.resize(MAX_BINDINGS + 1, many[0].clone());
        assert_eq!(Policy::new(many.clone()).unwrap().len(), 1, "twins are one binding");
        for (i, entry) in many.iter_mut().enumerate() {
            entry.binding.destination = std::net::IpAddr::V4((0x0a00_0000 + i as u32).into()).into();
        }
        assert_eq!(Policy::new(many).unwrap_err()[0].message, "the policy has 1000001 bindings");
    }
}
