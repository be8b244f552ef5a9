//! A namespace with sockets, and the programs that select them.

use std::net::SocketAddr;

use sklookup_bpf::{ProgramSpec, ProgramType};
use sklookup_engine::{
    Config, Delivery, Errno, Family, Link, Machine, Map, Netns, Packet, Program, Protocol, Socket, Sockmap,
};

/// Where clients send to, unless a test says something else: a local address, and a port that no server is bound to.
pub const CONTACTED: &str = "127.0.0.1:7007";
pub const CONTACTED6: &str = "[::1]:7007";

pub struct World {
    pub machine: Machine,
    pub netns: Netns,
    /// What programs select from: `map[sockets]`.
    pub sockets: Sockmap,
}

impl World {
    pub fn new() -> World {
        World::with(Config::default())
    }

    pub fn with(config: Config) -> World {
        let machine = Machine::new(config);
        let netns = Netns::new_private(&machine);
        let sockets = Sockmap::create(&machine, "sockets", 32).unwrap();
        World { machine, netns, sockets }
    }

    pub fn tcp(&self, address: &str) -> Socket {
        Socket::listener(&self.netns, at(address)).unwrap()
    }

    pub fn udp(&self, address: &str) -> Socket {
        Socket::udp(&self.netns, at(address)).unwrap()
    }

    /// A socket that is set up before it gets its address, and listens where it is TCP.
    pub fn socket(&self, protocol: Protocol, address: &str, set_up: impl FnOnce(&Socket)) -> Socket {
        let socket = Socket::open(&self.netns, protocol, Family::of(at(address).ip()));
        set_up(&socket);
        socket.bind(at(address)).unwrap();
        if protocol == Protocol::Tcp {
            socket.listen().unwrap();
        }
        socket
    }

    /// A member of a reuseport group.
    pub fn member(&self, protocol: Protocol, address: &str) -> Socket {
        self.socket(protocol, address, |socket| socket.set_reuse_port(true))
    }

    /// Loads an sk_lookup program; its maps are `sockets` and those given, by name.
    pub fn program(&self, text: &str, maps: &[&Map]) -> Program {
        self.load(ProgramType::SkLookup, text, maps)
    }

    /// Loads a program of any type.
    pub fn load(&self, kind: ProgramType, text: &str, maps: &[&Map]) -> Program {
        let spec = ProgramSpec::from_text("test", kind, text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        let named = |name: &String| {
            let all = maps.iter().copied().chain([self.sockets.map()]);
            all.into_iter().find(|map| map.info().name == *name).unwrap_or_else(|| panic!("no map {name}"))
        };
        let maps: Vec<&Map> = spec.maps.iter().map(named).collect();
        Program::load(&self.machine, &spec, &maps).unwrap_or_else(|error| panic!("{error}\n{text}"))
    }

    /// Attaches an sk_lookup program of this text.
    pub fn attach(&self, text: &str) -> Link {
        Link::attach(&self.program(text, &[]), &self.netns).unwrap()
    }

    pub fn receive(&self, packet: &Packet) -> Delivery {
        self.netns.receive(packet).unwrap_or_else(|fault| panic!("{fault}"))
    }

    /// How many programs of the hook see the packet.
    pub fn hook_calls(&self, packet: &Packet) -> usize {
        self.netns.receive_traced(packet).1.programs()
    }
}

/// A SYN of a client of this host.
pub fn tcp(to: &str) -> Packet {
    Packet::tcp(client_for(to), at(to))
}

/// A datagram of a client of this host.
pub fn udp(to: &str) -> Packet {
    Packet::udp(client_for(to), at(to))
}

/// A packet of either protocol.
pub fn packet(protocol: Protocol, to: &str) -> Packet {
    match protocol {
        Protocol::Tcp => tcp(to),
        Protocol::Udp => udp(to),
    }
}

/// The same packet from another client.
pub fn from(packet: &Packet, source: &str) -> Packet {
    Packet { source: at(source), ..packet.clone() }
}

pub fn at(address: &str) -> SocketAddr {
    address.parse().unwrap_or_else(|_| panic!("{address:?} is no address"))
}

pub fn to(socket: &Socket) -> Delivery {
    Delivery::Socket(socket.id())
}

/// What a closed port answers.
pub fn refused(protocol: Protocol) -> Delivery {
    match protocol {
        Protocol::Tcp => Delivery::Reset,
        Protocol::Udp => Delivery::Unreachable,
    }
}

/// The errno of what failed.
pub fn errno<T: std::fmt::Debug>(result: Result<T, sklookup_engine::Error>) -> Errno {
    result.expect_err("it should fail").errno()
}

fn client_for(to: &str) -> SocketAddr {
    at(if at(to).is_ipv4() { "127.0.0.9:40000" } else { "[::1]:40000" })
}
