//! Maps of sockets: listeners and datagram sockets that come and go on both sides.

use std::os::fd::{AsRawFd, OwnedFd};

use fastrand::Rng;
use rustix::net::{AddressFamily, SocketAddrV4, SocketType, bind, connect, ipproto, listen, socket, sockopt};
use sklookup_bpf::{MapSpec, MapType};
use sklookup_engine::{Family, Map, Netns, Protocol, Socket};
use sklookup_testbed::Sandbox;

use crate::both::{Answer, Both, Operation, machine, of_engine, of_kernel, same};
use crate::bytes::any;
use crate::with_seeds;

const OPERATIONS: usize = 150;

/// A socket of the same kind on both sides.
struct Pair {
    kernel: OwnedFd,
    engine: Socket,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Fresh(Protocol),
    Bound(Protocol),
    Listener,
    Connected,
    Member(Protocol),
}

pub(crate) fn maps_of_sockets(_: &Sandbox) {
    with_seeds(12, |rng| {
        let machine = machine();
        let netns = Netns::new_private(&machine);
        let spec = match rng.u32(0..3) {
            0 => MapSpec::new("map", MapType::Sockmap, 4, any(rng, &[4, 8]), 3),
            1 => MapSpec::new("map", MapType::Sockhash, 4, any(rng, &[4, 8]), 3),
            _ => MapSpec::new("map", MapType::ReuseportSockarray, 4, any(rng, &[4, 8]), 3),
        };
        eprintln!("{spec:?}");
        let both = Both::create(&machine, &spec);
        // Another map, because one excludes the other.
        let rival = Both::create(&machine, &MapSpec::new("rival", MapType::Sockmap, 4, 8, 8));
        let mut port = 10_000;
        let mut open = |rng: &mut Rng| {
            port += 1;
            let protocol = any(rng, &[Protocol::Tcp, Protocol::Udp]);
            let kinds =
                [Kind::Fresh(protocol), Kind::Bound(protocol), Kind::Listener, Kind::Connected, Kind::Member(protocol)];
            Pair::open(&netns, any(rng, &kinds), port)
        };
        let mut pairs: Vec<Pair> = (0..6).map(|_| open(rng)).collect();
        for _ in 0..OPERATIONS {
            let key = any(rng, &[0u32, 1, 2, 3, 9]).to_ne_bytes().to_vec();
            let at = rng.usize(..pairs.len());
            match rng.u32(0..12) {
                0 => pairs[at] = open(rng),
                1 => both.agree(&Operation::Delete(key.clone())),
                2 => both.agree(&Operation::NextKey(rng.bool().then(|| key.clone()))),
                3 => both.agree(&Operation::Take(key.clone(), 0)),
                4 => put(&rival, &(at as u32).to_ne_bytes(), &pairs[at], 0),
                5 => rival.agree(&Operation::Delete((at as u32).to_ne_bytes().to_vec())),
                _ => put(&both, &key, &pairs[at], any(rng, &[0, 0, 0, 1, 2, 3, 4])),
            }
            let which = |found: Answer, cookie: &dyn Fn(&Pair) -> u64| {
                found.map(|found| pairs.iter().position(|pair| cookie(pair).to_ne_bytes() == *found).unwrap())
            };
            let engine = which(of_engine(both.engine.lookup(&key, 0)), &|pair| pair.engine.cookie());
            let kernel =
                which(of_kernel(both.kernel.lookup(&key, 0)), &|pair| sockopt::socket_cookie(&pair.kernel).unwrap());
            same(("which of them", &key), &engine, &kernel);
        }
    });
}

fn put(map: &Both, key: &[u8], pair: &Pair, flags: u64) {
    let fd = pair.kernel.as_raw_fd();
    let value = match map.kernel.info().value_size {
        4 => fd.to_ne_bytes().to_vec(),
        _ => (fd as u64).to_ne_bytes().to_vec(),
    };
    let ours: &Map = &map.engine;
    let engine = of_engine(ours.update_socket(key, pair.engine.id(), flags));
    same((&pair.engine, key, flags), &engine, &of_kernel(map.kernel.update(key, &value, flags)));
}

impl Pair {
    fn open(netns: &Netns, kind: Kind, port: u16) -> Pair {
        let protocol = match kind {
            Kind::Fresh(protocol) | Kind::Bound(protocol) | Kind::Member(protocol) => protocol,
            Kind::Listener => Protocol::Tcp,
            Kind::Connected => Protocol::Udp,
        };
        let (typed, number) = match protocol {
            Protocol::Tcp => (SocketType::STREAM, ipproto::TCP),
            Protocol::Udp => (SocketType::DGRAM, ipproto::UDP),
        };
        let pair = Pair {
            kernel: socket(AddressFamily::INET, typed, Some(number)).unwrap(),
            engine: Socket::open(netns, protocol, Family::V4),
        };
        let address = SocketAddrV4::new([127, 0, 0, 1].into(), port);
        if let Kind::Member(_) = kind {
            sockopt::set_socket_reuseport(&pair.kernel, true).unwrap();
            pair.engine.set_reuse_port(true);
        }
        if !matches!(kind, Kind::Fresh(_)) {
            bind(&pair.kernel, &address).unwrap();
            pair.engine.bind(address.into()).unwrap();
        }
        match kind {
            Kind::Listener | Kind::Member(Protocol::Tcp) => {
                listen(&pair.kernel, 1).unwrap();
                pair.engine.listen().unwrap();
            }
            Kind::Connected => {
                let peer = SocketAddrV4::new([127, 0, 0, 1].into(), 9);
                connect(&pair.kernel, &peer).unwrap();
                pair.engine.connect(peer.into()).unwrap();
            }
            _ => {}
        }
        pair
    }
}
