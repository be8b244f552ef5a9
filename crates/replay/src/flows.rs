//! Which flow a packet belongs to, and what is known of it.

use std::net::{IpAddr, SocketAddr};

use sklookup_policy::Protocol;

use crate::datagram::Segment;
use crate::recent::Recent;

/// Protocol, addresses and ports of packets in one direction. Kept small, for there may be many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    source: [u8; 16],
    destination: [u8; 16],
    ports: [u16; 2],
    protocol: Protocol,
    is_ipv4: bool,
}

impl Key {
    /// Of packets as this one.
    pub fn of(segment: &Segment) -> Key {
        let bytes = |address: SocketAddr| match address.ip() {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
            IpAddr::V6(v6) => v6.octets(),
        };
        Key {
            source: bytes(segment.source),
            destination: bytes(segment.destination),
            ports: [segment.source.port(), segment.destination.port()],
            protocol: segment.protocol,
            is_ipv4: segment.source.is_ipv4(),
        }
    }

    /// Of packets in the other direction.
    pub fn reverse(self) -> Key {
        let [source, destination] = self.ports;
        Key { source: self.destination, destination: self.source, ports: [destination, source], ..self }
    }
}

/// What is known of packets in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// TCP, opened by such a packet: its row, and the sequence number that tells a repetition from the next connection.
    Opened { row: u32, sequence: u32 },
    /// TCP, opened by a packet in the other direction that did not go to this host.
    HostOpened,
    /// TCP; its opening was not seen.
    Unopened,
    /// Datagrams, and whether they answer what went in the other direction first.
    Datagrams { row: u32, answers: bool },
    /// No datagrams yet; but some that this host sent in the other direction.
    Asked,
}

/// The flows that are remembered, by the direction towards the host.
pub type Flows = Recent<Key, Flow>;
