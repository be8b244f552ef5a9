//! Packets: from this host or over the cable, of new flows or of connections, and where they land.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use fastrand::Rng;
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{self, RecvFlags, SendFlags, sockopt};
use sklookup_kernel::route::{self, RouteKind};
use sklookup_kernel::{Netns, interface};
use sklookup_policy::{Packet, Protocol};

use crate::sockets::{Server, reset, socket, wait_for_any};
use crate::world::{Place, World};

/// Where a packet landed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Landed {
    /// On the socket of this cookie.
    On(u64),
    /// Nowhere, and the sender was told so.
    Refused,
}

/// Who sends the packet.
pub enum Client {
    /// A socket that has sent nothing yet.
    Fresh(OwnedFd),
    /// One end of a connection, with the other.
    Connected([OwnedFd; 2]),
}

impl Place {
    /// A packet, and who will send it.
    pub fn packet(&self, world: &mut World, rng: &mut Rng) -> (Packet, Client) {
        let protocol = if rng.bool() { Protocol::Tcp } else { Protocol::Udp };
        let destination = world.destination(rng, protocol);
        // Over the cable come packets to what its other end takes for a neighbour.
        let far = ["10.1.0.1", "10.2.0.1", "192.0.2.7", "192.0.2.200", "fd01::1"];
        let is_far = rng.bool() && far.iter().any(|ip| ip.parse() == Ok(destination.ip()));
        let sources: &[&str] = match (is_far, destination.is_ipv4()) {
            (true, true) => &["10.1.0.9"],
            (true, false) => &["fd01::9"],
            (false, true) => &["127.0.0.1", "10.1.0.1", "192.0.2.9"],
            // A reset to ::1 is looked for a route on the interface that owns what it answers for, where there is none.
            (false, false) if !destination.ip().is_loopback() => &["fd01::1"],
            (false, false) => &["::1", "fd01::1"],
        };
        let source: IpAddr = rng.choice(sources).unwrap().parse().unwrap();
        let open = || {
            let open = || {
                let fd = socket(protocol, destination);
                net::bind(&fd, &SocketAddr::new(source, 0)).unwrap();
                fd
            };
            if is_far { self.far.run(open).unwrap() } else { open() }
        };
        let client = open();
        let from = local(&client);
        let (from, client) = match protocol {
            _ if rng.u8(..4) > 0 => (from, Client::Fresh(client)),
            Protocol::Udp => {
                world.servers.extend(Server::connected(destination, from));
                (from, Client::Fresh(client))
            }
            Protocol::Tcp => match world.connect(&client, destination) {
                Some((child, _)) => (from, Client::Connected([client, child])),
                None => {
                    let another = open();
                    (local(&another), Client::Fresh(another))
                }
            },
        };
        let interface = (is_far && rng.bool()).then(|| "near".parse().unwrap());
        (Packet { protocol, source: from, destination, interface }, client)
    }
}

impl World {
    /// Sends it.
    pub fn send(&self, packet: &Packet, client: Client) -> Landed {
        match client {
            Client::Connected([client, child]) => {
                net::send(&client, b"x", SendFlags::empty()).unwrap();
                wait_for_any(&[(&child, PollFlags::IN)], "what was sent over a connection");
                net::recv(&child, &mut [0u8; 8][..], RecvFlags::empty()).unwrap();
                Landed::On(sockopt::socket_cookie(&child).unwrap())
            }
            Client::Fresh(client) => match packet.protocol {
                Protocol::Tcp => {
                    self.connect(&client, packet.destination).map_or(Landed::Refused, |(_, server)| Landed::On(server))
                }
                Protocol::Udp => self.send_datagram(&client, packet.destination),
            },
        }
    }

    /// The connection that a server has accepted, and that server's cookie; `None`: it was reset.
    fn connect(&self, client: &OwnedFd, to: SocketAddr) -> Option<(OwnedFd, u64)> {
        match net::connect(client, &to) {
            Ok(()) => {}
            Err(Errno::INPROGRESS) => drop(wait_for_any(&[(client, PollFlags::OUT)], &format!("the answer of {to}"))),
            Err(Errno::CONNREFUSED) => return None,
            Err(errno) => panic!("connect to {to}: {errno}"),
        }
        match sockopt::socket_error(client).unwrap() {
            Ok(()) => {}
            Err(Errno::CONNREFUSED) => return None,
            Err(errno) => panic!("connect to {to}: {errno}"),
        }
        reset(client);
        let listeners: Vec<&Server> = self.of(Protocol::Tcp);
        let fds: Vec<_> = listeners.iter().map(|server| (&server.fd, PollFlags::IN)).collect();
        let server = listeners[wait_for_any(&fds, &format!("a connection to {to}"))[0]];
        Some((server.take().expect("a connection has come"), server.cookie))
    }

    fn send_datagram(&self, client: &OwnedFd, to: SocketAddr) -> Landed {
        net::connect(client, &to).unwrap();
        net::send(client, b"x", SendFlags::empty()).unwrap();
        let servers = self.of(Protocol::Udp);
        let mut fds: Vec<_> = servers.iter().map(|server| (&server.fd, PollFlags::IN)).collect();
        fds.push((client, PollFlags::IN));
        let place = wait_for_any(&fds, &format!("a datagram to {to}, or a refusal"))[0];
        match servers.get(place) {
            Some(server) => {
                server.take();
                Landed::On(server.cookie)
            }
            None => {
                let told = net::recv(client, &mut [0u8; 8][..], RecvFlags::empty());
                assert_eq!(told.unwrap_err(), Errno::CONNREFUSED);
                Landed::Refused
            }
        }
    }

    fn of(&self, protocol: Protocol) -> Vec<&Server> {
        self.servers.iter().filter(|server| server.protocol == protocol).collect()
    }
}

fn local(fd: &OwnedFd) -> SocketAddr {
    SocketAddr::try_from(net::getsockname(fd).unwrap()).unwrap()
}

/// Waits until a kernel worker has made the routes of IPv6 addresses, and has refusals told each time.
pub fn wait_until_routed(far: &Netns) {
    for name in ["ipv4/icmp_ratelimit", "ipv6/icmp/ratelimit"] {
        std::fs::write(format!("/proc/sys/net/{name}"), "0").unwrap();
    }
    let routed = |address: &str| {
        let deadline = Instant::now() + Duration::from_secs(20);
        let is_local = || {
            let found = route::toward(address.parse().unwrap(), None).unwrap();
            found.is_some_and(|found| found.kind == RouteKind::Local)
        };
        while !is_local() {
            assert!(Instant::now() < deadline, "{address} is not local: {:?}", interface::list());
            std::thread::yield_now();
        }
    };
    routed("fd01::1");
    far.run(|| routed("fd01::9")).unwrap();
}
