//! What is said of every port of an address, and of who sends to a socket, holds for each packet that the kernel is asked
//! about.

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, SocketAddr};

use fastrand::Rng;
use sklookup_explain::{Around, ByLabel, Gets, PortMap, Share, ToSocket, ToSockets, ports, to_sockets};
use sklookup_kernel::sock_diag::{Lookup, SockDiag};
use sklookup_kernel::{Sandbox, interface};
use sklookup_policy::{Interface, Outcome, Packet, Protocol, ToAddress, decide};
use sklookup_steering::find;
use sklookup_testbed::{Trial, kernel_trial};

use crate::world::{DESTINATIONS, INTERFACES, PORTS, Place, World};

const WORLDS: usize = 60;

pub fn trials() -> Vec<Trial> {
    vec![kernel_trial("what_is_said_of_many_packets_holds_for_each", holds_for_each)]
}

fn holds_for_each(sandbox: &Sandbox) {
    let seed = RandomState::new().hash_one(0u8);
    eprintln!("seed {seed:#x}");
    let mut rng = Rng::with_seed(seed);
    let place = Place::furnish(sandbox);
    let mut diag = SockDiag::open().unwrap();
    let mut tally = [0; 4];
    for number in 0..WORLDS {
        let _world = World::random(&place, &mut rng, 0);
        let sockets = to_sockets(place.state.netns(), Some(&place.state), |_| true).unwrap();
        assert!(sockets.around.is_whole());
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let destination: IpAddr = rng.choice(&DESTINATIONS).unwrap().parse().unwrap();
            let source = source(destination, &mut rng);
            let dev: Interface = rng.choice(&INTERFACES).unwrap().parse().unwrap();
            let asked = ToAddress {
                protocol,
                destination,
                source: rng.bool().then(|| source.into()),
                interface: rng.bool().then(|| dev.clone()),
            };
            let map = ports(place.state.netns(), Some(&place.state), &asked).unwrap();
            // Each port with a socket or a binding, and what lies beside.
            let mut tried: Vec<u16> =
                PORTS.iter().flat_map(|port| [port - 1, *port, port + 1]).chain([0, 65535]).collect();
            tried.extend(map.spans.iter().flat_map(|span| [span.ports.first, span.ports.last]));
            for port in tried {
                let destination = SocketAddr::new(destination, port);
                let packet = Packet {
                    protocol,
                    source: SocketAddr::new(source, 4000),
                    destination,
                    interface: Some(dev.clone()),
                };
                let index = interface::index_of(dev.as_str()).unwrap().unwrap();
                let answer = diag.lookup(&lookup(&packet, index)).unwrap().map(|entry| entry.cookie);
                let told = || format!("seed {seed:#x}, world {number}: {packet}: the kernel says {answer:?}");
                let among = receivers(&map, &packet, index);
                assert!(agrees(answer, &among), "{}, not {among:?} of {map:?}", told());
                for socket in &sockets.sockets {
                    let told_of = told_to_get(socket, &sockets, &packet, index);
                    let gets = answer == Some(socket.cookie);
                    // Of several in one place the kernel alone knows which.
                    assert!(!gets || told_of.is_some(), "{}, of which {socket:?} says nothing", told());
                    if let Some(among) = told_of {
                        assert!(agrees(answer, &among), "{}, and {socket:?} says it is one of {among:?}", told());
                    }
                    tally[usize::from(gets)] += 1;
                }
                tally[if answer.is_some() { 3 } else { 2 }] += 1;
            }
        }
    }
    eprintln!("socket does not get, gets; port refuses, is served: {tally:?}");
    assert!(tally.iter().all(|count| *count > WORLDS), "the worlds are all of one kind: {tally:?}");
}

fn source(destination: IpAddr, rng: &mut Rng) -> IpAddr {
    let sources: &[&str] = match destination {
        IpAddr::V4(_) => &["10.1.0.9", "10.200.0.1", "127.0.0.1", "198.51.100.9"],
        IpAddr::V6(_) => &["fd01::9", "::1", "2001:db8:5::1"],
    };
    rng.choice(sources).unwrap().parse().unwrap()
}

fn lookup(packet: &Packet, interface: u32) -> Lookup {
    let protocol = match packet.protocol {
        Protocol::Tcp => sklookup_kernel::Protocol::Tcp,
        Protocol::Udp => sklookup_kernel::Protocol::Udp,
    };
    Lookup { protocol, source: packet.source, destination: packet.destination, interface }
}

fn agrees(answer: Option<u64>, among: &[u64]) -> bool {
    answer.map_or(among.is_empty(), |cookie| among.contains(&cookie))
}

/// Among whom a packet goes, by what is said of its port.
fn receivers(map: &PortMap, packet: &Packet, interface: u32) -> Vec<u64> {
    assert_eq!(map.astray, None);
    let port = packet.destination.port();
    let span = map.spans.iter().find(|span| (span.ports.first..=span.ports.last).contains(&port)).unwrap();
    let matches = |index: usize| map.around.policy.entries()[index].binding.matches(packet);
    let gets = span.some.iter().find(|(index, _)| matches(*index)).map_or(&span.rest_gets, |(_, gets)| gets);
    match gets {
        Gets::Socket(cookies) => cookies.clone(),
        Gets::Refused | Gets::Empty => Vec::new(),
        Gets::Regular(found) => {
            let here = found.iter().find(|found| found.interface == Some(interface));
            here.or(found.last()).unwrap().matching.clone()
        }
    }
}

/// Among whom a packet goes, by what is said of a socket; `None`: it is said not to get it.
fn told_to_get(socket: &ToSocket, all: &ToSockets, packet: &Packet, interface: u32) -> Option<Vec<u64>> {
    let Around { policy, sockets, .. } = &all.around;
    let entry = &sockets[&socket.cookie].entry;
    if find::protocol(entry.protocol) != packet.protocol {
        return None;
    }
    let winner = decide(policy, packet).winner;
    let by_label = |by: &&ByLabel| winner.is_some_and(|winner| by.bindings.contains(&winner));
    if let Some(by) = socket.labels.iter().find(by_label)
        && by.selected.contains(&socket.cookie)
    {
        let winner = winner.unwrap();
        assert!(Share::of(policy, winner).decides, "it does");
        return Some(by.selected.clone());
    }
    // Those of its own label come by it, or to nobody; what steers to a label that others serve is among those that divert.
    let stays = winner.is_none_or(|winner| match &policy.entries()[winner].binding.outcome {
        Outcome::Pass => true,
        Outcome::Refuse | Outcome::Steer { .. } => !socket.binds.iter().any(|bind| bind.diverted_by.contains(&winner)),
    });
    let bind = socket.binds.iter().find(|bind| bind.destination.contains(&packet.destination.ip()))?;
    let is_here = entry.interface == 0 || entry.interface == interface;
    if entry.local.port() != packet.destination.port() || !is_here || !stays {
        return None;
    }
    assert!(bind.gets, "{bind:?} of {socket:?} gets {packet}");
    let to = packet.destination.ip();
    let is_exact = |to: IpAddr| bind.rivals.iter().any(|rival| rival.to == Some(to));
    let exact = Some(to).filter(|to| is_exact(*to));
    let rival =
        |interface: Option<u32>, to| bind.rivals.iter().find(|rival| (rival.interface, rival.to) == (interface, to));
    let rival = [exact, None].into_iter().find_map(|to| rival(Some(interface), to).or_else(|| rival(None, to)));
    match rival {
        None => Some(vec![socket.cookie]),
        Some(rival) if rival.matching.contains(&socket.cookie) => Some(rival.matching.clone()),
        Some(_) => None,
    }
}
