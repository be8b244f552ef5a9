//! A socket as the tables and lookups know it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Mutex;

use sklookup_vm::{Errno, Map, SocketId};

use super::{Family, State};
use crate::packet::Protocol;
use crate::tables::{Place, Tuple};

/// Which reuseport group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GroupId(pub(crate) usize);

/// The state of a socket.
#[derive(Debug)]
pub(crate) struct Sock {
    pub(crate) id: SocketId,
    /// Index of its namespace.
    pub(crate) netns: usize,
    pub(crate) protocol: Protocol,
    pub(crate) family: Family,
    pub(crate) state: State,
    /// Bound to, in the family of the socket: `::ffff:192.0.2.7` of an IPv6 socket stays in that form.
    pub(crate) local: IpAddr,
    /// 0: none.
    pub(crate) port: u16,
    /// The peer as IPv4 lookups see it.
    pub(crate) peer4: Option<Ipv4Addr>,
    /// The peer as IPv6 lookups see it: disconnecting leaves it behind.
    pub(crate) peer6: Option<Ipv6Addr>,
    /// 0: none, or a peer that may use any port.
    pub(crate) peer_port: u16,
    pub(crate) v6only: bool,
    pub(crate) reuse_address: bool,
    pub(crate) reuse_port: bool,
    pub(crate) freebind: bool,
    /// Index of the interface that it is bound to, 0 for none.
    pub(crate) device: u32,
    pub(crate) incoming_cpu: Option<u32>,
    pub(crate) mark: u32,
    pub(crate) priority: u32,
    pub(crate) uid: u32,
    /// Its address was chosen by bind, not by connect.
    pub(crate) address_is_bound: bool,
    /// Its port was chosen by bind, not found for it.
    pub(crate) port_is_bound: bool,
    /// It is in the lookup tables.
    pub(crate) hashed: bool,
    /// It was in the tables of listeners or of UDP once: programs may select it from then on, and a reference to it isn't
    /// counted.
    pub(crate) selectable: bool,
    pub(crate) group: Option<GroupId>,
    /// Maps of sockets that it was put into; it may have been replaced there.
    pub(crate) maps: Mutex<Vec<Map>>,
    /// The REUSEPORT_SOCKARRAY that has it.
    pub(crate) reuseport_array: Mutex<Option<Map>>,
}

impl Sock {
    pub(crate) fn new(id: SocketId, netns: usize, protocol: Protocol, family: Family) -> Sock {
        Sock {
            id,
            netns,
            protocol,
            family,
            state: State::Close,
            local: family.unspecified(),
            port: 0,
            peer4: None,
            peer6: None,
            peer_port: 0,
            v6only: false,
            reuse_address: false,
            reuse_port: false,
            freebind: false,
            device: 0,
            incoming_cpu: None,
            mark: 0,
            priority: 0,
            uid: 0,
            address_is_bound: false,
            port_is_bound: false,
            hashed: false,
            selectable: false,
            group: None,
            maps: Mutex::default(),
            reuseport_array: Mutex::default(),
        }
    }

    /// The local address that IPv4 lookups see; `None`: they never match it.
    pub(crate) fn local_v4(&self) -> Option<Ipv4Addr> {
        match self.local {
            IpAddr::V4(v4) => Some(v4),
            IpAddr::V6(_) if self.v6only => None,
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Some(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(v6) => v6.to_ipv4_mapped(),
        }
    }

    /// The local address that IPv6 lookups see; `None`: they never match it.
    pub(crate) fn local_v6(&self) -> Option<Ipv6Addr> {
        match self.local {
            IpAddr::V4(_) => None,
            IpAddr::V6(v6) => Some(v6),
        }
    }

    /// Whether a search among sockets bound to `address` looks at it.
    pub(crate) fn is_bound_to(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(v4) => self.local_v4() == Some(v4),
            IpAddr::V6(v6) => self.local_v6() == Some(v6),
        }
    }

    /// Whether some packet could match the local addresses of both.
    pub(crate) fn overlaps(&self, other: &Sock) -> bool {
        let v4 = match (self.local_v4(), other.local_v4()) {
            (Some(one), Some(two)) => one == two || one.is_unspecified() || two.is_unspecified(),
            _ => false,
        };
        // No IPv6 packet goes to a v4-mapped address.
        let v6 = |sock: &Sock| sock.local_v6().filter(|v6| v6.to_ipv4_mapped().is_none());
        let v6 = match (v6(self), v6(other)) {
            (Some(one), Some(two)) => one == two || one.is_unspecified() || two.is_unspecified(),
            _ => false,
        };
        v4 || v6
    }

    /// Where it stands in the tables.
    pub(crate) fn place(&self) -> Place {
        Place::new(self.local, self.port)
    }

    /// Its peer in the family of the socket.
    pub(crate) fn peer(&self) -> IpAddr {
        match self.family {
            Family::V4 => self.peer4.unwrap_or(Ipv4Addr::UNSPECIFIED).into(),
            Family::V6 => self.peer6.unwrap_or(Ipv6Addr::UNSPECIFIED).into(),
        }
    }

    /// Both ends of its connection.
    pub(crate) fn tuple(&self) -> Tuple {
        Tuple { local: self.place(), remote: Place::new(self.peer(), self.peer_port) }
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.state == State::Established
    }

    /// An address in the family of this socket, which for IPv4 over an IPv6 socket is the v4-mapped form.
    pub(crate) fn own_form(&self, address: IpAddr) -> IpAddr {
        match (self.family, address) {
            (Family::V6, IpAddr::V4(v4)) => v4.to_ipv6_mapped().into(),
            (_, address) => address,
        }
    }

    /// The peer that it is connected to when it asks for this one, as it is on the wire: any means this host.
    pub(crate) fn check_peer(&self, peer: IpAddr) -> Result<IpAddr, Errno> {
        let wire = match peer.to_canonical() {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
            wire => wire,
        };
        let is_bound_to_ipv4 = self.local.to_canonical().is_ipv4();
        match (self.family, peer, wire) {
            (Family::V4, IpAddr::V6(_), _) => Err(Errno::AFNOSUPPORT),
            (Family::V6, _, IpAddr::V4(_)) if self.v6only => Err(Errno::NETUNREACH),
            (Family::V6, _, IpAddr::V6(_)) if is_bound_to_ipv4 => Err(Errno::AFNOSUPPORT),
            _ => Ok(wire),
        }
    }

    pub(crate) fn set_peer(&mut self, address: IpAddr, port: u16) {
        match address {
            IpAddr::V4(v4) => {
                self.peer4 = Some(v4);
                self.peer6 = (self.family == Family::V6).then(|| v4.to_ipv6_mapped());
            }
            IpAddr::V6(v6) => {
                self.peer4 = v6.to_ipv4_mapped();
                self.peer6 = Some(v6);
            }
        }
        self.peer_port = port;
    }
}
