//! Real servers and real clients: who gets what was sent, and that nobody else does.

#![allow(dead_code)] // each test binary uses a part of it

use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::command::sklookup;

/// Longer than a connection over loopback ever takes; what takes this long has failed.
const LONG: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };

/// The answer of the kernel when no socket takes a packet: a reset, or port unreachable.
pub const REFUSED: &str = "refused";

/// A socket that waits for clients.
pub struct Server {
    /// What it is called here.
    pub name: String,
    socket: Socket,
}

enum Socket {
    Tcp(TcpListener),
    Udp(UdpSocket),
}

impl Server {
    /// Opens one, written as `tcp 127.0.0.1:0`.
    pub fn open(name: &str, socket: &str) -> Server {
        match socket.split_once(' ').unwrap() {
            ("tcp", address) => Server::of(name, TcpListener::bind(address).unwrap()),
            ("udp", address) => {
                let socket = UdpSocket::bind(address).unwrap();
                socket.set_nonblocking(true).unwrap();
                Server { name: name.to_owned(), socket: Socket::Udp(socket) }
            }
            (other, _) => panic!("no such protocol: {other}"),
        }
    }

    /// A listener that is there already.
    pub fn of(name: &str, listener: TcpListener) -> Server {
        listener.set_nonblocking(true).unwrap();
        Server { name: name.to_owned(), socket: Socket::Tcp(listener) }
    }

    /// Opens one and registers it under the label of its name.
    pub fn registered(label: &str, socket: &str) -> Server {
        let server = Server::open(label, socket);
        server.register();
        server
    }

    /// Registers it under the label of its name, as a user would.
    pub fn register(&self) {
        let (pid, socket) = (std::process::id().to_string(), self.described());
        let ran = sklookup(&["register", &self.name, "--pid", &pid, "--match", &socket]);
        assert_eq!(ran.exit, 0, "{} {socket}: {}", self.name, ran.stderr);
    }

    /// The socket as `--match` takes it.
    pub fn described(&self) -> String {
        match &self.socket {
            Socket::Tcp(listener) => format!("tcp {}", listener.local_addr().unwrap()),
            Socket::Udp(socket) => format!("udp {}", socket.local_addr().unwrap()),
        }
    }

    fn fd(&self) -> BorrowedFd<'_> {
        match &self.socket {
            Socket::Tcp(listener) => listener.as_fd(),
            Socket::Udp(socket) => socket.as_fd(),
        }
    }

    /// Takes what has arrived: from whom, and to where if the socket can tell.
    fn take(&self) -> Option<(SocketAddr, Option<SocketAddr>)> {
        match &self.socket {
            Socket::Tcp(listener) => {
                let (connection, client) = listener.accept().ok()?;
                Some((client, Some(connection.local_addr().unwrap())))
            }
            Socket::Udp(socket) => Some((socket.recv_from(&mut [0; 16]).ok()?.1, None)),
        }
    }
}

/// A client that has sent its packet.
enum Client {
    Tcp(TcpStream),
    Udp(UdpSocket),
}

/// Which of the servers `packet` (`tcp 127.0.0.1 > 127.7.0.1:80`) reaches: a name, or [`REFUSED`].
///
/// # Panics
///
/// When it reaches several, another than it was sent to, or nobody of these, though it was not refused.
pub fn reached(servers: &[&Server], packet: &str) -> String {
    let [protocol, source, ">", destination] = packet.split(' ').collect::<Vec<_>>()[..] else {
        panic!("no packet: {packet}")
    };
    let source = SocketAddr::new(source.parse::<IpAddr>().unwrap(), 0);
    let destination: SocketAddr = destination.parse().unwrap();
    let client = match protocol {
        "tcp" => match connect(source, destination) {
            Ok(connection) => Client::Tcp(connection),
            Err(Errno::CONNREFUSED) => {
                nobody_got_anything(servers, packet);
                return REFUSED.to_owned();
            }
            Err(error) => panic!("{packet}: {error}"),
        },
        "udp" => Client::Udp(send(source, destination)),
        other => panic!("no such protocol: {other}"),
    };
    let (answerer, own) = match &client {
        Client::Tcp(connection) => (None, connection.local_addr().unwrap()),
        Client::Udp(socket) => (Some(socket), socket.local_addr().unwrap()),
    };
    // connect() may return a moment before the connection can be accepted.
    let mut fds: Vec<PollFd<'_>> =
        servers.iter().map(|server| PollFd::from_borrowed_fd(server.fd(), PollFlags::IN)).collect();
    fds.extend(answerer.map(|socket| PollFd::new(socket, PollFlags::IN)));
    assert_ne!(poll(&mut fds, Some(&LONG)).unwrap(), 0, "{packet}: reached nobody of these");
    drop(fds);

    let Some((server, (from, to))) = servers.iter().find_map(|server| Some((server, server.take()?))) else {
        let error = answerer.and_then(|socket| socket.recv(&mut [0; 16]).err()).map(|error| error.kind());
        assert_eq!(error, Some(std::io::ErrorKind::ConnectionRefused), "{packet}");
        return REFUSED.to_owned();
    };
    assert_eq!(canonical(from), own, "{packet}: {} got something else", server.name);
    assert!(to.is_none_or(|to| canonical(to) == destination), "{packet}: {} sees it as sent to {to:?}", server.name);
    nobody_got_anything(servers, packet);
    server.name.clone()
}

fn nobody_got_anything(servers: &[&Server], packet: &str) {
    for server in servers {
        assert_eq!(server.take(), None, "{packet}: {} got something too", server.name);
    }
}

fn connect(source: SocketAddr, destination: SocketAddr) -> Result<TcpStream, Errno> {
    let family = if destination.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = rustix::net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // How long connect() waits, too.
    set_socket_timeout(&socket, Timeout::Send, Some(Duration::from_secs(10)))?;
    rustix::net::bind(&socket, &source)?;
    rustix::net::connect(&socket, &destination)?;
    Ok(TcpStream::from(socket))
}

/// Connected, so that an ICMP error comes back to it.
fn send(source: SocketAddr, destination: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind(source).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket.connect(destination).unwrap();
    socket.send(b"hello").unwrap();
    socket
}

/// What an IPv6 socket calls an IPv4 address, as IPv4.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
