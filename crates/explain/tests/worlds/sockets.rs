//! Sockets of a world, and whether something has come to them.

use std::fmt;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, RecvFlags, SocketFlags, SocketType, sockopt};
use sklookup_compiler::Family;
use sklookup_kernel::socket::Socket;
use sklookup_kernel::socket_options::bind_to_device;
use sklookup_policy::Protocol;
use sklookup_steering::Member;

/// A listener, a UDP socket, or one that is connected.
pub struct Server {
    pub protocol: Protocol,
    pub local: SocketAddr,
    pub peer: Option<SocketAddr>,
    pub fd: OwnedFd,
    pub cookie: u64,
    device: Option<&'static str>,
    v6only: bool,
}

impl Server {
    /// `None` where it can't be, for others are in the way.
    pub fn open(
        protocol: Protocol,
        at: SocketAddr,
        device: Option<&'static str>,
        reuseport: bool,
        v6only: bool,
    ) -> Option<Server> {
        let fd = socket(protocol, at);
        sockopt::set_socket_reuseport(&fd, reuseport).unwrap();
        if at.is_ipv6() {
            sockopt::set_ipv6_v6only(&fd, v6only).unwrap();
        }
        if let Some(device) = device {
            bind_to_device(&fd, device).unwrap();
        }
        let placed = net::bind(&fd, &at).and_then(|()| match protocol {
            Protocol::Tcp => net::listen(&fd, 16),
            Protocol::Udp => Ok(()),
        });
        match placed {
            Ok(()) => {}
            // An IPv6 address that only a route makes local can't be bound to.
            Err(Errno::ADDRINUSE | Errno::ADDRNOTAVAIL) => return None,
            Err(errno) => panic!("{protocol} {at}: {errno}"),
        }
        let cookie = sockopt::socket_cookie(&fd).unwrap();
        Some(Server { protocol, local: at, peer: None, fd, cookie, device, v6only })
    }

    /// A UDP socket that takes from one peer; `None` where it can't be, for others are in the way.
    pub fn connected(at: SocketAddr, peer: SocketAddr) -> Option<Server> {
        let server = Server::open(Protocol::Udp, at, None, true, false)?;
        net::connect(&server.fd, &peer).unwrap();
        Some(Server { peer: Some(peer), ..server })
    }

    /// Takes what has come: a connection, or a datagram.
    pub fn take(&self) -> Option<OwnedFd> {
        match self.protocol {
            Protocol::Tcp => {
                net::accept_with(&self.fd, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC).ok().inspect(reset)
            }
            Protocol::Udp => {
                net::recv(&self.fd, &mut [0u8; 8][..], RecvFlags::DONTWAIT).unwrap();
                None
            }
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} cookie {}", self.protocol, self.local, self.cookie)?;
        match (self.device, self.peer) {
            (Some(device), _) => write!(f, " dev {device}")?,
            (None, Some(peer)) => write!(f, " connected to {peer}")?,
            (None, None) => {}
        }
        if self.v6only { f.write_str(" v6only") } else { Ok(()) }
    }
}

/// A socket that does not block.
pub fn socket(protocol: Protocol, at: SocketAddr) -> OwnedFd {
    let family = if at.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let kind = match protocol {
        Protocol::Tcp => SocketType::STREAM,
        Protocol::Udp => SocketType::DGRAM,
    };
    net::socket_with(family, kind, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC, None).unwrap()
}

/// Has a connection end at once, so that nothing of it stays.
pub fn reset(connection: &OwnedFd) {
    sockopt::set_socket_linger(connection, Some(Duration::ZERO)).unwrap();
}

/// A server as something to register, if it can be.
pub fn member(server: &Server) -> Option<Member> {
    let fd = server.fd.try_clone().unwrap();
    let suitable = Socket::inspect(fd.as_fd()).unwrap().unwrap().suitability().ok()?;
    let families = [(suitable.v4, Family::V4), (suitable.v6, Family::V6)];
    let families = families.into_iter().filter_map(|(takes, family)| takes.then_some(family)).collect();
    Some(Member { protocol: server.protocol, families, cookie: server.cookie, fd })
}

/// The places of those fds to which something has come, or that have failed; waits until there is one. `what` says for
/// what.
pub fn wait_for_any(fds: &[(&OwnedFd, PollFlags)], what: &str) -> Vec<usize> {
    let mut polled: Vec<PollFd<'_>> = fds.iter().map(|(fd, flags)| PollFd::new(fd, *flags)).collect();
    let patience = Timespec { tv_sec: 20, tv_nsec: 0 };
    let ready = poll(&mut polled, Some(&patience)).unwrap();
    assert!(ready > 0, "{what}: it never came");
    polled.iter().enumerate().filter(|(_, fd)| !fd.revents().is_empty()).map(|(place, _)| place).collect()
}
