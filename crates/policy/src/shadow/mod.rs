//! Bindings that no packet can reach.
//!
//! A binding is a box in three dimensions: destination addresses, destination ports, source addresses. It is
//! shadowed when the boxes before it in precedence, together, hold all of it. [`cover`] answers that for a set of boxes;
//! here the boxes are put together: one space for each protocol and family, and in it one question for each
//! interface, because a binding of one interface is covered by those of the same interface and those of any.

mod cover;
mod deciding;
mod region;
mod sweep;

use std::cmp::Reverse;
use std::collections::BTreeMap;

use ipnet::IpNet;

use crate::binding::Binding;
use crate::entry::Entry;
use crate::names::Interface;
use crate::policy::Policy;
use crate::protocol::Protocol;
use cover::{Block, Net};

pub use deciding::{Deciders, Traffic, deciding};

/// How many bindings are looked at to name those that cover others. Naming all can take the square of the number of
/// bindings (and so many names); finding out what is shadowed does not.
const LOOKS: usize = 2_000_000;

/// A binding that no packet can reach. Indices count [`Policy::entries`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shadow {
    /// The binding that is never used.
    pub binding: usize,
    /// All that win the packets it matches, in the order of the policy: two at least. For a binding of any interface
    /// those that win them on every interface, so none that names one.
    ///
    /// Empty if naming them would take too long, which needs thousands of shadowed bindings that have thousands in
    /// front of each.
    pub by: Vec<usize>,
}

/// Finds every binding that no packet can reach, because others of higher precedence take all its packets, alone or
/// together; in the order of the policy.
///
/// The time grows with the number of bindings as sorting does. Nothing is reported that is reachable. What is covered
/// only by the combination of several prefixes with millions of different port ranges and sources may be missed.
pub fn shadowed(policy: &Policy) -> Vec<Shadow> {
    let mut spaces: BTreeMap<(Protocol, bool), Vec<usize>> = BTreeMap::new();
    for (index, Entry { binding, .. }) in policy.entries().iter().enumerate() {
        spaces.entry((binding.protocol, binding.destination.addr().is_ipv4())).or_default().push(index);
    }
    let mut shadows: Vec<Shadow> = Vec::new();
    let mut looks = LOOKS;
    for members in spaces.into_values() {
        let space = Space::new(policy.entries(), members);
        let mut found = space.shadowed();
        found.sort_unstable();
        shadows.extend(found.into_iter().map(|rank| space.name(rank, &mut looks)));
    }
    shadows.sort_unstable_by_key(|shadow| shadow.binding);
    shadows
}

/// The bindings of one protocol and family.
struct Space<'a> {
    entries: &'a [Entry],
    /// By destination (a prefix before what it contains), then best first. A place in here is a rank.
    order: Vec<usize>,
}

impl<'a> Space<'a> {
    fn new(entries: &'a [Entry], mut members: Vec<usize>) -> Self {
        members.sort_by_cached_key(|&index| {
            let binding = &entries[index].binding;
            (binding.destination, Reverse(binding.precedence()), index)
        });
        Self { entries, order: members }
    }

    /// The ranks of all that are shadowed.
    fn shadowed(&self) -> Vec<usize> {
        let mut of_any = Vec::new();
        let mut by_interface: BTreeMap<&Interface, Vec<Block>> = BTreeMap::new();
        for rank in 0..self.order.len() {
            let block = block(self.binding(rank), rank);
            match &self.binding(rank).interface {
                None => of_any.push(block),
                Some(interface) => by_interface.entry(interface).or_default().push(block),
            }
        }
        let mut shadowed = cover::hidden(&of_any, &[]);
        for blocks in by_interface.values() {
            shadowed.extend(cover::hidden(blocks, &of_any));
        }
        shadowed
    }

    /// Finds who takes the packets of a shadowed binding: what is not hidden if we look at nothing but its box.
    fn name(&self, rank: usize, looks: &mut usize) -> Shadow {
        let covered = self.binding(rank);
        let bounds = block(covered, rank);
        // Those in front are the better ones of its own destination, which end before `rank`, and all destinations
        // within it, which follow the rest of its own.
        let destination = |index: &usize| self.entries[*index].binding.destination;
        let own = self.order.partition_point(|index| destination(index) < covered.destination);
        let within = self.order.partition_point(|index| destination(index) <= covered.destination);
        let behind =
            within + self.order[within..].partition_point(|index| covered.destination.contains(&destination(index)));
        let count = rank - own + behind - within;
        let Some(left) = looks.checked_sub(count) else {
            return Shadow { binding: self.order[rank], by: Vec::new() };
        };
        *looks = left;

        let candidates: Vec<Block> = (own..rank)
            .chain(within..behind)
            .filter(|&other| {
                let interface = &self.binding(other).interface;
                interface.is_none() || *interface == covered.interface
            })
            .filter_map(|other| block(self.binding(other), other).clipped_to(&bounds))
            .collect();
        let hidden = cover::hidden(&candidates, &[]);
        let mut is_hidden = hidden.into_iter().peekable();
        let mut by: Vec<usize> = candidates
            .iter()
            .filter(|block| is_hidden.next_if_eq(&block.rank).is_none())
            .map(|block| self.order[block.rank])
            .collect();
        by.sort_unstable();
        Shadow { binding: self.order[rank], by }
    }

    fn binding(&self, rank: usize) -> &'a Binding {
        &self.entries[self.order[rank]].binding
    }
}

fn block(binding: &Binding, rank: usize) -> Block {
    Block {
        destination: net(binding.destination),
        first: binding.ports.first(),
        last: binding.ports.last(),
        source: binding.source.map_or(Net::ALL, net),
        rank,
    }
}

/// IPv4 addresses become the high bits: the families are never mixed, and lengths stay what they are.
fn net(prefix: IpNet) -> Net {
    match prefix {
        IpNet::V4(prefix) => Net { bits: u128::from(prefix.addr().to_bits()) << 96, length: prefix.prefix_len() },
        IpNet::V6(prefix) => Net { bits: prefix.addr().to_bits(), length: prefix.prefix_len() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::parse_file;

    /// The shadowed bindings, each with those that cover it.
    fn shadows(lines: &[&str]) -> Vec<(String, Vec<String>)> {
        let policy = Policy::new(parse_file(&format!("bindings = {lines:?}"), "p.toml").unwrap()).unwrap();
        let text = |&index: &usize| policy.entries()[index].binding.to_string();
        let shadows = shadowed(&policy);
        shadows.iter().map(|shadow| (text(&shadow.binding), shadow.by.iter().map(text).collect())).collect()
    }

    fn shadow(binding: &str, by: &[&str]) -> Vec<(String, Vec<String>)> {
        vec![(binding.to_string(), by.iter().map(ToString::to_string).collect())]
    }

    #[test]
    fn two_halves_cover_a_prefix_and_one_does_not() {
        let (left, right) = ("l tcp 192.0.2.0/25", "r tcp 192.0.2.128/25");
        assert_eq!(shadows(&["a tcp 192.0.2.0/24 80", left, right]), shadow("a tcp 192.0.2.0/24 80", &[left, right]));
        assert_eq!(shadows(&["a tcp 192.0.2.0/24 80", left]), []);
        assert_eq!(shadows(&["a tcp 192.0.2.0/24 80", left, "r tcp 192.0.2.128/26"]), []);
    }

    #[test]
    fn hosts_cover_a_prefix_through_all_levels() {
        let mut lines: Vec<String> = (0..256).map(|i| format!("h tcp 192.0.2.{i} 80")).collect();
        lines.push("a tcp 192.0.2.0/24 80".into());
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let found = shadows(&lines);
        assert_eq!((found.len(), found[0].1.len()), (1, 256));
        assert_eq!(shadows(&lines[1..]), []);
    }

    #[test]
    fn the_widest_ranges_leave_port_zero() {
        let (low, high) = ("a tcp 192.0.2.7 1-32767", "b tcp 192.0.2.7 32768-65535");
        assert_eq!(shadows(&["c tcp 192.0.2.7", low, high]), []);
        assert_eq!(shadows(&["c tcp 192.0.2.7 1-65535", low, high]), shadow("c tcp 192.0.2.7 1-65535", &[low, high]));
    }

    #[test]
    fn halves_of_all_sources_cover_anyone_and_only_in_their_family() {
        let (low, high) = ("a tcp 192.0.2.7 80 from 0.0.0.0/1", "b tcp 192.0.2.7 80 from 128.0.0.0/1");
        let six = "c tcp 2001:db8::7 80";
        assert_eq!(shadows(&["c tcp 192.0.2.7 80", low, high, six]), shadow("c tcp 192.0.2.7 80", &[low, high]));
    }

    #[test]
    fn an_interface_is_covered_by_its_own_and_by_any() {
        let (own, any) = ("a tcp 192.0.2.0/25 dev x", "b tcp 192.0.2.128/25");
        assert_eq!(shadows(&["c tcp 192.0.2.0/24 dev x", own, any]), shadow("c tcp 192.0.2.0/24 dev x", &[own, any]));
        assert_eq!(shadows(&["c tcp 192.0.2.0/24 dev y", own, any]), []);
        assert_eq!(shadows(&["c tcp 192.0.2.0/24", own, any]), []);
    }

    #[test]
    fn equal_precedence_shadows_by_order() {
        let lines = ["a tcp 192.0.2.7 80-81", "a tcp 192.0.2.7 81-82", "a tcp 192.0.2.7 82-83"];
        assert_eq!(shadows(&lines), [], "each has a port of its own, the middle one 82");
        let lines = ["a tcp 192.0.2.7 80-81", "a tcp 192.0.2.7 81-82", "a tcp 192.0.2.7 82"];
        assert_eq!(shadows(&lines), shadow(lines[1], &[lines[2], lines[0]]));
    }

    #[test]
    fn those_who_win_nothing_of_it_are_not_named() {
        // Everything of the shadowed binding is taken by the halves; the wide ports below them win elsewhere.
        let (left, right) = ("l tcp 192.0.2.0/25 80-90", "r tcp 192.0.2.128/25 80-90");
        let found = shadows(&["a tcp 192.0.2.0/24 80-90", left, right, "w tcp 192.0.2.0/25"]);
        assert_eq!(found, shadow("a tcp 192.0.2.0/24 80-90", &[left, right]));
    }

    #[test]
    fn naming_stops_where_it_would_take_the_square() {
        // A thousand bindings of one prefix, each covered by the same 65,536 hosts.
        let hosts = (0..65_536).map(|i| format!("'h tcp 10.0.{}.{}',\n", i >> 8, i & 255));
        let covered = (1..=1000).map(|port| format!("'a tcp 10.0.0.0/16 {port}',\n"));
        let text: String = hosts.chain(covered).collect();
        let policy = Policy::new(parse_file(&format!("bindings = [{text}]"), "p.toml").unwrap()).unwrap();
        let found = shadowed(&policy);
        assert_eq!(found.len(), 1000);
        let named = found.iter().filter(|shadow| shadow.by.len() == 65_536).count();
        let unnamed = found.iter().filter(|shadow| shadow.by.is_empty()).count();
        assert!(named > 10 && named + unnamed == 1000, "{named} and {unnamed}");
    }
}
