//! Lookups per second of `Netns::receive`: an established connection, a packet that a table of 10,000 bindings steers, and
//! one that the regular lookup finds a listener for, among 10,000.
//!
//! `cargo bench -p sklookup-engine` prints the median of five rounds, and the range. Every answer is checked.

use std::net::SocketAddr;
use std::time::Instant;

use sklookup_compiler::{Family, MapRole, Options, Strategy, compile, label_map};
use sklookup_engine::{Delivery, Link, Machine, Map, Netns, Packet, Program, Segment, Socket, SocketId, Sockmap};
use sklookup_policy::{Origin, Policy, Protocol, parse_binding};

const MANY: usize = 10_000;
const ROUNDS: usize = 5;
/// Lookups of a round.
const LOOKUPS: usize = 200_000;

fn main() {
    established();
    steered();
    regular();
}

fn established() {
    let netns = Netns::new_private(&Machine::default());
    let listener = Socket::listener(&netns, at("127.0.0.1:80")).unwrap();
    let packets: Vec<Packet> = (0..MANY).map(|n| Packet::tcp(from(n), at("127.0.0.1:80"))).collect();
    let children: Vec<Socket> = packets.iter().map(|syn| listener.accept(syn).unwrap()).collect();
    let packets: Vec<Packet> = packets.into_iter().map(|packet| packet.with_segment(Segment::ACK)).collect();
    measure("established, 10,000 connections", &netns, &packets, |n| children[n].id());
}

fn steered() {
    let machine = Machine::default();
    let netns = Netns::new_private(&machine);
    netns.add_local_route("10.0.0.0/8".parse().unwrap()).unwrap();
    let bindings = (0..MANY).map(|n| format!("l{} tcp 10.0.{}.{} 80", n % 8, n / 256, n % 256));
    let entries = bindings.flat_map(|text| parse_binding(&text, Origin::Command("bench".into())).unwrap());
    let policy = Policy::new(entries.collect()).unwrap();
    let compiled =
        compile(&policy, &Options { cpus: 1, strategy: Some(Strategy::Hash), ..Options::default() }).unwrap();
    let sockets: Vec<Socket> = (0..compiled.labels.len() as u16)
        .map(|n| Socket::listener(&netns, SocketAddr::from(([127, 0, 0, 1], 9000 + n))).unwrap())
        .collect();
    let labels: Vec<Sockmap> = sockets
        .iter()
        .map(|socket| {
            let map: Sockmap = Map::create(&machine, &label_map::spec("label")).unwrap().try_into().unwrap();
            map.put(label_map::slot(Family::V4, Protocol::Tcp, 0), socket).unwrap();
            map
        })
        .collect();
    let maps: Vec<Map> = compiled
        .maps
        .iter()
        .map(|(role, spec)| {
            let map = Map::create(&machine, spec).unwrap();
            if *role == MapRole::Labels {
                map.fill_maps(&labels.iter().map(Sockmap::map).collect::<Vec<_>>()).unwrap();
            }
            map
        })
        .collect();
    let program = Program::load(&machine, &compiled.program, &maps.iter().collect::<Vec<_>>()).unwrap();
    let _link = Link::attach(&program, &netns).unwrap();
    let to = |n: usize| SocketAddr::from(([10, 0, (n / 256) as u8, n as u8], 80));
    let packets: Vec<Packet> = (0..MANY).map(|n| Packet::tcp(from(n), to(n))).collect();
    measure("steered, a table of 10,000 bindings", &netns, &packets, |n| sockets[n % 8].id());
}

fn regular() {
    let netns = Netns::new_private(&Machine::default());
    let to = |n: usize| SocketAddr::from(([127, 1, (n / 256) as u8, n as u8], 80));
    let listeners: Vec<Socket> = (0..MANY).map(|n| Socket::listener(&netns, to(n)).unwrap()).collect();
    let packets: Vec<Packet> = (0..MANY).map(|n| Packet::tcp(from(n), to(n))).collect();
    measure("regular lookup, 10,000 listeners", &netns, &packets, |n| listeners[n].id());
}

/// Packets in an order that caches can't follow.
fn measure(what: &str, netns: &Netns, packets: &[Packet], receiver: impl Fn(usize) -> SocketId) {
    let mut rates: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            for step in 0..LOOKUPS {
                let n = step * 7919 % packets.len();
                assert_eq!(netns.receive(&packets[n]), Ok(Delivery::Socket(receiver(n))));
            }
            LOOKUPS as f64 / start.elapsed().as_secs_f64()
        })
        .collect();
    rates.sort_by(f64::total_cmp);
    let [least, .., most] = rates[..] else { unreachable!("there are several rounds") };
    let median = rates[ROUNDS / 2];
    println!("{what:38} {median:>10.0} a second ({least:.0} to {most:.0})");
}

fn from(n: usize) -> SocketAddr {
    SocketAddr::from(([198, 51, (n / 256) as u8, n as u8], 40_000))
}

fn at(address: &str) -> SocketAddr {
    address.parse().unwrap()
}
