//! Sockets, as a server opens them.

mod bind;
pub(crate) mod group;
mod membership;
mod other;
mod restore;
pub(crate) mod sock;
mod tcp;
mod udp;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use sklookup_vm::{Errno, SocketId};

use crate::error::{Error, Result};
use crate::machine::Machine;
use crate::netns::Netns;
use crate::packet::{Packet, Protocol};
use crate::program::Program;
use crate::world::World;
pub(crate) use other::OtherSock;
pub use other::{OtherKind, OtherSocket};
pub use restore::Snapshot;
use sock::Sock;

/// The address family of a socket, or of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6; unless it is v6only, such a socket takes IPv4 too.
    V6,
}

/// What a socket is doing, by the kernel's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Neither listens nor is connected; UDP sockets without a peer are in it (`TCP_CLOSE`).
    Close,
    /// A TCP listener.
    Listen,
    /// Connected; TCP or UDP.
    Established,
    /// TCP whose own side is shut down (`TCP_FIN_WAIT2`).
    FinWait,
    /// TCP whose peer has shut down (`TCP_CLOSE_WAIT`).
    CloseWait,
    /// TCP that both have shut down, its peer first (`TCP_LAST_ACK`).
    LastAck,
}

/// Which directions a shutdown ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shutdown {
    /// Receiving: a listener stops to listen.
    Read,
    /// Sending.
    Write,
    /// Both.
    Both,
}

/// A socket, open as long as this handle or a clone of it is.
#[derive(Clone, Debug)]
pub struct Socket(Arc<Open>);

/// What is closed with the last handle.
#[derive(Debug)]
struct Open {
    id: SocketId,
    /// An open socket keeps its namespace alive.
    netns: Netns,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.netns.machine().change(|world| world.close(self.id));
    }
}

impl Socket {
    /// Opens a socket.
    pub fn open(netns: &Netns, protocol: Protocol, family: Family) -> Socket {
        let id = netns.machine().change(|world| {
            let v6only = family == Family::V6 && world.namespaces[netns.index()].sysctls.bindv6only;
            world.add_sock(|id| Sock { v6only, ..Sock::new(id, netns.index(), protocol, family) })
        });
        Socket(Arc::new(Open { id, netns: netns.clone() }))
    }

    /// A TCP socket that listens at an address, of the address's family.
    ///
    /// # Errors
    /// As [`Socket::bind`] and [`Socket::listen`].
    pub fn listener(netns: &Netns, address: SocketAddr) -> Result<Socket> {
        let socket = Socket::open(netns, Protocol::Tcp, Family::of(address.ip()));
        socket.bind(address)?;
        socket.listen()?;
        Ok(socket)
    }

    /// A UDP socket bound to an address, of the address's family.
    ///
    /// # Errors
    /// As [`Socket::bind`].
    pub fn udp(netns: &Netns, address: SocketAddr) -> Result<Socket> {
        let socket = Socket::open(netns, Protocol::Udp, Family::of(address.ip()));
        socket.bind(address)?;
        Ok(socket)
    }

    /// Which it is: what deliveries and traces name.
    pub fn id(&self) -> SocketId {
        self.0.id
    }

    /// The number that is its own for as long as its machine is there (`SO_COOKIE`).
    pub fn cookie(&self) -> u64 {
        self.id().cookie()
    }

    /// What it is doing.
    pub fn state(&self) -> State {
        self.read(|sock| sock.state)
    }

    /// Where it is bound (`getsockname`): the unspecified address and port 0 at first.
    pub fn local_address(&self) -> SocketAddr {
        self.read(|sock| SocketAddr::new(sock.local, sock.port))
    }

    /// Its peer (`getpeername`).
    ///
    /// # Errors
    /// ENOTCONN.
    pub fn peer_address(&self) -> Result<SocketAddr> {
        self.read(|sock| match sock.state {
            State::Established | State::FinWait | State::CloseWait | State::LastAck => {
                Ok(SocketAddr::new(sock.peer(), sock.peer_port))
            }
            State::Close | State::Listen => Err(self.error("getpeername", Errno::NOTCONN)),
        })
    }

    /// Whether it takes IPv6 only (`IPV6_V6ONLY`); binding to a native IPv6 address sets this by itself.
    pub fn v6only(&self) -> bool {
        self.read(|sock| sock.v6only)
    }

    /// Sets `IPV6_V6ONLY`.
    ///
    /// # Errors
    /// EINVAL when bound; ENOPROTOOPT for an IPv4 socket.
    pub fn set_v6only(&self, on: bool) -> Result<()> {
        self.change(|sock| match sock.family {
            Family::V4 => Err(Errno::NOPROTOOPT),
            Family::V6 if sock.port != 0 => Err(Errno::INVAL),
            Family::V6 => {
                sock.v6only = on;
                Ok(())
            }
        })
        .map_err(|errno| self.error("setsockopt IPV6_V6ONLY", errno))
    }

    /// Sets `SO_REUSEADDR`.
    pub fn set_reuse_address(&self, on: bool) {
        self.change(|sock| sock.reuse_address = on);
    }

    /// Sets `SO_REUSEPORT`. Set after binding it changes the flag and makes no group.
    pub fn set_reuse_port(&self, on: bool) {
        self.change(|sock| sock.reuse_port = on);
    }

    /// Sets `SO_INCOMING_CPU`; `None` unsets it.
    pub fn set_incoming_cpu(&self, cpu: Option<u32>) {
        self.change(|sock| sock.incoming_cpu = cpu);
    }

    /// Sets `SO_MARK`, which programs can read.
    pub fn set_mark(&self, mark: u32) {
        self.change(|sock| sock.mark = mark);
    }

    /// Sets `SO_PRIORITY`, which programs can read.
    pub fn set_priority(&self, priority: u32) {
        self.change(|sock| sock.priority = priority);
    }

    /// Sets `IP_FREEBIND`: it may be bound to an address that isn't local.
    pub fn set_freebind(&self, on: bool) {
        self.change(|sock| sock.freebind = on);
    }

    /// Sets whose it is; sockets of one reuseport group have one owner. It is 0 at first.
    pub fn set_owner(&self, uid: u32) {
        self.change(|sock| sock.uid = uid);
    }

    /// Binds it to an interface (`SO_BINDTODEVICE`), or to none.
    ///
    /// # Errors
    /// ENODEV if there is no such interface.
    pub fn bind_to_device(&self, index: Option<u32>) -> Result<()> {
        self.world(|world| {
            let sock = world.known(self.id());
            let known = |index: u32| world.namespaces[sock.netns].interfaces.iter().any(|known| known.index == index);
            if index.is_some_and(|index| !known(index)) {
                return Err(Errno::NODEV);
            }
            world.known_mut(self.id()).device = index.unwrap_or(0);
            Ok(())
        })
        .map_err(|errno| self.error("setsockopt SO_BINDTODEVICE", errno))
    }

    /// Binds it to an address. Port 0 takes a free ephemeral port.
    ///
    /// # Errors
    /// EADDRINUSE, EADDRNOTAVAIL, EINVAL when bound already, EAFNOSUPPORT for an address of another family.
    pub fn bind(&self, address: SocketAddr) -> Result<()> {
        let random = self.machine().random();
        self.world(|world| world.bind(self.id(), address, random))
            .map_err(|errno| Error::new("bind", format!("{} to {address}", self.described()), errno))
    }

    /// Listens; binds to a free port first where it is not bound.
    ///
    /// # Errors
    /// EADDRINUSE; EINVAL when connected; EOPNOTSUPP for UDP.
    pub fn listen(&self) -> Result<()> {
        let random = self.machine().random();
        self.world(|world| world.listen(self.id(), random)).map_err(|errno| self.error("listen", errno))
    }

    /// Connects it to a peer; binds to a free port first where it is not bound.
    ///
    /// A TCP socket is established at once: no handshake is played, and nothing happens at the peer.
    ///
    /// # Errors
    /// EAFNOSUPPORT and ENETUNREACH for a peer that a socket bound like this one can't have; EINVAL for an IPv4 peer of an
    /// IPv6 TCP socket, which wants the v4-mapped form; EISCONN for TCP that is connected or listens; EADDRNOTAVAIL if
    /// the 4-tuple is taken.
    pub fn connect(&self, peer: SocketAddr) -> Result<()> {
        let random = self.machine().random();
        self.world(|world| match world.known(self.id()).protocol {
            Protocol::Tcp => world.connect_tcp(self.id(), peer, random),
            Protocol::Udp => world.connect_udp(self.id(), peer, random),
        })
        .map_err(|errno| Error::new("connect", format!("{} to {peer}", self.described()), errno))
    }

    /// Ends the connection (`connect` to `AF_UNSPEC`). A TCP listener stops to listen.
    ///
    /// # Errors
    /// None that a socket of ours is known to give.
    pub fn disconnect(&self) -> Result<()> {
        self.world(|world| match world.known(self.id()).protocol {
            Protocol::Tcp => world.disconnect_tcp(self.id()),
            Protocol::Udp => world.disconnect_udp(self.id()),
        });
        Ok(())
    }

    /// Shuts it down. A listener stops to listen unless only sending ends, and keeps its port.
    ///
    /// # Errors
    /// ENOTCONN for one that neither listens nor is connected.
    pub fn shutdown(&self, how: Shutdown) -> Result<()> {
        self.world(|world| world.shut_down(self.id(), how)).map_err(|errno| self.error("shutdown", errno))
    }

    /// Notes that the peer has shut down its side of a TCP connection.
    ///
    /// # Errors
    /// ENOTCONN if it is not a TCP connection.
    pub fn peer_shut_down(&self) -> Result<()> {
        self.world(|world| world.peer_shut_down(self.id())).map_err(|errno| self.error("receive a FIN with", errno))
    }

    /// Begins a handshake: from now on this SYN's 4-tuple is the request's.
    ///
    /// # Errors
    /// EINVAL if it does not listen; EADDRINUSE if the 4-tuple is taken.
    pub fn handshake(&self, syn: &Packet) -> Result<()> {
        self.world(|world| world.handshake(self.id(), syn)).map_err(|errno| self.error("answer a SYN with", errno))
    }

    /// The connection that a listener makes of this SYN, whatever address it went to; a handshake with it ends.
    ///
    /// # Errors
    /// EINVAL if it does not listen; EADDRINUSE if the 4-tuple is taken.
    pub fn accept(&self, syn: &Packet) -> Result<Socket> {
        let child = self.world(|world| world.accept(self.id(), syn)).map_err(|errno| self.error("accept", errno))?;
        Ok(Socket(Arc::new(Open { id: child, netns: self.0.netns.clone() })))
    }

    /// Closes a connection so that its 4-tuple waits (TIME-WAIT) until a new SYN takes its place.
    ///
    /// # Errors
    /// ENOTCONN if it is not a TCP connection.
    pub fn time_wait(self) -> Result<()> {
        self.world(|world| world.time_wait(self.id())).map_err(|errno| self.error("close", errno))
    }

    /// Attaches an sk_reuseport program to its group (`SO_ATTACH_REUSEPORT_EBPF`).
    ///
    /// # Errors
    /// EINVAL without `SO_REUSEPORT`, on a bound socket without a group, or for a program of another type.
    pub fn attach_reuseport(&self, program: &Program) -> Result<()> {
        self.world(|world| world.attach_reuseport(self.id(), program))
            .map_err(|errno| self.error("setsockopt SO_ATTACH_REUSEPORT_EBPF", errno))
    }

    /// Takes the program off its group (`SO_DETACH_REUSEPORT_BPF`).
    ///
    /// # Errors
    /// ENOENT if there is none; EINVAL without `SO_REUSEPORT`.
    pub fn detach_reuseport(&self) -> Result<()> {
        self.world(|world| world.detach_reuseport(self.id()))
            .map_err(|errno| self.error("setsockopt SO_DETACH_REUSEPORT_BPF", errno))
    }

    fn machine(&self) -> &Machine {
        self.0.netns.machine()
    }

    fn world<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        self.machine().change(change)
    }

    fn read<T>(&self, read: impl FnOnce(&Sock) -> T) -> T {
        self.machine().look(|world| read(world.known(self.id())))
    }

    fn change<T>(&self, change: impl FnOnce(&mut Sock) -> T) -> T {
        self.world(|world| change(world.known_mut(self.id())))
    }

    fn error(&self, call: &'static str, errno: Errno) -> Error {
        Error::new(call, self.described(), errno)
    }

    fn described(&self) -> String {
        format!("socket {}", self.cookie())
    }
}

impl World {
    /// Closes a socket: it leaves every table, and maps count it as gone.
    pub(crate) fn close(&mut self, id: SocketId) {
        match self.sock(id).map(|sock| sock.protocol) {
            Some(Protocol::Tcp) => {
                self.unhash_tcp(id);
                self.give_up_tcp_port(id);
            }
            Some(Protocol::Udp) => self.unhash_udp(id),
            None => {}
        }
        self.remove_sock(id);
    }
}

impl Family {
    /// The family of an address.
    pub fn of(address: IpAddr) -> Family {
        match address {
            IpAddr::V4(_) => Family::V4,
            IpAddr::V6(_) => Family::V6,
        }
    }

    /// `AF_INET` or `AF_INET6`.
    pub fn number(self) -> u16 {
        match self {
            Family::V4 => 2,
            Family::V6 => 10,
        }
    }

    /// The address that means any.
    pub(crate) fn unspecified(self) -> IpAddr {
        match self {
            Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
            Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
        }
    }
}
