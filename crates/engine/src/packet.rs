//! What arrives: a TCP segment or a UDP datagram, as far as anything on its way looks at it.

use std::fmt;
use std::net::SocketAddr;

/// A protocol that the hook runs for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// A packet on its way in. Both addresses are of one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// The transport protocol.
    pub protocol: Protocol,
    /// Who sent it: the remote side.
    pub source: SocketAddr,
    /// Where it goes: the local side.
    pub destination: SocketAddr,
    /// How it came in.
    pub ingress: Ingress,
    /// What a TCP segment says; nobody looks at it in a UDP datagram.
    pub segment: Segment,
    /// What follows the transport header; only sk_reuseport programs see it.
    pub payload: Vec<u8>,
    /// The CPU that handles it.
    pub cpu: u32,
}

/// How a packet came in, which decides the interface that a program sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Ingress {
    /// From this host: the interface that owns the destination address, which is loopback only for its own addresses.
    #[default]
    Host,
    /// From the wire, on the interface of this index; if that belongs to a VRF, the VRF's index is what a program sees.
    Interface(u32),
}

/// The part of a TCP header that matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Segment {
    /// Opens a connection.
    pub syn: bool,
    /// Acknowledges.
    pub ack: bool,
    /// Ends the sender's side.
    pub fin: bool,
    /// Resets.
    pub rst: bool,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number; 0 without `ack`.
    pub ack_seq: u32,
}

impl Segment {
    /// Without any flag.
    pub const NONE: Segment = Segment { syn: false, ack: false, fin: false, rst: false, seq: 0, ack_seq: 0 };
    /// The first segment of a connection.
    pub const SYN: Segment = Segment { syn: true, ..Segment::NONE };
    /// An acknowledgement.
    pub const ACK: Segment = Segment { ack: true, ..Segment::NONE };
    /// A reset.
    pub const RST: Segment = Segment { rst: true, ..Segment::NONE };
    /// An end without an acknowledgement.
    pub const FIN: Segment = Segment { fin: true, ..Segment::NONE };
}

impl Packet {
    /// A SYN from this host.
    pub fn tcp(source: SocketAddr, destination: SocketAddr) -> Packet {
        let protocol = Protocol::Tcp;
        let ingress = Ingress::default();
        Packet { protocol, source, destination, ingress, segment: Segment::SYN, payload: Vec::new(), cpu: 0 }
    }

    /// An empty datagram from this host.
    pub fn udp(source: SocketAddr, destination: SocketAddr) -> Packet {
        Packet { protocol: Protocol::Udp, segment: Segment::NONE, ..Packet::tcp(source, destination) }
    }

    /// The same packet, from the wire on this interface.
    pub fn on_interface(self, index: u32) -> Packet {
        Packet { ingress: Ingress::Interface(index), ..self }
    }

    /// The same segment with these flags and numbers.
    pub fn with_segment(self, segment: Segment) -> Packet {
        Packet { segment, ..self }
    }

    /// The same packet with this payload.
    pub fn with_payload(self, payload: impl Into<Vec<u8>>) -> Packet {
        Packet { payload: payload.into(), ..self }
    }

    /// What a closed port answers to this segment; `None`: nothing, because it is a reset or no TCP.
    pub fn reset(&self) -> Option<Segment> {
        let Segment { syn, ack, fin, rst, seq, ack_seq } = self.segment;
        if rst || self.protocol == Protocol::Udp {
            return None;
        }
        if ack {
            return Some(Segment { rst: true, seq: ack_seq, ..Segment::NONE });
        }
        // SYN and FIN count as a byte each.
        let length = (self.payload.len() as u32).wrapping_add(u32::from(syn) + u32::from(fin));
        Some(Segment { rst: true, ack: true, ack_seq: seq.wrapping_add(length), ..Segment::NONE })
    }

    /// The same packet, handled by this CPU.
    pub fn on_cpu(self, cpu: u32) -> Packet {
        Packet { cpu, ..self }
    }
}

impl Protocol {
    /// `IPPROTO_TCP` or `IPPROTO_UDP`.
    pub fn number(self) -> u8 {
        match self {
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        })
    }
}

/// `tcp 198.51.100.9:40000 > 192.0.2.7:80`.
impl fmt::Display for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} > {}", self.protocol, self.source, self.destination)
    }
}
