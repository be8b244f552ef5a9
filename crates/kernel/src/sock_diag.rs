//! The sockets of a network namespace, and which of them the kernel would choose for a packet (`NETLINK_SOCK_DIAG`).
//!
//! A dump lists a socket table. A request for *one* socket makes the kernel run its whole lookup for the addresses and the
//! interface in the request - established sockets, every program on the hook, the regular lookup - and names the one it
//! found by its cookie. Neither needs any rights. There is no packet, so reuseport programs are not run; programs on the
//! hook can't tell such a lookup from a packet's, and count it.
//!
//! Source: uapi `linux/inet_diag.h`, `linux/sock_diag.h`; which side is which was tried on Linux 6.18.

use std::net::{IpAddr, SocketAddr};

use rustix::io::Errno;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::error::{Error, Result};
use crate::interface::{AF_INET, AF_INET6, address, octets};
use crate::netlink::{Body, Netlink, attributes};
use crate::socket::Protocol;

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const INET_DIAG_SKV6ONLY: u16 = 11;

/// "Whatever its cookie" in a request.
const NO_COOKIE: [u32; 2] = [u32::MAX; 2];

/// Requests in one datagram of [`SockDiag::lookup_all`]: their answers have to fit the socket's receive buffer (208 KiB
/// unless configured otherwise, about 1 KiB each with the kernel's bookkeeping).
const BATCH: usize = 64;

/// A connection for questions about the sockets of the namespace that its maker's thread was in.
#[derive(Debug)]
pub struct SockDiag {
    netlink: Netlink,
    /// Protocols that the kernel has shown to know; see [`SockDiag::check_known`].
    known: Vec<Protocol>,
}

/// A socket in a table.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    /// Its protocol.
    pub protocol: Protocol,
    /// It is an IPv6 socket.
    pub ipv6: bool,
    /// Its state.
    pub state: State,
    /// Bound to.
    pub local: SocketAddr,
    /// Peer; the unspecified address and port 0 without one.
    pub remote: SocketAddr,
    /// Index of the interface it is bound to, 0 for none.
    pub interface: u32,
    /// Its inode, as `/proc/PID/fd` shows it; 0 when no file belongs to it (any more, or yet).
    pub inode: u64,
    /// The number that is its own for as long as the kernel runs (`SO_COOKIE`).
    pub cookie: u64,
    /// User id of who made it.
    pub uid: u32,
    /// An IPv6 socket that takes no IPv4; known of listeners and unconnected sockets.
    pub v6only: bool,
}

/// State of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// TCP with a connection, UDP with a peer (`TCP_ESTABLISHED`).
    Connected,
    /// UDP without a peer (`TCP_CLOSE`).
    Unconnected,
    /// TCP that listens (`TCP_LISTEN`).
    Listening,
    /// Any other, by the kernel's number: TCP on its way up or down.
    Other(u8),
}

impl State {
    fn number(self) -> u8 {
        match self {
            State::Connected => 1,
            State::Unconnected => 7,
            State::Listening => 10,
            State::Other(number) => number,
        }
    }

    fn from_number(number: u8) -> State {
        [State::Connected, State::Unconnected, State::Listening]
            .into_iter()
            .find(|state| state.number() == number)
            .unwrap_or(State::Other(number))
    }
}

/// A packet, as far as the lookup looks at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lookup {
    /// Protocol.
    pub protocol: Protocol,
    /// Where the packet is from.
    pub source: SocketAddr,
    /// Where it goes; of the source's family.
    pub destination: SocketAddr,
    /// Index of the interface that the lookup is for: where the packet arrived, or for traffic of the host to itself the
    /// interface that owns the destination. 0 is none.
    pub interface: u32,
}

impl SockDiag {
    /// Opens a connection for the current namespace. It stays with that namespace, whatever the thread does later.
    pub fn open() -> Result<SockDiag> {
        let netlink = Netlink::open(Some(rustix::net::netlink::SOCK_DIAG))
            .map_err(|errno| Error::new("NETLINK_SOCK_DIAG", "socket tables", errno))?;
        Ok(SockDiag { netlink, known: Vec::new() })
    }

    /// What can receive: TCP listeners and unconnected UDP sockets, of both families.
    pub fn listeners(&mut self) -> Result<Vec<Entry>> {
        let mut found = self.dump(Protocol::Tcp, &[State::Listening])?;
        found.extend(self.dump(Protocol::Udp, &[State::Unconnected])?);
        Ok(found)
    }

    /// The sockets of a protocol that are in one of these states, of both families. Those that listen at one address and
    /// port come in the order in which the kernel looks at them.
    pub fn dump(&mut self, protocol: Protocol, states: &[State]) -> Result<Vec<Entry>> {
        self.dump_of(protocol, states, Id::ANY)
    }

    /// Those of them with this local port and this peer's port: of a busy server's connections those that may be between
    /// two endpoints. The kernel picks them out.
    pub fn dump_between(&mut self, protocol: Protocol, states: &[State], local: u16, peer: u16) -> Result<Vec<Entry>> {
        let ports = Id { source_port: local.to_be_bytes(), destination_port: peer.to_be_bytes(), ..Id::ANY };
        self.dump_of(protocol, states, ports)
    }

    fn dump_of(&mut self, protocol: Protocol, states: &[State], id: Id) -> Result<Vec<Entry>> {
        let states = states.iter().fold(0, |bits, state| bits | 1u32.unbounded_shl(u32::from(state.number())));
        let mut found = Vec::new();
        for family in [AF_INET, AF_INET6] {
            let request = Request { family, protocol: protocol.number(), extensions: 0, padding: 0, states, id };
            let entries = self
                .netlink
                .dump(SOCK_DIAG_BY_FAMILY, request.as_bytes(), |payload| entry(protocol, payload))
                .map_err(|errno| Error::new("SOCK_DIAG_BY_FAMILY", format!("the {protocol} sockets"), errno))?;
            found.extend(entries);
        }
        Ok(found)
    }

    /// The socket that a packet would reach, after every program on the hook; `None`: it would be refused.
    ///
    /// For TCP this can also be one with a connection between these two, or what is left of it.
    pub fn lookup(&mut self, lookup: &Lookup) -> Result<Option<Entry>> {
        let mut answers = self.lookup_all(std::slice::from_ref(lookup))?;
        Ok(answers.pop().flatten())
    }

    /// The answers to many lookups, in their order: fewer system calls than one by one.
    pub fn lookup_all(&mut self, lookups: &[Lookup]) -> Result<Vec<Option<Entry>>> {
        let mut answers = Vec::with_capacity(lookups.len());
        for batch in lookups.chunks(BATCH) {
            self.batch(batch, &mut answers)?;
        }
        Ok(answers)
    }

    fn batch(&mut self, batch: &[Lookup], answers: &mut Vec<Option<Entry>>) -> Result<()> {
        let requests = batch.iter().map(Request::one).collect::<Result<Vec<_>>>()?;
        let payloads: Vec<&[u8]> = requests.iter().map(IntoBytes::as_bytes).collect();
        let fail = |lookup: &Lookup, errno| {
            let Lookup { protocol, source, destination, .. } = lookup;
            Error::new("SOCK_DIAG_BY_FAMILY", format!("{protocol} {source} > {destination}"), errno)
        };
        let first = self.netlink.send(SOCK_DIAG_BY_FAMILY, 0, &payloads).map_err(|errno| fail(&batch[0], errno))?;

        let mut found: Vec<Option<std::result::Result<Entry, Errno>>> = vec![None; batch.len()];
        let mut waiting = batch.len();
        while waiting > 0 {
            self.netlink
                .receive(|message| {
                    // Of another batch, if an earlier one was given up: not ours to count.
                    let index = message.sequence.wrapping_sub(first) as usize;
                    let (Some(lookup), Some(place)) = (batch.get(index), found.get_mut(index)) else { return };
                    let answer = match message.body {
                        Body::Payload(payload) => entry(lookup.protocol, payload).ok_or(Errno::BADMSG),
                        Body::Failed(errno) => Err(errno),
                        Body::Done => return,
                    };
                    if place.replace(answer).is_none() {
                        waiting -= 1;
                    }
                })
                .map_err(|errno| fail(&batch[0], errno))?;
        }
        for (lookup, answer) in batch.iter().zip(found.into_iter().flatten()) {
            answers.push(match answer {
                Ok(entry) => Some(entry),
                Err(Errno::NOENT) => {
                    self.check_known(lookup.protocol)?;
                    None
                }
                Err(errno) => return Err(fail(lookup, errno)),
            });
        }
        Ok(())
    }

    /// A kernel without `udp_diag` or `tcp_diag` answers ENOENT too: "no such socket" counts only where a dump works.
    fn check_known(&mut self, protocol: Protocol) -> Result<()> {
        if !self.known.contains(&protocol) {
            self.dump(protocol, &[])?;
            self.known.push(protocol);
        }
        Ok(())
    }
}

/// `struct inet_diag_sockid`.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Id {
    source_port: [u8; 2],      // big-endian
    destination_port: [u8; 2], // big-endian
    source: [u8; 16],          // network order; IPv4 in the first four
    destination: [u8; 16],
    interface: u32,
    cookie: [u32; 2], // the low half first, host order
}
const _: () = assert!(size_of::<Id>() == 48);

impl Id {
    const ANY: Id = Id {
        source_port: [0; 2],
        destination_port: [0; 2],
        source: [0; 16],
        destination: [0; 16],
        interface: 0,
        cookie: NO_COOKIE,
    };
}

/// `struct inet_diag_req_v2`.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Request {
    family: u8,
    protocol: u8,
    extensions: u8,
    padding: u8,
    states: u32, // bit n: state number n
    id: Id,
}
const _: () = assert!(size_of::<Request>() == 56);

impl Request {
    /// The request that makes the kernel look up the receiver of a packet.
    fn one(lookup: &Lookup) -> Result<Request> {
        let Lookup { protocol, source, destination, interface } = *lookup;
        let family = match (source.ip(), destination.ip()) {
            (IpAddr::V4(_), IpAddr::V4(_)) => AF_INET,
            (IpAddr::V6(_), IpAddr::V6(_)) => AF_INET6,
            _ => return Err(Error::new("lookup", format!("{protocol} {source} > {destination}"), Errno::AFNOSUPPORT)),
        };
        // For TCP the request is seen from the host, so its source is the packet's destination; for UDP from the packet.
        let (from, to) = match protocol {
            Protocol::Tcp => (destination, source),
            Protocol::Udp => (source, destination),
        };
        Ok(Request {
            family,
            protocol: protocol.number(),
            extensions: 0,
            padding: 0,
            states: u32::MAX,
            id: Id {
                source_port: from.port().to_be_bytes(),
                destination_port: to.port().to_be_bytes(),
                source: padded(from.ip()),
                destination: padded(to.ip()),
                interface,
                cookie: NO_COOKIE,
            },
        })
    }
}

/// `struct inet_diag_msg`.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Answer {
    family: u8,
    state: u8,
    timer: u8,
    retransmissions: u8,
    id: Id,
    expires: u32,
    receive_queue: u32,
    send_queue: u32,
    uid: u32,
    inode: u32,
}
const _: () = assert!(size_of::<Answer>() == 72);

fn entry(protocol: Protocol, payload: &[u8]) -> Option<Entry> {
    let (answer, rest) = Answer::read_from_prefix(payload).ok()?;
    let Answer { family, state, id, uid, inode, .. } = answer;
    let endpoint = |octets: &[u8; 16], port: [u8; 2]| {
        let octets = if family == AF_INET6 { &octets[..] } else { &octets[..4] };
        Some(SocketAddr::new(address(octets)?, u16::from_be_bytes(port)))
    };
    let v6only = attributes(rest).any(|(kind, value)| kind == INET_DIAG_SKV6ONLY && value.first() == Some(&1));
    Some(Entry {
        protocol,
        ipv6: family == AF_INET6,
        state: State::from_number(state),
        local: endpoint(&id.source, id.source_port)?,
        remote: endpoint(&id.destination, id.destination_port)?,
        interface: id.interface,
        inode: u64::from(inode),
        cookie: u64::from(id.cookie[0]) | u64::from(id.cookie[1]) << 32,
        uid,
        v6only,
    })
}

fn padded(address: IpAddr) -> [u8; 16] {
    let mut bytes = [0; 16];
    let octets = octets(address);
    bytes[..octets.len()].copy_from_slice(&octets);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn source_and_destination_swap_places_for_udp() {
        let lookup = |protocol| Lookup {
            protocol,
            source: "198.51.100.1:1000".parse().unwrap(),
            destination: "192.0.2.7:80".parse().unwrap(),
            interface: 3,
        };
        let tcp = Request::one(&lookup(Protocol::Tcp)).unwrap();
        assert_eq!((u16::from_be_bytes(tcp.id.source_port), &tcp.id.source[..5]), (80, &[192, 0, 2, 7, 0][..]));
        let udp = Request::one(&lookup(Protocol::Udp)).unwrap();
        assert_eq!((u16::from_be_bytes(udp.id.source_port), &udp.id.source[..5]), (1000, &[198, 51, 100, 1, 0][..]));
        assert_eq!((tcp.id.interface, udp.id.interface), (3, 3));
    }

    #[test]
    fn two_families_in_one_packet_are_an_error() {
        let lookup = Lookup {
            protocol: Protocol::Tcp,
            source: "[::1]:1000".parse().unwrap(),
            destination: "192.0.2.7:80".parse().unwrap(),
            interface: 0,
        };
        assert!(Request::one(&lookup).is_err());
    }

    #[test]
    fn an_answer_cut_short_is_no_entry() {
        let whole = [0; size_of::<Answer>()];
        for length in 0..whole.len() {
            assert_eq!(entry(Protocol::Tcp, &whole[..length]), None, "{length} bytes");
        }
        assert!(entry(Protocol::Tcp, &whole).is_some());
    }
}
