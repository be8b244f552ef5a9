//! What IP and the transport header say of a packet.

use std::net::{IpAddr, SocketAddr};

use sklookup_policy::Protocol;

use crate::ip::{self, Fragment, Headers};

/// An IP packet, as far as the lookup of sockets looks at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Datagram {
    /// Who sent it.
    pub source: IpAddr,
    /// Where it goes.
    pub destination: IpAddr,
    /// How long it says it is, headers included, in bytes; 0 where it does not say.
    pub length: u64,
    /// The datagram it is a part of; `None` for a whole one.
    pub fragment: Option<Fragment>,
    /// What it carries.
    pub content: Content,
}

/// What a packet carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// The beginning of a TCP segment or UDP datagram.
    Segment(Segment),
    /// A later part of a fragmented one: ports are in the first part.
    LaterFragment,
    /// Another protocol.
    Other,
    /// It ends before ports, or TCP's flags, could be read, or a header before them is broken.
    CutOff,
}

/// What is read of a transport header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Whose header it is.
    pub protocol: Protocol,
    /// Address and port of the sender.
    pub source: SocketAddr,
    /// Address and port it goes to.
    pub destination: SocketAddr,
    /// TCP's flags: `FIN`, `SYN`, `RST`, `PSH`, `ACK`, `URG` from the lowest bit on; 0 for UDP.
    pub flags: u8,
    /// TCP's sequence number; 0 for UDP.
    pub sequence: u32,
}

impl Segment {
    /// Whether it opens a connection: the listener's lookup is for this one.
    pub fn opens(&self) -> bool {
        self.protocol == Protocol::Tcp && self.flags & (SYN | ACK | RST) == SYN
    }

    /// Whether it answers one that opens: then its source is the side that listens.
    pub fn accepts(&self) -> bool {
        self.protocol == Protocol::Tcp && self.flags & (SYN | ACK | RST) == SYN | ACK
    }
}

const SYN: u8 = 1 << 1;
const RST: u8 = 1 << 2;
const ACK: u8 = 1 << 4;

impl Datagram {
    /// Reads a packet from its IP header on; `None` where there is none, or it ends before its addresses.
    ///
    /// The packet may be cut off behind the headers, as captures do.
    pub fn read(packet: &[u8]) -> Option<Datagram> {
        let Headers { source, destination, length, part, payload } = ip::read(packet)?;
        let content = match payload {
            _ if part.is_some_and(|part| part.offset > 0) => Content::LaterFragment,
            Some((TCP, bytes)) => segment(Protocol::Tcp, source, destination, bytes),
            Some((UDP, bytes)) => segment(Protocol::Udp, source, destination, bytes),
            Some(_) => Content::Other,
            None => Content::CutOff,
        };
        Some(Datagram { source, destination, length, fragment: part.map(|part| part.of), content })
    }
}

const TCP: u8 = 6;
const UDP: u8 = 17;

/// Source port, destination port; TCP: sequence number (4 bytes), acknowledged (4), length (1), flags (1).
fn segment(protocol: Protocol, source: IpAddr, destination: IpAddr, bytes: &[u8]) -> Content {
    let read = || {
        let port = |at| Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?));
        let (source, destination) = (SocketAddr::new(source, port(0)?), SocketAddr::new(destination, port(2)?));
        let (sequence, flags) = match protocol {
            Protocol::Tcp => (u32::from_be_bytes(*bytes.get(4..)?.first_chunk()?), *bytes.get(13)?),
            Protocol::Udp => (0, 0),
        };
        Some(Segment { protocol, source, destination, flags, sequence })
    };
    read().map_or(Content::CutOff, Content::Segment)
}
