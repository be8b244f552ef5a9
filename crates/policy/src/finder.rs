//! The winner for a packet, found without a look at every binding.
//!
//! The order of bindings is protocol, destination, width of the ports, source, interface, first port. So those that are
//! alike from the left stand together, each such run is found by halving, and precedence compares in the same order: the
//! most precise run is tried first, and the first one that holds the packet has the winner.

use std::cmp::Ordering;
use std::net::IpAddr;
use std::ops::Range;

use ipnet::IpNet;

use crate::binding::Binding;
use crate::entry::Entry;
use crate::packet::Packet;
use crate::policy::Policy;
use crate::protocol::Protocol;
use crate::toward::toward;

/// The binding whose outcome a packet gets, as [`decide`](crate::decide) says. For many packets make a [`Finder`].
pub fn winner(policy: &Policy, packet: &Packet) -> Option<usize> {
    let entries = policy.entries();
    let mut runs = toward(entries, |entry| &entry.binding, packet.protocol, packet.destination.ip());
    runs.find_map(|run| most_precise(entries, run, packet, Over::Packets))
}

/// Answers as [`decide`](crate::decide) does, for packet after packet.
#[derive(Debug, Clone)]
pub struct Finder<'p> {
    policy: &'p Policy,
    /// The lengths that destination prefixes have, the longest first: of TCP and UDP, over IPv4 and IPv6.
    lengths: [Vec<u8>; 4],
}

impl<'p> Finder<'p> {
    /// Looks through a policy once.
    pub fn new(policy: &'p Policy) -> Finder<'p> {
        let mut seen = [0u128; 4];
        let mut hosts = [false; 4];
        for Entry { binding, .. } in policy.entries() {
            let list = list(binding.protocol, binding.destination.addr());
            // 129 lengths, and 128 bits.
            match binding.destination.prefix_len() {
                128 => hosts[list] = true,
                length => seen[list] |= 1 << length,
            }
        }
        let lengths = |list: usize| {
            let host = hosts[list].then_some(128);
            host.into_iter().chain((0..128).rev().filter(|length| seen[list] >> length & 1 == 1)).collect()
        };
        Finder { policy, lengths: std::array::from_fn(lengths) }
    }

    /// The policy.
    pub fn policy(&self) -> &'p Policy {
        self.policy
    }

    /// The binding whose outcome a packet gets.
    pub fn winner(&self, packet: &Packet) -> Option<usize> {
        self.find(packet, Over::Packets)
    }

    /// Whether a packet whose interface is not known has another winner on some interface.
    pub fn depends_on_interface(&self, packet: &Packet) -> bool {
        if packet.interface.is_some() || self.policy.interfaces().is_empty() {
            return false;
        }
        // A binding that names an interface wins there unless a more precise one matches; of those that match somewhere
        // this is the most precise.
        let most_precise = self.find(packet, Over::Any);
        most_precise.is_some_and(|index| self.policy.entries()[index].binding.interface.is_some())
    }

    fn find(&self, packet: &Packet, over: Over) -> Option<usize> {
        let (entries, address) = (self.policy.entries(), packet.destination.ip());
        self.lengths[list(packet.protocol, address)].iter().find_map(|&length| {
            let prefix = IpNet::new(address, length).ok()?.trunc();
            let run = run(entries, 0..entries.len(), |b| (b.protocol, b.destination).cmp(&(packet.protocol, prefix)));
            most_precise(entries, run, packet, over)
        })
    }
}

/// Which of its lists a [`Finder`] has the lengths in.
fn list(protocol: Protocol, address: IpAddr) -> usize {
    usize::from(protocol == Protocol::Udp) * 2 + usize::from(address.is_ipv6())
}

/// Which interface a binding may name.
#[derive(Clone, Copy)]
enum Over {
    /// The packet's.
    Packets,
    /// Any.
    Any,
}

/// The most precise of the bindings to one destination that match.
fn most_precise(entries: &[Entry], mut rest: Range<usize>, packet: &Packet, over: Over) -> Option<usize> {
    while !rest.is_empty() {
        let width = entries[rest.start].binding.ports.width();
        let alike = run(entries, rest.clone(), |binding| binding.ports.width().cmp(&width));
        rest.start = alike.end;
        let from = |source: Option<IpNet>| {
            let alike = run(entries, alike.clone(), |binding| binding.source.cmp(&source));
            of_one_source(entries, alike, packet, over)
        };
        let source = packet.source.ip();
        // Those for anyone stand first.
        let some_name_sources = entries[alike.end - 1].binding.source.is_some();
        let longest = if some_name_sources { IpNet::from(source).prefix_len() } else { 0 };
        let prefixes = (1..=longest).rev().filter_map(|length| Some(IpNet::new(source, length).ok()?.trunc()));
        let found = prefixes.map(Some).chain([None]).find_map(from);
        if found.is_some() {
            return found;
        }
    }
    None
}

/// The same among those of one port width and source.
fn of_one_source(entries: &[Entry], alike: Range<usize>, packet: &Packet, over: Over) -> Option<usize> {
    let over_any = run(entries, alike.clone(), |binding| binding.interface.cmp(&None));
    let named = match (over, &packet.interface) {
        (Over::Packets, None) => None,
        (Over::Packets, interface) => {
            let run = run(entries, alike, |binding| binding.interface.cmp(interface));
            of_one_interface(entries, run, packet)
        }
        (Over::Any, _) => {
            let mut rest = over_any.end..alike.end;
            std::iter::from_fn(|| {
                let interface = &entries[rest.clone()].first()?.binding.interface;
                let run = run(entries, rest.clone(), |binding| binding.interface.cmp(interface));
                rest.start = run.end;
                Some(run)
            })
            .find_map(|run| of_one_interface(entries, run, packet))
        }
    };
    named.or_else(|| of_one_interface(entries, over_any, packet))
}

/// The same among those that differ in their first port alone: of equals, the first.
fn of_one_interface(entries: &[Entry], alike: Range<usize>, packet: &Packet) -> Option<usize> {
    let port = packet.destination.port();
    let before = entries[alike.clone()].partition_point(|entry| entry.binding.ports.last() < port);
    let index = alike.start + before;
    (alike.contains(&index) && entries[index].binding.ports.contains(port)).then_some(index)
}

/// The neighbours in a part of a sorted list that are `Equal` by an order that the list is sorted by there.
fn run(entries: &[Entry], within: Range<usize>, order: impl Fn(&Binding) -> Ordering) -> Range<usize> {
    let part = &entries[within.clone()];
    let start = part.partition_point(|entry| order(&entry.binding).is_lt());
    let length = part[start..].partition_point(|entry| order(&entry.binding).is_eq());
    within.start + start..within.start + start + length
}
