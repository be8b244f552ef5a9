//! What a policy does with every port of an address.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::binding::Binding;
use crate::names::Interface;
use crate::policy::Policy;
use crate::ports::PortRange;
use crate::protocol::Protocol;
use crate::toward::toward;

/// Packets to every port of one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToAddress {
    /// Their protocol.
    pub protocol: Protocol,
    /// Where they go.
    pub destination: IpAddr,
    /// Where they come from, of the destination's family; `None`: from anywhere.
    pub source: Option<IpNet>,
    /// The interface on which they arrive; `None`: any.
    pub interface: Option<Interface>,
}

/// Neighbouring ports with one answer. Indices count [`Policy::entries`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortSpan {
    /// The ports.
    pub ports: PortRange,
    /// Bindings that decide for a part of the packets in question: each for those from its source and on its interface
    /// that no binding before it has.
    pub some: Vec<usize>,
    /// The binding that decides for all others; `None`: the regular lookup does.
    pub rest: Option<usize>,
}

/// What becomes of packets to every port of an address: spans from port 0 to port 65535, each as long as it can be.
///
/// For every packet in question the first binding of its span that matches it, `some` before `rest`, is the one that
/// [`decide`](crate::decide) names.
pub fn by_port(policy: &Policy, asked: &ToAddress) -> Vec<PortSpan> {
    let entries = policy.entries();
    let binding = |index: usize| &entries[index].binding;
    let runs = toward(entries, |entry| &entry.binding, asked.protocol, asked.destination);
    let mut best_first: Vec<usize> = runs.flatten().filter(|&index| asked.can_meet(binding(index))).collect();
    best_first.sort_by_key(|&index| (Reverse(binding(index).precedence()), index));

    // Where a binding, by its place in that order, begins or has ended; u32, for the last port has a next one too.
    let mut edges: Vec<(u32, usize)> = Vec::with_capacity(2 * best_first.len());
    for (place, &index) in best_first.iter().enumerate() {
        let ports = binding(index).ports;
        edges.extend([(u32::from(ports.first()), place), (u32::from(ports.last()) + 1, place)]);
    }
    edges.sort_unstable();

    let mut spans: Vec<PortSpan> = Vec::new();
    let mut present: BTreeSet<usize> = BTreeSet::new();
    let mut edges = edges.into_iter().peekable();
    let mut first = 0;
    while first <= u32::from(u16::MAX) {
        while let Some((_, place)) = edges.next_if(|(port, _)| *port == first) {
            if !present.remove(&place) {
                present.insert(place);
            }
        }
        let next = edges.peek().map_or(1 << 16, |(port, _)| *port);
        let (some, rest) = asked.chain(present.iter().map(|&place| best_first[place]), binding);
        let last = u16::try_from(next - 1).expect("no edge lies beyond 65536");
        match spans.last_mut() {
            Some(span) if span.some == some && span.rest == rest => span.ports.last = last,
            _ => {
                let first = u16::try_from(first).expect("the loop ends with the last port");
                spans.push(PortSpan { ports: PortRange { first, last }, some, rest });
            }
        }
        first = next;
    }
    spans
}

impl ToAddress {
    /// Whether a binding matches any of the packets, as far as source and interface are concerned.
    fn can_meet(&self, binding: &Binding) -> bool {
        let source = match (binding.source, self.source) {
            (Some(theirs), Some(ours)) => theirs.contains(&ours) || ours.contains(&theirs),
            _ => true,
        };
        let interface = self.interface.is_none() || binding.interface.is_none() || binding.interface == self.interface;
        source && interface
    }

    /// Whether it matches all of them.
    fn always_meets(&self, binding: &Binding) -> bool {
        let source = binding.source.is_none_or(|theirs| self.source.is_some_and(|ours| theirs.contains(&ours)));
        source && (binding.interface.is_none() || binding.interface == self.interface)
    }

    /// Those of some bindings, best first, that decide about packets.
    fn chain<'a>(
        &self,
        best_first: impl Iterator<Item = usize>,
        binding: impl Fn(usize) -> &'a Binding,
    ) -> (Vec<usize>, Option<usize>) {
        let mut some: Vec<usize> = Vec::new();
        for index in best_first {
            if self.always_meets(binding(index)) {
                return (some, Some(index));
            }
            if !some.iter().any(|&before| takes_all_of(binding(before), binding(index))) {
                some.push(index);
            }
        }
        (some, None)
    }
}

/// Whether the sources and interfaces of a binding are all among those of another.
fn takes_all_of(before: &Binding, binding: &Binding) -> bool {
    let source = before.source.is_none_or(|before| binding.source.is_some_and(|source| before.contains(&source)));
    source && (before.interface.is_none() || before.interface == binding.interface)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse_file;

    /// The spans of a policy for tcp to 192.0.2.7, as text.
    fn spans(lines: &[&str], source: Option<&str>, interface: Option<&str>) -> Vec<String> {
        let policy = Policy::new(parse_file(&format!("bindings = {lines:?}"), "p.toml").unwrap()).unwrap();
        let asked = ToAddress {
            protocol: Protocol::Tcp,
            destination: "192.0.2.7".parse().unwrap(),
            source: source.map(|source| source.parse().unwrap()),
            interface: interface.map(|interface| interface.parse().unwrap()),
        };
        let name = |&index: &usize| policy.entries()[index].binding.outcome.to_string();
        let span = |PortSpan { ports, some, rest }: &PortSpan| {
            let names: Vec<String> = some.iter().map(name).collect();
            let rest = rest.as_ref().map_or("-".to_owned(), name);
            format!("{ports} {}", [names, vec![rest]].concat().join(" "))
        };
        by_port(&policy, &asked).iter().map(span).collect()
    }

    #[test]
    fn ports_are_cut_at_the_edges_of_bindings_and_nowhere_else() {
        assert_eq!(spans(&[], None, None), ["0-65535 -"]);
        assert_eq!(spans(&["a tcp 192.0.2.0/24"], None, None), ["0-65535 a"]);
        let lines = ["a tcp 192.0.2.0/24 80-90", "b tcp 192.0.2.7 85", "c tcp 192.0.2.8", "d udp 192.0.2.7"];
        assert_eq!(spans(&lines, None, None), ["0-79 -", "80-84 a", "85 b", "86-90 a", "91-65535 -"]);
        // The less precise one ends where nobody sees it.
        let lines = ["a tcp 192.0.2.7 80-90", "b tcp 192.0.2.0/24 85-87", "c tcp 0.0.0.0/0 1-65535"];
        assert_eq!(spans(&lines, None, None), ["0 -", "1-79 c", "80-90 a", "91-65535 c"]);
    }

    #[test]
    fn what_depends_on_source_or_interface_stands_before_the_rest() {
        let lines = ["a tcp 192.0.2.7 80", "b tcp 192.0.2.7 80 from 10.0.0.0/8", "c tcp 192.0.2.7 80 dev x"];
        assert_eq!(spans(&lines, None, None), ["0-79 -", "80 b c a", "81-65535 -"]);
        assert_eq!(spans(&lines, Some("10.1.0.0/16"), None)[1], "80 b");
        assert_eq!(spans(&lines, Some("0.0.0.0/0"), Some("x"))[1], "80 b c");
        assert_eq!(spans(&lines, Some("192.0.2.9/32"), Some("y"))[1], "80 a");
        // Nobody is left for the second.
        let hidden = ["a tcp 192.0.2.7 80 from 10.0.0.0/8", "b tcp 192.0.2.7 from 10.1.0.0/16"];
        assert_eq!(spans(&hidden, None, None)[1], "80 a -");
    }
}
