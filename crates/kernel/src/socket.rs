//! What a socket is, asked of its fd, and whether a program may select it.
//!
//! # Safety
//!
//! One call is unsafe here: the ioctl `SIOCGSKNS`, which takes no argument and answers a new fd that nothing else owns.
#![allow(unsafe_code)]

use std::fmt;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrAny, SocketType, ipproto, sockopt};

use crate::error::{Error, Result};

/// A protocol that the hook runs for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
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

/// What was learned of a socket from its fd, at the time of asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Socket {
    /// What it speaks.
    pub kind: Kind,
    /// It is an IPv6 socket.
    pub ipv6: bool,
    /// TCP: it listens.
    pub listening: bool,
    /// The address it is bound to; port 0: not bound. `None` for what isn't an internet socket.
    pub local: Option<SocketAddr>,
    /// Its peer, if it is connected.
    pub peer: Option<SocketAddr>,
    /// An IPv6 socket that takes no IPv4. Binding to one IPv6 address sets this by itself.
    pub v6only: bool,
    /// It shares its port with others (`SO_REUSEPORT`).
    pub reuseport: bool,
    /// The number that is its own for as long as the kernel runs (`SO_COOKIE`).
    pub cookie: u64,
    /// Its inode, as `/proc/PID/fd` shows it.
    pub inode: u64,
    /// Inode of its network namespace; `None` where we may not ask, which takes CAP_NET_ADMIN in there.
    pub netns: Option<u64>,
}

/// What a socket speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// TCP over IPv4 or IPv6.
    Tcp,
    /// UDP over IPv4 or IPv6.
    Udp,
    /// UDP-Lite, which the hook doesn't run for.
    UdpLite,
    /// Multipath TCP: its subflows are the TCP sockets, and no fd names them.
    Mptcp,
    /// A socket of this host alone.
    Unix,
    /// Anything else, by the numbers of `socket(2)`.
    Other {
        /// Address family.
        domain: u16,
        /// Type.
        kind: u32,
        /// Protocol.
        protocol: u32,
    },
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Tcp => f.write_str("TCP"),
            Kind::Udp => f.write_str("UDP"),
            Kind::UdpLite => f.write_str("UDP-Lite"),
            Kind::Mptcp => f.write_str("MPTCP"),
            Kind::Unix => f.write_str("unix"),
            Kind::Other { domain, kind, protocol } => write!(f, "socket({domain}, {kind}, {protocol})"),
        }
    }
}

/// A socket that a program may select, and for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Suitable {
    /// Its protocol.
    pub protocol: Protocol,
    /// It can take IPv4 packets.
    pub v4: bool,
    /// It can take IPv6 packets.
    pub v6: bool,
}

/// Why a program can't select a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsuitable {
    /// The fd is of something else.
    #[error("not a socket")]
    NotSocket,
    /// TCP that never got a `listen(2)`, or was shut down.
    #[error("a TCP socket that does not listen; only listeners can be selected")]
    NotListening,
    /// One end of a connection.
    #[error("a TCP socket connected to {peer}; only listeners can be selected")]
    ConnectedTcp {
        /// The other end.
        peer: SocketAddr,
    },
    /// UDP with a peer: it gets the datagrams of that peer before the hook runs, and no others.
    #[error("a UDP socket connected to {peer}; only unconnected ones can be selected")]
    ConnectedUdp {
        /// The peer.
        peer: SocketAddr,
    },
    /// UDP without a port: the kernel doesn't look for it.
    #[error("a UDP socket that is not bound to a port; bind it, to any address and port")]
    UnboundUdp,
    /// Something that the hook has no packets for.
    #[error("{}; only TCP listeners and unconnected UDP sockets can be selected", in_words(*.0))]
    Kind(Kind),
}

impl Socket {
    /// Asks about the socket behind an fd; `None`: it isn't one.
    pub fn inspect(fd: impl AsFd) -> Result<Option<Socket>> {
        let fd = fd.as_fd();
        match inspect(fd) {
            Ok(socket) => Ok(Some(socket)),
            Err(Errno::NOTSOCK) => Ok(None),
            Err(errno) => Err(Error::new("getsockopt", format!("fd {}", fd.as_raw_fd()), errno)),
        }
    }

    /// Whether a program may select it: only TCP listeners and bound UDP sockets without a peer.
    pub fn suitability(&self) -> std::result::Result<Suitable, Unsuitable> {
        let protocol = match self.kind {
            Kind::Tcp => Protocol::Tcp,
            Kind::Udp => Protocol::Udp,
            other => return Err(Unsuitable::Kind(other)),
        };
        match (protocol, self.peer) {
            (Protocol::Tcp, _) if self.listening => {}
            (Protocol::Tcp, Some(peer)) => return Err(Unsuitable::ConnectedTcp { peer }),
            (Protocol::Tcp, None) => return Err(Unsuitable::NotListening),
            (Protocol::Udp, Some(peer)) => return Err(Unsuitable::ConnectedUdp { peer }),
            (Protocol::Udp, None) if self.local.is_none_or(|local| local.port() == 0) => {
                return Err(Unsuitable::UnboundUdp);
            }
            (Protocol::Udp, None) => {}
        }
        Ok(Suitable { protocol, v4: !self.ipv6 || !self.v6only, v6: self.ipv6 })
    }
}

fn inspect(fd: BorrowedFd<'_>) -> rustix::io::Result<Socket> {
    let domain = sockopt::socket_domain(fd)?;
    let kind = kind(domain, sockopt::socket_type(fd)?, sockopt::socket_protocol(fd)?);
    let internet = domain == AddressFamily::INET || domain == AddressFamily::INET6;
    let ipv6 = domain == AddressFamily::INET6;
    Ok(Socket {
        kind,
        ipv6,
        listening: sockopt::socket_acceptconn(fd)?,
        local: if internet { address(rustix::net::getsockname(fd)?) } else { None },
        peer: if internet { peer(fd)? } else { None },
        v6only: ipv6 && sockopt::ipv6_v6only(fd)?,
        reuseport: internet && sockopt::socket_reuseport(fd)?,
        cookie: sockopt::socket_cookie(fd)?,
        inode: rustix::fs::fstat(fd)?.st_ino,
        netns: netns_of(fd).ok(),
    })
}

fn kind(domain: AddressFamily, kind: SocketType, protocol: Option<rustix::net::Protocol>) -> Kind {
    let internet = domain == AddressFamily::INET || domain == AddressFamily::INET6;
    match protocol {
        _ if domain == AddressFamily::UNIX => Kind::Unix,
        Some(ipproto::TCP) if internet && kind == SocketType::STREAM => Kind::Tcp,
        Some(ipproto::MPTCP) if internet && kind == SocketType::STREAM => Kind::Mptcp,
        Some(ipproto::UDP) if internet && kind == SocketType::DGRAM => Kind::Udp,
        Some(ipproto::UDPLITE) if internet && kind == SocketType::DGRAM => Kind::UdpLite,
        _ => Kind::Other {
            domain: domain.as_raw(),
            kind: kind.as_raw(),
            protocol: protocol.map_or(0, |p| p.as_raw().get()),
        },
    }
}

fn address(any: SocketAddrAny) -> Option<SocketAddr> {
    SocketAddr::try_from(any).ok()
}

fn peer(fd: BorrowedFd<'_>) -> rustix::io::Result<Option<SocketAddr>> {
    match rustix::net::getpeername(fd) {
        Ok(any) => Ok(any.and_then(address)),
        Err(Errno::NOTCONN) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Inode of the network namespace of a socket (`SIOCGSKNS`, since 4.10).
fn netns_of(fd: BorrowedFd<'_>) -> rustix::io::Result<u64> {
    const SIOCGSKNS: libc::Ioctl = 0x894c;
    // SAFETY: the request has no argument, so nothing is read or written through a pointer.
    let answer = unsafe { libc::ioctl(fd.as_raw_fd(), SIOCGSKNS) };
    if answer < 0 {
        return Err(crate::netns::last_errno());
    }
    // SAFETY: the answer is a new fd (checked above not to be an error) that the kernel made for this call.
    let netns = unsafe { OwnedFd::from_raw_fd(answer) };
    Ok(rustix::fs::fstat(netns)?.st_ino)
}

fn in_words(kind: Kind) -> String {
    match kind {
        Kind::Unix => "a unix socket".to_owned(),
        Kind::Mptcp => "an MPTCP socket, which the kernel puts into no sockmap".to_owned(),
        Kind::UdpLite => "a UDP-Lite socket".to_owned(),
        other => format!("a socket of another kind, {other}"),
    }
}
