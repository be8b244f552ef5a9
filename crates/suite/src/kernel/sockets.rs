//! Sockets of a case: made as it says, and changed by its steps.

use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, Shutdown, SocketFlags, SocketType, bind, connect, connect_unspec, ipproto,
    listen, recv, send, shutdown, socket_with, sockopt,
};
use sklookup_kernel::socket_options;

use super::host::Machine;
use crate::case::{Kind, Operation, Setup, Socket};
use crate::host::{Outcome, Refusal};

/// As many connections may wait as a server would allow.
const BACKLOG: i32 = 128;

/// A socket that is open.
pub(super) struct Open {
    pub(super) fd: OwnedFd,
    pub(super) kind: Kind,
    pub(super) ipv6: bool,
    /// The namespace it is in, if not the case's own.
    pub(super) netns: Option<String>,
    /// The other end of a unix socket, which must not close.
    _peer: Option<OwnedFd>,
}

impl Open {
    /// One end of a connection of the case.
    pub(super) fn connection(fd: OwnedFd, ipv6: bool, netns: Option<String>) -> Open {
        Open { fd, kind: Kind::Tcp, ipv6, netns, _peer: None }
    }

    pub(super) fn listens(&self) -> bool {
        self.kind == Kind::Tcp && sockopt::socket_acceptconn(&self.fd).unwrap_or(false)
    }
}

impl Machine<'_> {
    pub(super) fn open_socket(&self, socket: &Socket) -> Outcome<Open> {
        let program = socket.setup.reuseport_program.as_deref().map(|name| self.program(name)).transpose()?;
        let netns = self.netns(socket.setup.netns.as_deref())?;
        let (fd, peer) = Machine::inside(netns, || make(socket))?;
        let setup = &socket.setup;
        let ipv6 = socket.address.is_ipv6();
        if is_internet(socket.kind) {
            prepare(&fd, socket)?;
            Machine::inside(netns, || place(&fd, socket))?;
            // Before it has an address the program would make a group of its own, and the address would be in use; once
            // it is connected it has no group any more.
            if let Some(program) = program {
                socket_options::attach_reuseport(&fd, program)?;
            }
            finish(&fd, setup)?;
        }
        Ok(Open { fd, kind: socket.kind, ipv6, netns: setup.netns.clone(), _peer: peer })
    }

    pub(super) fn operate_socket(&self, name: &str, operation: &Operation) -> Outcome {
        let socket = self.socket(name)?;
        let fd = socket.fd.as_fd();
        let done = match operation {
            Operation::Bind(to) => bind(fd, to),
            Operation::Listen => listen(fd, BACKLOG),
            Operation::Connect(to) => connect(fd, to),
            Operation::Disconnect => connect_unspec(fd),
            Operation::ShutdownRead => shutdown(fd, Shutdown::Read),
            Operation::Shutdown => shutdown(fd, Shutdown::Both),
            Operation::Reuseport(on) => sockopt::set_socket_reuseport(fd, *on),
            Operation::AttachReuseport(program) => {
                return Ok(socket_options::attach_reuseport(fd, self.program(program)?)?);
            }
            Operation::DetachReuseport => return Ok(socket_options::detach_reuseport(fd)?),
            Operation::Talk(to) => {
                let to = self.socket(to)?.fd.as_fd();
                return talk(fd, to).map_err(|errno| Refusal::Broken(format!("a byte from {name}: {errno}")));
            }
        };
        done.map_err(|errno| Refusal::Errno(errno.into()))
    }
}

fn is_internet(kind: Kind) -> bool {
    !matches!(kind, Kind::UnixStream | Kind::UnixDatagram | Kind::UnixSeqpacket)
}

/// The socket, and the other end if it is one of a pair.
fn make(socket: &Socket) -> Outcome<(OwnedFd, Option<OwnedFd>)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let unix = |kind| {
        if socket.setup.unbound {
            return socket_with(AddressFamily::UNIX, kind, flags, None).map(|fd| (fd, None));
        }
        rustix::net::socketpair(AddressFamily::UNIX, kind, flags, None).map(|(one, other)| (one, Some(other)))
    };
    let family = if socket.address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let internet = |kind, protocol| socket_with(family, kind, flags, Some(protocol)).map(|fd| (fd, None));
    let made = match socket.kind {
        Kind::UnixStream => unix(SocketType::STREAM),
        Kind::UnixDatagram => unix(SocketType::DGRAM),
        Kind::UnixSeqpacket => unix(SocketType::SEQPACKET),
        Kind::Tcp => internet(SocketType::STREAM, ipproto::TCP),
        Kind::Udp => internet(SocketType::DGRAM, ipproto::UDP),
        Kind::UdpLite => internet(SocketType::DGRAM, ipproto::UDPLITE),
        Kind::Mptcp => internet(SocketType::STREAM, ipproto::MPTCP),
    };
    made.map_err(|errno| match errno {
        // Built without it, or switched off.
        Errno::PROTONOSUPPORT | Errno::NOPROTOOPT => {
            Refusal::Cannot(format!("this kernel has no {:?} sockets", socket.kind))
        }
        errno => Refusal::Errno(errno.into()),
    })
}

/// What is set before the socket has an address.
fn prepare(fd: &OwnedFd, socket: &Socket) -> Outcome {
    let Setup { reuseport, v6only, device, cpu, recverr, .. } = &socket.setup;
    let refused = |errno: Errno| Refusal::Errno(errno.into());
    if socket.kind == Kind::Tcp {
        sockopt::set_socket_reuseaddr(fd, true).map_err(refused)?;
    }
    if let Some(v6only) = v6only {
        sockopt::set_ipv6_v6only(fd, *v6only).map_err(refused)?;
    }
    if let Some(device) = device {
        socket_options::bind_to_device(fd, device)?;
    }
    if let Some(cpu) = cpu {
        sockopt::set_socket_incoming_cpu(fd, *cpu).map_err(refused)?;
    }
    if *recverr {
        socket_options::receive_errors(fd, socket.address.is_ipv6())?;
    }
    if *reuseport {
        sockopt::set_socket_reuseport(fd, true).map_err(refused)?;
    }
    Ok(())
}

/// Gives the socket its address and its ears.
fn place(fd: &OwnedFd, socket: &Socket) -> Outcome {
    let setup = &socket.setup;
    let stream = matches!(socket.kind, Kind::Tcp | Kind::Mptcp);
    let steps = || -> Result<(), Errno> {
        if !setup.unbound {
            bind(fd, &socket.address)?;
        }
        if stream && setup.connect.is_none() && !setup.silent && !setup.unbound {
            listen(fd, BACKLOG)?;
        }
        Ok(())
    };
    steps().map_err(|errno| Refusal::Errno(errno.into()))
}

/// What is done to the socket when it is in its place.
fn finish(fd: &OwnedFd, setup: &Setup) -> Outcome {
    let steps = || -> Result<(), Errno> {
        if let Some(peer) = setup.connect {
            connect_to(fd, peer)?;
        }
        if setup.late_reuseport {
            sockopt::set_socket_reuseport(fd, true)?;
        }
        Ok(())
    };
    steps().map_err(|errno| Refusal::Errno(errno.into()))
}

/// A byte from one end of a connection to the other.
fn talk(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<(), Errno> {
    send(from, b"t", SendFlags::empty())?;
    super::clients::wait_for(to, PollFlags::IN)?;
    let mut byte = [0u8; 1];
    recv(to, &mut byte, RecvFlags::empty())?;
    if byte == *b"t" { Ok(()) } else { Err(Errno::BADMSG) }
}

/// Connects, and waits until it is: the socket itself does not block.
fn connect_to(fd: &OwnedFd, peer: SocketAddr) -> Result<(), Errno> {
    match connect(fd, &peer) {
        Err(Errno::INPROGRESS) => {}
        answer => return answer,
    }
    super::clients::wait_for(fd.as_fd(), PollFlags::OUT)?;
    sockopt::socket_error(fd)?
}
