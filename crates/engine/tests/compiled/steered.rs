//! A compiled policy in the engine, with sockets under its labels, and a program that watches it.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use sklookup_bpf::{MapSpec, ProgramSpec};
use sklookup_compiler::{
    CompileError, Compiled, Counts, Event, Family, HitsLayout, MapRole, Options, Watching, compile, compile_observer,
    label_map,
};
use sklookup_engine::trace::{HookResult, Step};
use sklookup_engine::{
    Config, Delivery, Link, Lookup, Machine, Map, Netns, Packet, Program, Protocol, Socket, Sockmap,
};
use sklookup_policy::{Interface, Policy};

use crate::Receives;

/// The interface of packets that come in where no binding says.
const ELSEWHERE: u32 = 99;

/// Packets of random policies don't go to these, or hardly ever.
const FIRST_PORT: u16 = 20_000;

/// Each event is told.
const EVERYTHING: Watching = Watching { token: 7, every: 1, rate: 1_000_000, compares: true };

pub struct Steered {
    pub compiled: Compiled,
    netns: Netns,
    interfaces: BTreeMap<Interface, u32>,
    hits: Map,
    faults: Map,
    /// A TCP and a UDP socket of each label that has any.
    services: Vec<Option<[Socket; 2]>>,
    events: Map,
    _links: [Link; 2],
}

impl Steered {
    /// Compiles and attaches a policy; each fourth label has no sockets.
    pub fn new(policy: &Policy, options: &Options) -> Result<Steered, CompileError> {
        let compiled = compile(policy, options)?;
        let machine = Machine::new(Config { cpus: options.cpus.min(4), ..Config::default() });
        let netns = Netns::new_private(&machine);
        for everything in ["0.0.0.0/0", "::/0"] {
            netns.add_local_route(everything.parse().unwrap()).unwrap();
        }
        let labels: Vec<Sockmap> = (0..compiled.labels.len())
            .map(|_| Map::create(&machine, &label_map::spec("label")).unwrap().try_into().unwrap())
            .collect();
        let (program, maps) = load(&machine, &compiled.program, &compiled.maps, &labels);
        let observer = compile_observer(policy, options, &EVERYTHING)?;
        let (watching, its_maps) = load(&machine, &observer.program, &observer.maps, &labels);
        let links = [program, watching].map(|program| Link::attach(&program, &netns).unwrap());
        let services = labels.iter().zip(FIRST_PORT..).enumerate();
        let services = services.map(|(label, (map, port))| (label % 4 != 3).then(|| register(&netns, map, port)));
        Ok(Steered {
            services: services.collect(),
            netns,
            interfaces: options.interfaces.clone(),
            hits: of(&maps, MapRole::Hits),
            faults: of(&maps, MapRole::Faults),
            events: of(&its_maps, MapRole::Events),
            compiled,
            _links: links,
        })
    }

    pub fn has_sockets(&self, label: usize) -> bool {
        self.services[label].is_some()
    }

    /// What the hook says of the packet.
    pub fn receive(&self, packet: &sklookup_policy::Packet, cpu: u32) -> Receives {
        let (source, destination) = (packet.source, packet.destination);
        let (protocol, sent) = match packet.protocol {
            sklookup_policy::Protocol::Tcp => (Protocol::Tcp, Packet::tcp(source, destination)),
            sklookup_policy::Protocol::Udp => (Protocol::Udp, Packet::udp(source, destination)),
        };
        let interface = self.interface(packet);
        let (delivery, mut trace) = self.netns.receive_traced(&sent.on_interface(interface).on_cpu(cpu));
        let (found, delivery) = match delivery.unwrap() {
            // No program sees what goes to many, but the lookup can be asked all the same.
            Delivery::Copies(_) => {
                let (found, asked) = self.netns.lookup_traced(&Lookup { protocol, source, destination, interface });
                trace = asked;
                (found.unwrap(), Delivery::Unreachable)
            }
            delivery => (delivery.socket(), delivery),
        };
        let result = trace.steps.iter().find_map(|step| match step {
            Step::Hook { result } => Some(*result),
            _ => None,
        });
        match (result.expect("a program is attached"), found) {
            (HookResult::Continue, None) => Receives::Regular,
            (HookResult::Drop, None) => {
                assert!(matches!(delivery, Delivery::Reset | Delivery::Unreachable), "{delivery:?}");
                Receives::Nobody
            }
            (HookResult::Selected { socket, .. }, Some(found)) => {
                assert_eq!(socket, found);
                let has = |service: &Option<[Socket; 2]>| service.iter().flatten().any(|known| known.id() == socket);
                Receives::Label(self.services.iter().position(has).expect("there are no other sockets"))
            }
            other => panic!("{other:?}"),
        }
    }

    /// What the watching program has told since it was asked last.
    pub fn events(&self) -> Vec<Event> {
        let records = std::iter::from_fn(|| self.events.next_record().unwrap());
        records.map(|record| Event::parse(&record).expect("it writes events")).collect()
    }

    /// The interface that a packet comes in on.
    pub fn interface(&self, packet: &sklookup_policy::Packet) -> u32 {
        packet.interface.as_ref().and_then(|name| self.interfaces.get(name)).copied().unwrap_or(ELSEWHERE)
    }

    /// All counts so far.
    pub fn counts(&self) -> Vec<Counts> {
        let words = |map: &Map| -> Vec<u64> {
            map.value().unwrap().as_chunks().0.iter().map(|word| u64::from_ne_bytes(*word)).collect()
        };
        let counters = &self.compiled.counters;
        let hits = match counters.hits {
            HitsLayout::PerCpu => self.hits.values_percpu(counters.bindings as u32).unwrap(),
            HitsLayout::Shards(_) => words(&self.hits),
        };
        counters.decode(&hits, &words(&self.faults)).unwrap()
    }
}

/// Loads a program with its maps, of which those of labels are there already.
fn load(
    machine: &Machine,
    program: &ProgramSpec,
    specs: &[(MapRole, MapSpec)],
    labels: &[Sockmap],
) -> (Program, Vec<(MapRole, Map)>) {
    let create = |(role, spec): &(MapRole, MapSpec)| match role {
        MapRole::Label(index) => (*role, labels[*index].map().clone()),
        role => (*role, Map::create(machine, spec).unwrap()),
    };
    let maps: Vec<(MapRole, Map)> = specs.iter().map(create).collect();
    if let Some((_, outer)) = maps.iter().find(|(role, _)| *role == MapRole::Labels) {
        outer.fill_maps(&labels.iter().map(Sockmap::map).collect::<Vec<_>>()).unwrap();
        outer.freeze().unwrap();
    }
    let program = Program::load(machine, program, &maps.iter().map(|(_, map)| map).collect::<Vec<_>>()).unwrap();
    (program, maps)
}

fn of(maps: &[(MapRole, Map)], wanted: MapRole) -> Map {
    maps.iter().find(|(role, _)| *role == wanted).map(|(_, map)| map.clone()).expect("every program has one")
}

/// Dual-stack sockets in the label's first slots.
fn register(netns: &Netns, map: &Sockmap, port: u16) -> [Socket; 2] {
    let address = SocketAddr::new("::".parse().unwrap(), port);
    let sockets = [Socket::listener(netns, address).unwrap(), Socket::udp(netns, address).unwrap()];
    for (protocol, socket) in [sklookup_policy::Protocol::Tcp, sklookup_policy::Protocol::Udp].into_iter().zip(&sockets)
    {
        for family in [Family::V4, Family::V6] {
            map.put(label_map::slot(family, protocol, 0), socket).unwrap();
        }
    }
    sockets
}
