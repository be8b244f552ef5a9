//! Who wins the packets of a region.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use ipnet::IpNet;

use super::cover::{self, Block, Net};
use super::net;
use crate::binding::Binding;
use crate::names::Interface;
use crate::policy::Policy;
use crate::ports::Ports;
use crate::protocol::Protocol;
use crate::toward::toward;

/// Packets of one protocol, to a prefix and some ports, perhaps from one source prefix and on one interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traffic {
    /// Their protocol.
    pub protocol: Protocol,
    /// Where they go.
    pub destination: IpNet,
    /// The ports there.
    pub ports: Ports,
    /// Where they come from; `None`: from anywhere.
    pub source: Option<IpNet>,
    /// The interface on which they arrive; `None`: any.
    pub interface: Option<Interface>,
}

impl From<&Binding> for Traffic {
    /// What a binding matches.
    fn from(binding: &Binding) -> Traffic {
        let Binding { protocol, destination, ports, source, ref interface, .. } = *binding;
        Traffic { protocol, destination, ports, source, interface: interface.clone() }
    }
}

/// Who decides about some traffic.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Deciders {
    /// The bindings that win some of its packets, in the order of the policy. Indices count [`Policy::entries`].
    pub bindings: Vec<usize>,
    /// No binding matches some of its packets, and the regular lookup has them.
    pub regular: bool,
}

/// Finds who decides about these packets.
///
/// Each one named wins a packet; only where the combination of several prefixes with millions of different port ranges
/// and sources leaves nothing to it may one be named that does not. The time grows with the number of bindings whose
/// destination holds that of the traffic, or lies in it.
pub fn deciding(policy: &Policy, traffic: &Traffic) -> Deciders {
    let entries = policy.entries();
    let binding = |index: usize| &entries[index].binding;
    let mut candidates = near(policy, traffic);
    candidates.retain(|&index| {
        let interface = &binding(index).interface;
        interface.is_none() || traffic.interface.is_none() || *interface == traffic.interface
    });
    // As if the destination of the traffic were all there is: what holds it becomes equal to it, and the order tells
    // them apart.
    let clipped = |index: usize| {
        let destination = binding(index).destination;
        if destination.prefix_len() < traffic.destination.prefix_len() { traffic.destination } else { destination }
    };
    candidates.sort_by_cached_key(|&index| (clipped(index), Reverse(binding(index).precedence()), index));

    let bounds = block(traffic.destination, traffic.ports, traffic.source, 0);
    let mut of_any: Vec<Block> = Vec::new();
    let mut by_interface: BTreeMap<&Interface, Vec<Block>> = BTreeMap::new();
    for (rank, &index) in candidates.iter().enumerate() {
        let Binding { ports, source, interface, .. } = binding(index);
        let Some(block) = block(clipped(index), *ports, *source, rank).clipped_to(&bounds) else { continue };
        match interface {
            None => of_any.push(block),
            Some(interface) => by_interface.entry(interface).or_default().push(block),
        }
    }
    // Behind all of them lies the regular lookup, as one more.
    let regular = candidates.len();
    of_any.push(Block { rank: regular, ..bounds });
    if traffic.interface.is_some() {
        // All are of one interface, or of any.
        of_any.extend(std::mem::take(&mut by_interface).into_values().flatten());
    }
    of_any.sort_unstable_by_key(|block| (block.destination, block.rank));
    // What can't be seen on an interface that no binding names is seen on none.
    let mut ranks = visible(&of_any, &[]);
    by_interface.values().for_each(|blocks| ranks.extend(visible(blocks, &of_any)));
    let mut bindings: Vec<usize> = ranks.iter().filter_map(|&rank| candidates.get(rank).copied()).collect();
    bindings.sort_unstable();
    Deciders { bindings, regular: ranks.contains(&regular) }
}

/// The bindings of the protocol whose destination holds that of the traffic, or lies in it.
fn near(policy: &Policy, traffic: &Traffic) -> Vec<usize> {
    let entries = policy.entries();
    let place = |index: usize| {
        let binding = &entries[index].binding;
        (binding.protocol, binding.destination)
    };
    let around = toward(entries, |entry| &entry.binding, traffic.protocol, traffic.destination.network()).flatten();
    let mut near: Vec<usize> =
        around.filter(|&index| place(index).1.prefix_len() < traffic.destination.prefix_len()).collect();
    // A prefix comes before what it contains.
    let first = entries.partition_point(|entry| {
        (entry.binding.protocol, entry.binding.destination) < (traffic.protocol, traffic.destination)
    });
    let within = |index: &usize| {
        let (protocol, destination) = place(*index);
        protocol == traffic.protocol && traffic.destination.contains(&destination)
    };
    near.extend((first..entries.len()).take_while(within));
    near
}

/// The ranks of those that are not hidden.
fn visible(judged: &[Block], others: &[Block]) -> Vec<usize> {
    let mut hidden = cover::hidden(judged, others);
    hidden.sort_unstable();
    let ranks = judged.iter().map(|block| block.rank);
    ranks.filter(|rank| hidden.binary_search(rank).is_err()).collect()
}

fn block(destination: IpNet, ports: Ports, source: Option<IpNet>, rank: usize) -> Block {
    let source = source.map_or(Net::ALL, net);
    Block { destination: net(destination), first: ports.first(), last: ports.last(), source, rank }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse_file;

    /// Who decides about what this line matches; `-` is the regular lookup.
    fn deciding_about(line: &str, lines: &[&str]) -> Vec<String> {
        let read =
            |lines: &[&str]| Policy::new(parse_file(&format!("bindings = {lines:?}"), "p.toml").unwrap()).unwrap();
        let policy = read(lines);
        let traffic = Traffic::from(&read(&[line]).entries()[0].binding);
        let name = |index: usize| policy.entries()[index].binding.outcome.to_string();
        let Deciders { bindings, regular } = deciding(&policy, &traffic);
        bindings.into_iter().map(name).chain(regular.then(|| "-".to_owned())).collect()
    }

    #[test]
    fn what_lies_within_and_what_lies_around_decides_as_far_as_it_can_be_seen() {
        let lines =
            ["a tcp 192.0.0.0/16 80", "b tcp 192.0.2.0/24", "c tcp 192.0.2.7 81", "d tcp 0.0.0.0/0", "e udp ::/0"];
        assert_eq!(deciding_about("x tcp 192.0.0.0/16 80", &lines), ["a", "b"]);
        assert_eq!(deciding_about("x tcp 192.0.2.7 80-81", &lines), ["b", "c"]);
        assert_eq!(deciding_about("x tcp 192.0.2.7 81", &lines), ["c"]);
        assert_eq!(deciding_about("x tcp 192.0.0.0/16 79-80", &lines), ["d", "a", "b"]);
        assert_eq!(deciding_about("x tcp 198.51.100.7", &lines), ["d"]);
        assert_eq!(deciding_about("x udp 198.51.100.7", &lines), ["-"]);
    }

    #[test]
    fn an_interface_hides_nothing_from_the_others() {
        let lines = ["a tcp 192.0.2.7 80 dev x", "b tcp 192.0.2.7", "c tcp 192.0.2.0/24 dev y"];
        assert_eq!(deciding_about("q tcp 192.0.2.7 80", &lines), ["a", "b"]);
        assert_eq!(deciding_about("q tcp 192.0.2.7 80 dev x", &lines), ["a"]);
        assert_eq!(deciding_about("q tcp 192.0.2.0/24 80 dev y", &lines), ["c", "b"]);
    }
}
