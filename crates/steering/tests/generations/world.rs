//! What the tests start from: a state, policies, sockets, clients.

use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use sklookup_bpf::MapSpec;
use sklookup_compiler::Family;
use sklookup_kernel::socket::Socket;
use sklookup_kernel::{Map, Netns, Sandbox, bpffs};
use sklookup_policy::{Entry, Label, Origin, Policy, parse_binding};
use sklookup_steering::{Committed, Error, Member, Placement, State};

/// The state of the sandbox's namespace.
pub fn state(sandbox: &Sandbox) -> State {
    State::new(&sandbox.bpffs, Netns::current().unwrap()).unwrap()
}

/// Bindings from their one-line form.
pub fn entries(lines: &[&str]) -> Vec<Entry> {
    let origin = || Origin::Command("test".into());
    lines.iter().flat_map(|line| parse_binding(line, origin()).unwrap()).collect()
}

/// Applies a whole policy.
pub fn apply(state: &State, lines: &[&str]) -> Result<Committed, Error> {
    let wanted = entries(lines);
    state.commit(&[], &mut |_| Policy::new(wanted.clone()).map_err(Error::Policy))
}

/// Adds bindings to what is applied.
pub fn bind(state: &State, lines: &[&str]) -> Result<Committed, Error> {
    let added = entries(lines);
    state.commit(&[], &mut |current| {
        Policy::new(current.policy.entries().iter().chain(&added).cloned().collect()).map_err(Error::Policy)
    })
}

/// The applied bindings, as text.
pub fn applied(state: &State) -> Vec<String> {
    let generation = state.generation().unwrap();
    let policy = generation.map(|generation| generation.record.policy).unwrap_or_default();
    policy.entries().iter().map(|entry| entry.binding.to_string()).collect()
}

/// Puts another text into the live generation, made of the one that it has: as another version would have written it.
pub fn rewrite(state: &State, change: impl FnOnce(String) -> String) {
    let generation = state.generation().unwrap().unwrap();
    let path = generation.live.dir.join("policy");
    bpffs::unlink(&path).unwrap();
    let text = change(generation.record.to_text()).into_bytes();
    Map::create(&MapSpec::table("sklookup_policy", text)).unwrap().pin(&path).unwrap();
}

/// A label.
pub fn label(name: &str) -> Label {
    name.parse().unwrap()
}

/// A socket as something to register.
pub fn member(socket: impl Into<OwnedFd>) -> Member {
    let fd = socket.into();
    let socket = Socket::inspect(fd.as_fd()).unwrap().unwrap();
    let suitable = socket.suitability().unwrap();
    let families = [(suitable.v4, Family::V4), (suitable.v6, Family::V6)];
    Member {
        protocol: sklookup_steering::find::protocol(suitable.protocol),
        families: families.into_iter().filter_map(|(takes, family)| takes.then_some(family)).collect(),
        cookie: socket.cookie,
        fd,
    }
}

/// Registers sockets under a label.
pub fn register(state: &State, name: &str, sockets: Vec<OwnedFd>) -> Result<(), Error> {
    let members = sockets.into_iter().map(member).collect();
    state.register(Placement { label: label(name), members })
}

/// A TCP listener that knows which connections are its own.
pub struct Server {
    pub listener: TcpListener,
}

impl Server {
    /// Listens on a port of its own choice.
    pub fn new(address: &str) -> Server {
        Server { listener: TcpListener::bind((address, 0)).unwrap() }
    }

    /// The same socket, to register.
    pub fn fd(&self) -> OwnedFd {
        self.listener.try_clone().unwrap().into()
    }

    /// Whether the next connection that arrives at this server was made to `to`.
    pub fn gets(&self, to: &str) -> bool {
        let to: SocketAddr = to.parse().unwrap();
        let Ok(client) = TcpStream::connect_timeout(&to, Duration::from_secs(5)) else { return false };
        let from = client.local_addr().unwrap();
        self.listener.set_nonblocking(true).unwrap();
        let accepted = self.listener.accept();
        self.listener.set_nonblocking(false).unwrap();
        // The handshake is over when connect returns: if the connection is not here now, it is elsewhere.
        accepted.is_ok_and(|(server, peer)| canonical(peer) == from && canonical(server.local_addr().unwrap()) == to)
    }
}

/// What an IPv6 socket calls an IPv4 address, as IPv4.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Whether a TCP connection to `to` is refused at once.
pub fn refused(to: &str) -> bool {
    let result = TcpStream::connect_timeout(&to.parse().unwrap(), Duration::from_secs(5));
    matches!(result, Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused)
}

/// A UDP socket on a port of its own choice.
pub fn udp(address: &str) -> UdpSocket {
    let socket = UdpSocket::bind((address, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    socket
}

/// Whether a datagram to `to` arrives at this socket.
pub fn datagram_arrives(server: &UdpSocket, to: &str) -> bool {
    let to: SocketAddr = to.parse().unwrap();
    let client = UdpSocket::bind(if to.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" }).unwrap();
    client.send_to(b"hello", to).unwrap();
    let mut buffer = [0; 16];
    server
        .recv_from(&mut buffer)
        .is_ok_and(|(len, from)| &buffer[..len] == b"hello" && from.port() == client.local_addr().unwrap().port())
}

/// The ids of the programs attached in the namespace.
pub fn attached() -> Vec<u32> {
    sklookup_kernel::Link::query(Netns::current().unwrap().as_fd()).unwrap()
}
