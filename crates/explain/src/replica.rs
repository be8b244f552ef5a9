//! The namespace rebuilt in an engine: the same sockets, the same label maps, a program with the same answer.
//!
//! Only what the packet can meet is rebuilt: sockets on its port, sockets under its bindings' labels, and a program
//! compiled of just the bindings that match it. A binding that does not match can't change what becomes of a packet, so
//! this program answers as the attached one does, and a policy of a million bindings costs no more than one of ten.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;

use sklookup_compiler::{Compiled, MapRole, Options, compile, label_map};
use sklookup_engine::{
    Family, Link, Lookup, Machine, Map, Netns, Program, Protocol, Shutdown, Snapshot, Socket, SocketId, Sockmap, State,
    Trace,
};
use sklookup_kernel::sock_diag::{Entry, State as Listed};
use sklookup_policy::{Interface, Label, Packet, Policy};
use sklookup_steering::{Registered, Slots};

use crate::census::Census;

/// A namespace in an engine.
pub(crate) struct Replica {
    machine: Machine,
    netns: Netns,
    /// Open sockets by the cookie they have in the kernel.
    sockets: HashMap<u64, Socket>,
    cookies: HashMap<SocketId, u64>,
    link: Option<Link>,
}

/// What steers there.
pub(crate) struct Steering<'a> {
    /// The bindings that match the packet.
    pub(crate) policy: &'a Policy,
    /// The numbers of interfaces.
    pub(crate) interfaces: &'a BTreeMap<Interface, u32>,
    /// What is under the labels of the bindings.
    pub(crate) registered: &'a [Slots],
}

impl Replica {
    /// The sockets on the packet's port.
    pub(crate) fn new(census: &Census, packet: &Packet) -> Replica {
        let machine = Machine::default();
        let netns = Netns::new_private(&machine);
        let mut replica = Replica { machine, netns, sockets: HashMap::new(), cookies: HashMap::new(), link: None };
        for entry in census.sockets.iter().filter(|entry| entry.local.port() == packet.destination.port()) {
            replica.restore(entry);
        }
        replica
    }

    /// Attaches a program with the answers of the one that is attached in the kernel.
    ///
    /// # Errors
    /// What the compiler or the engine could not do, in words.
    pub(crate) fn steer(&mut self, steering: &Steering<'_>, packet: &Packet, census: &Census) -> Result<(), String> {
        let options = Options { interfaces: steering.interfaces.clone(), cpus: 1, strategy: None };
        let compiled = compile(steering.policy, &options).map_err(|error| error.to_string())?;
        let mut labels = Vec::new();
        for label in &compiled.labels {
            labels.push(self.label(label, steering, packet, census)?);
        }
        let maps = self.maps(&compiled, &labels)?;
        let maps: Vec<&Map> = maps.iter().collect();
        let program = Program::load(&self.machine, &compiled.program, &maps).map_err(|error| error.to_string())?;
        self.link = Some(Link::attach(&program, &self.netns).map_err(|error| error.to_string())?);
        Ok(())
    }

    /// The socket that the packet would reach over this interface, with each step on the way.
    ///
    /// # Errors
    /// What the program did that no program does.
    pub(crate) fn lookup(&self, packet: &Packet, interface: u32) -> Result<(Option<u64>, Trace), String> {
        let lookup = Lookup {
            protocol: protocol(packet.protocol),
            source: packet.source,
            destination: packet.destination,
            interface,
        };
        let (found, trace) = self.netns.lookup_traced(&lookup);
        let found = found.map_err(|fault| fault.to_string())?;
        Ok((found.map(|socket| self.cookie(socket)), trace))
    }

    /// The cookie in the kernel of a socket of the engine.
    pub(crate) fn cookie(&self, socket: SocketId) -> u64 {
        self.cookies.get(&socket).copied().unwrap_or_default()
    }

    fn restore(&mut self, entry: &Entry) {
        let state = match entry.state {
            Listed::Listening => State::Listen,
            Listed::Unconnected => State::Close,
            // What is left of a connection is no connection.
            Listed::Other(TIME_WAIT) => return,
            Listed::Connected | Listed::Other(_) => State::Established,
        };
        let has_peer = entry.remote.port() != 0 || !entry.remote.ip().is_unspecified();
        let snapshot = Snapshot {
            protocol: match entry.protocol {
                sklookup_kernel::Protocol::Tcp => Protocol::Tcp,
                sklookup_kernel::Protocol::Udp => Protocol::Udp,
            },
            family: if entry.ipv6 { Family::V6 } else { Family::V4 },
            state,
            local: entry.local,
            peer: has_peer.then_some(entry.remote),
            device: entry.interface,
            v6only: entry.v6only,
            // The kernel's list does not say, and keeps the secret by which a group chooses. Without groups the engine looks
            // at every socket of the place, and all that match may be meant.
            reuse_port: false,
            uid: entry.uid,
        };
        self.keep(entry.cookie, Socket::restore(&self.netns, &snapshot));
    }

    fn keep(&mut self, cookie: u64, socket: Socket) {
        self.cookies.insert(socket.id(), cookie);
        self.sockets.insert(cookie, socket);
    }

    /// The map of a label, with its sockets for such packets.
    fn label(
        &mut self,
        label: &Label,
        steering: &Steering<'_>,
        packet: &Packet,
        census: &Census,
    ) -> Result<Sockmap, String> {
        let map = Map::create(&self.machine, &label_map::spec("label")).and_then(Sockmap::try_from);
        let map = map.map_err(|error| error.to_string())?;
        let slots = steering.registered.iter().filter(|(of, _)| of == label).flat_map(|(_, slots)| slots);
        let mut unlisted = Vec::new();
        for &Registered { family, protocol, member, cookie } in slots.filter(|slot| slot.protocol == packet.protocol) {
            if !self.sockets.contains_key(&cookie) {
                match census.socket(cookie) {
                    Some(entry) => self.restore(entry),
                    None => {
                        self.restore_unlisted(cookie, protocol);
                        unlisted.push(cookie);
                    }
                }
            }
            // What is left of a connection is in no map.
            let Some(socket) = self.sockets.get(&cookie) else { continue };
            let slot = label_map::slot(family, protocol, member);
            map.put(slot, socket).map_err(|error| error.to_string())?;
        }
        // A listener that was shut down could not be put into a map any more, and yet it is in one.
        for socket in unlisted.iter().filter_map(|cookie| self.sockets.get(cookie)) {
            if socket.state() == State::Listen {
                socket.shutdown(Shutdown::Read).map_err(|error| error.to_string())?;
            }
        }
        Ok(map)
    }

    /// A socket that a label has and no table: it stays in the map, and whether a program may select it depends on what
    /// it is.
    fn restore_unlisted(&mut self, cookie: u64, protocol: sklookup_policy::Protocol) {
        let protocol = self::protocol(protocol);
        let state = match protocol {
            Protocol::Tcp => State::Listen,
            Protocol::Udp => State::Close,
        };
        let local = SocketAddr::from(([0; 16], 0));
        let snapshot = Snapshot {
            protocol,
            family: Family::V6,
            state,
            local,
            peer: None,
            device: 0,
            v6only: false,
            reuse_port: false,
            uid: 0,
        };
        self.keep(cookie, Socket::restore(&self.netns, &snapshot));
    }

    /// The maps of the program, in its order.
    fn maps(&self, compiled: &Compiled, labels: &[Sockmap]) -> Result<Vec<Map>, String> {
        let create = |(role, spec): &(MapRole, _)| match role {
            MapRole::Label(index) => Ok(labels[*index].map().clone()),
            MapRole::Labels => {
                let outer = Map::create(&self.machine, spec)?;
                outer.fill_maps(&labels.iter().map(Sockmap::map).collect::<Vec<_>>())?;
                outer.freeze()?;
                Ok(outer)
            }
            _ => Map::create(&self.machine, spec),
        };
        compiled.maps.iter().map(create).collect::<sklookup_engine::Result<_>>().map_err(|error| error.to_string())
    }
}

/// `TCP_TIME_WAIT`.
pub(crate) const TIME_WAIT: u8 = 6;

fn protocol(protocol: sklookup_policy::Protocol) -> Protocol {
    match protocol {
        sklookup_policy::Protocol::Tcp => Protocol::Tcp,
        sklookup_policy::Protocol::Udp => Protocol::Udp,
    }
}
