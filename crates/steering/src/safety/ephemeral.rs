//! Answers to this machine's own questions.
//!
//! A socket that asks from a port of the kernel's choice and is not connected (many a resolver) waits for its answer at
//! the hook like any server. A binding that covers such ports would get the answer, or refuse it.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

use sklookup_policy::{Binding, Outcome, Policy, Ports, Protocol};

use super::takeover::any_source;
use super::{Catch, Hazard, TRIED, World, taker};

/// `taking` are the bindings by which the change takes packets from the regular lookup.
pub(super) fn catches(old: &Policy, new: &Policy, taking: &[&Binding], world: &World) -> Vec<Catch> {
    let Some(range) = &world.ephemeral else { return Vec::new() };
    let mut catches = Vec::new();
    // Each look reads the whole policy: once there were many, what seems to be is held to be.
    let mut looks = TRIED;
    for &binding in taking.iter().filter(|binding| eats(binding) || binding.outcome == Outcome::Pass) {
        let Some(ports) = common(binding.ports, range) else { continue };
        let mut addresses = world.addresses.iter().copied().filter(|address| binding.destination.contains(address));
        let eaten = addresses.find_map(|address| {
            let edges = if looks > 0 { edges(new, binding.protocol, address, &ports) } else { None };
            let Some(edges) = edges.filter(|edges| edges.len() <= looks) else {
                return eats(binding).then_some((binding, address));
            };
            looks -= edges.len();
            edges.into_iter().find_map(|port| {
                let winner = eater(new, binding.protocol, address, port)?;
                eater(old, binding.protocol, address, port).is_none().then_some((winner, address))
            })
        });
        if let Some((binding, address)) = eaten {
            catches.push(Catch {
                hazard: Hazard::Ephemeral,
                message: format!(
                    "`{binding}` covers ports {}-{} of {address}, from which this machine asks its own questions: \
                     answers (DNS for one) and ICMP errors to unconnected sockets would go to it",
                    range.start(),
                    range.end()
                ),
                help: Some(format!(
                    "leave those ports or that address out, or carve them out: pass {} {address} {}-{}",
                    binding.protocol,
                    range.start(),
                    range.end()
                )),
            });
        }
    }
    catches
}

/// Whether a binding keeps an answer from who asked: what is steered over TCP are new connections only.
fn eats(binding: &Binding) -> bool {
    match binding.outcome {
        Outcome::Pass => false,
        Outcome::Refuse => true,
        Outcome::Steer { .. } => binding.protocol == Protocol::Udp,
    }
}

fn eater(policy: &Policy, protocol: Protocol, address: IpAddr, port: u16) -> Option<&Binding> {
    let source = SocketAddr::new(any_source(address), 53);
    taker(policy, protocol, source, SocketAddr::new(address, port)).filter(|binding| eats(binding))
}

fn common(ports: Ports, range: &RangeInclusive<u16>) -> Option<RangeInclusive<u16>> {
    let (first, last) = match ports {
        Ports::Every => (0, u16::MAX),
        Ports::Range(ports) => (ports.first, ports.last),
    };
    let both = first.max(*range.start())..=last.min(*range.end());
    (!both.is_empty()).then_some(both)
}

/// The ports at which another binding can begin to win for an address; `None`: too many to try.
fn edges(policy: &Policy, protocol: Protocol, address: IpAddr, ports: &RangeInclusive<u16>) -> Option<BTreeSet<u16>> {
    let mut edges = BTreeSet::from([*ports.start()]);
    for binding in policy.entries().iter().map(|entry| &entry.binding) {
        if binding.protocol != protocol || !binding.destination.contains(&address) {
            continue;
        }
        let Some(own) = common(binding.ports, ports) else { continue };
        edges.insert(*own.start());
        edges.extend(own.end().checked_add(1).filter(|port| ports.contains(port)));
        if edges.len() > TRIED {
            return None;
        }
    }
    Some(edges)
}
