//! A compiled policy in the kernel, with sockets registered under its labels.

use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};

use sklookup_compiler::{Compiled, Counts, Family, HitsLayout, MapRole, Options, compile, label_map};
use sklookup_kernel::{Context, Map, Program, Sockmap, TestRun};
use sklookup_policy::{Packet, Policy, Protocol};

/// A program with its maps.
pub struct Live {
    pub compiled: Compiled,
    pub program: Program,
    hits: Map,
    faults: Map,
    /// The maps of the labels, by index.
    pub labels: Vec<Sockmap>,
}

/// A dual-stack socket of each protocol.
pub struct Service {
    pub tcp: TcpListener,
    pub udp: UdpSocket,
}

impl Live {
    /// Compiles and loads `policy`, without sockets.
    pub fn load(policy: &Policy, options: &Options) -> Result<Live, String> {
        let compiled = compile(policy, options).map_err(|error| error.to_string())?;
        let labels: Vec<Sockmap> = (0..compiled.labels.len())
            .map(|_| Map::create(&label_map::spec("label")).unwrap().try_into().unwrap())
            .collect();
        let mut maps: Vec<(MapRole, Map)> = Vec::new();
        for (role, spec) in compiled.maps.iter().filter(|(role, _)| !matches!(role, MapRole::Label(_))) {
            let map = Map::create(spec).unwrap();
            if *role == MapRole::Labels {
                map.fill_maps(&labels.iter().map(AsFd::as_fd).collect::<Vec<_>>()).unwrap();
                map.freeze().unwrap();
            }
            maps.push((*role, map));
        }
        let fds: Vec<BorrowedFd<'_>> = compiled
            .maps
            .iter()
            .map(|(role, _)| match role {
                MapRole::Label(index) => labels[*index].as_fd(),
                role => maps.iter().find(|(of, _)| of == role).unwrap().1.as_fd(),
            })
            .collect();
        let program = Program::load(&compiled.program, &fds).map_err(|error| format!("{error}\n{}", error.tail()))?;
        let mut take = |role| {
            let place = maps.iter().position(|(of, _)| *of == role).unwrap();
            maps.swap_remove(place).1
        };
        Ok(Live { hits: take(MapRole::Hits), faults: take(MapRole::Faults), labels, program, compiled })
    }

    /// Puts both sockets of a service into the label's first slots, for both families.
    pub fn register(&self, label: usize, service: &Service) {
        for (protocol, socket) in [(Protocol::Tcp, service.tcp.as_fd()), (Protocol::Udp, service.udp.as_fd())] {
            for family in [Family::V4, Family::V6] {
                self.labels[label].put(label_map::slot(family, protocol, 0), socket).unwrap();
            }
        }
    }

    /// The cookie of the first socket of a label that packets of this protocol and family can get.
    pub fn cookie(&self, label: usize, packet: &Packet) -> Option<u64> {
        let family = if packet.destination.is_ipv4() { Family::V4 } else { Family::V6 };
        self.labels[label].cookie(label_map::slot(family, packet.protocol, 0)).unwrap()
    }

    /// Runs the program on a packet; the interface is always 0.
    pub fn run(&self, packet: &Packet, repeat: u32) -> TestRun {
        let Packet { protocol, source, destination, .. } = *packet;
        let context = Context { protocol: protocol.number(), source, destination };
        self.program.test_run(&context, repeat).unwrap()
    }

    /// All counts so far.
    pub fn counts(&self) -> Vec<Counts> {
        let words = |map: &Map| -> Vec<u64> {
            let value = map.value().unwrap();
            value.as_chunks().0.iter().map(|word| u64::from_ne_bytes(*word)).collect()
        };
        let counters = &self.compiled.counters;
        let hits = match counters.hits {
            HitsLayout::PerCpu => self.hits.values_percpu(counters.bindings as u32).unwrap(),
            HitsLayout::Shards(_) => words(&self.hits),
        };
        counters.decode(&hits, &words(&self.faults)).unwrap()
    }
}

impl Service {
    pub fn new() -> Service {
        Service { tcp: TcpListener::bind("[::]:0").unwrap(), udp: UdpSocket::bind("[::]:0").unwrap() }
    }
}
