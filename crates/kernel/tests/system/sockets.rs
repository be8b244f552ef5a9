//! What a socket is, and what the kernel says it would do with a packet.

use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, sockopt};
use sklookup_bpf::{Builder, ProgramSpec, Reg, abi};
use sklookup_kernel::sock_diag::{Entry, Lookup, SockDiag, State};
use sklookup_kernel::socket::{Socket, Suitable, Unsuitable};
use sklookup_kernel::{Link, Netns, Program, Protocol, socket_options};
use sklookup_testbed::{Completion, Trial, kernel_trial, plain_trial, sandbox_trial};

const LOOPBACKS: [&str; 2] = ["127.0.0.1:0", "[::1]:0"];

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        plain_trial("a_listener_is_suitable_for_its_own_family", || {
            let v4 = TcpListener::bind("127.0.0.1:0").unwrap();
            assert_eq!(suitability(&v4), Ok(Suitable { protocol: Protocol::Tcp, v4: true, v6: false }));
            let v6 = TcpListener::bind("[::1]:0").unwrap();
            assert_eq!(suitability(&v6), Ok(Suitable { protocol: Protocol::Tcp, v4: false, v6: true }));
        }),
        plain_trial("a_dual_stack_socket_is_suitable_for_both_families", || {
            let both = Ok(Suitable { protocol: Protocol::Udp, v4: true, v6: true });
            assert_eq!(suitability(UdpSocket::bind("[::]:0").unwrap()), both);
        }),
        plain_trial("each_unsuitable_socket_is_told_why", || {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let client = TcpStream::connect(address).unwrap();
            assert_eq!(suitability(&client), Err(Unsuitable::ConnectedTcp { peer: address }));
            let (accepted, peer) = listener.accept().unwrap();
            assert_eq!(suitability(&accepted), Err(Unsuitable::ConnectedTcp { peer }));
            assert_eq!(suitability(tcp()), Err(Unsuitable::NotListening));
            rustix::net::shutdown(&listener, rustix::net::Shutdown::Read).unwrap();
            assert_eq!(suitability(&listener), Err(Unsuitable::NotListening));

            let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
            udp.connect(address).unwrap();
            assert_eq!(suitability(&udp), Err(Unsuitable::ConnectedUdp { peer: address }));
            let unbound = rustix::net::socket(AddressFamily::INET, SocketType::DGRAM, None).unwrap();
            assert_eq!(suitability(&unbound), Err(Unsuitable::UnboundUdp));

            let (unix, _other) = UnixStream::pair().unwrap();
            let error = suitability(&unix).unwrap_err().to_string();
            assert_eq!(error, "a unix socket; only TCP listeners and unconnected UDP sockets can be selected");
            assert_eq!(Socket::inspect(std::io::stdin()).unwrap(), None, "a pipe or a terminal is no socket");
        }),
        odd_protocol("an_mptcp_listener_is_unsuitable", SocketType::STREAM, ipproto::MPTCP, "MPTCP"),
        odd_protocol("a_udp_lite_socket_is_unsuitable", SocketType::DGRAM, ipproto::UDPLITE, "UDP-Lite"),
        sandbox_trial("a_socket_is_bound_to_a_device_and_told_of_errors", |_| {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            assert_eq!(socket_options::bind_to_device(&socket, "nowhere0").unwrap_err().errno(), Errno::NODEV);
            socket_options::bind_to_device(&socket, "lo").unwrap();
            let closed = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            socket_options::receive_errors(&socket, false).unwrap();
            socket.send_to(b"x", closed).unwrap();
            let refused = socket.recv(&mut [0; 1]).unwrap_err();
            assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        }),
        sandbox_trial("a_socket_knows_its_namespace", |sandbox| {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            assert_eq!(Socket::inspect(&socket).unwrap().unwrap().netns, Some(sandbox.netns.inode()));
        }),
        plain_trial("a_dump_names_listeners_by_cookie_and_inode", || {
            for address in LOOPBACKS {
                let tcp = TcpListener::bind(address).unwrap();
                let udp = UdpSocket::bind(address).unwrap();
                let listed = SockDiag::open().unwrap().listeners().unwrap();
                assert_listed(&listed, &tcp, Protocol::Tcp, State::Listening);
                assert_listed(&listed, &udp, Protocol::Udp, State::Unconnected);
            }
        }),
        plain_trial("a_dump_tells_v6only_from_dual_stack", || {
            let dual = UdpSocket::bind("[::]:0").unwrap();
            let only = UdpSocket::bind("[::1]:0").unwrap();
            let listed = SockDiag::open().unwrap().listeners().unwrap();
            assert!(!of(&listed, &dual).v6only);
            assert!(of(&listed, &only).v6only, "binding to one IPv6 address makes it so");
        }),
        plain_trial("a_dump_lists_connections_where_asked", || {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let listed = SockDiag::open().unwrap().dump(Protocol::Tcp, &[State::Connected]).unwrap();
            let entry = of(&listed, &client);
            assert_eq!((entry.local, entry.remote), (client.local_addr().unwrap(), client.peer_addr().unwrap()));
            assert!(!listed.iter().any(|entry| entry.cookie == cookie(&listener)));
        }),
        plain_trial("a_tcp_lookup_names_the_listener_that_then_accepts", || {
            for address in LOOPBACKS {
                let [one, other] = [0, 1].map(|_| TcpListener::bind(address).unwrap());
                let [here, there] = [&one, &other].map(|listener| listener.local_addr().unwrap());
                assert_eq!(receiver(Protocol::Tcp, there, here), Some(cookie(&one)));
                assert_eq!(receiver(Protocol::Tcp, here, there), Some(cookie(&other)));

                let client = TcpStream::connect(here).unwrap();
                other.set_nonblocking(true).unwrap();
                assert!(other.accept().is_err());
                let (accepted, source) = one.accept().unwrap();
                assert_eq!(source, client.local_addr().unwrap());
                assert_eq!(receiver(Protocol::Tcp, source, here), Some(cookie(&accepted)), "the connection goes first");
            }
        }),
        plain_trial("a_udp_lookup_names_the_socket_that_then_receives", || {
            for address in LOOPBACKS {
                // Each is the other's source: were the two sides not swapped in the request, the answers would be.
                let [one, other] = [0, 1].map(|_| UdpSocket::bind(address).unwrap());
                let [here, there] = [&one, &other].map(|socket| socket.local_addr().unwrap());
                assert_eq!(receiver(Protocol::Udp, there, here), Some(cookie(&one)));
                assert_eq!(receiver(Protocol::Udp, here, there), Some(cookie(&other)));

                other.send_to(b"x", here).unwrap();
                assert_eq!(one.recv_from(&mut [0]).unwrap().1, there);
                other.set_nonblocking(true).unwrap();
                assert!(other.recv(&mut [0]).is_err());
            }
        }),
        plain_trial("a_lookup_of_ipv4_finds_a_dual_stack_socket", || {
            let socket = UdpSocket::bind("[::]:0").unwrap();
            let port = socket.local_addr().unwrap().port();
            let found = receiver(Protocol::Udp, at("127.0.0.1", 9), at("127.0.0.1", port));
            assert_eq!(found, Some(cookie(&socket)));
        }),
        sandbox_trial("a_lookup_finds_nobody_where_nobody_is", |_| {
            for (ip, protocol) in [("127.0.0.1", Protocol::Tcp), ("::1", Protocol::Udp)] {
                assert_eq!(receiver(protocol, at(ip, 1), at(ip, 2)), None);
            }
        }),
        sandbox_trial("many_lookups_answer_in_their_order", |_| {
            let [one, other] = [0, 1].map(|_| UdpSocket::bind("127.0.0.1:0").unwrap());
            let lookup = |port| Lookup {
                protocol: Protocol::Udp,
                source: at("127.0.0.1", 9),
                destination: at("127.0.0.1", port),
                interface: 0,
            };
            let ports = [1, one.local_addr().unwrap().port(), other.local_addr().unwrap().port()];
            let lookups: Vec<Lookup> = (0..1000).map(|n| lookup(ports[n % 3])).collect();
            let answers = SockDiag::open().unwrap().lookup_all(&lookups).unwrap();
            let cookies = [None, Some(cookie(&one)), Some(cookie(&other))];
            assert_eq!(answers.len(), 1000);
            for (n, answer) in answers.iter().enumerate() {
                assert_eq!(answer.as_ref().map(|entry| entry.cookie), cookies[n % 3], "lookup {n}");
            }
        }),
        sandbox_trial("sock_diag_stays_with_the_namespace_it_was_opened_in", |_| {
            let other = Netns::new_private().unwrap();
            let (mut diag, socket) =
                other.run(|| (SockDiag::open().unwrap(), UdpSocket::bind("127.0.0.1:7000").unwrap())).unwrap();
            let _here = UdpSocket::bind("127.0.0.1:7000").unwrap();
            let listed = diag.listeners().unwrap();
            assert_eq!(listed.iter().map(|entry| entry.cookie).collect::<Vec<_>>(), [cookie(&socket)]);
        }),
        kernel_trial("a_program_that_drops_leaves_a_lookup_with_nobody", |sandbox| {
            let tcp = TcpListener::bind("127.0.0.1:80").unwrap();
            let udp = UdpSocket::bind("[::1]:53").unwrap();
            let tcp_now = || receiver(Protocol::Tcp, at("127.0.0.1", 9), at("127.0.0.1", 80));
            let udp_now = || receiver(Protocol::Udp, at("::1", 9), at("::1", 53));
            assert_eq!((tcp_now(), udp_now()), (Some(cookie(&tcp)), Some(cookie(&udp))));

            let link = Link::attach(&drop_all(), sandbox.netns.as_fd()).unwrap();
            assert_eq!((tcp_now(), udp_now()), (None, None));
            drop(link);
            assert_eq!((tcp_now(), udp_now()), (Some(cookie(&tcp)), Some(cookie(&udp))));
        }),
    ]
}

/// A test with a socket of a protocol that a kernel may have been built without.
fn odd_protocol(name: &str, kind: SocketType, protocol: rustix::net::Protocol, word: &'static str) -> Trial {
    Trial::ignorable_test(name, move || {
        let made = rustix::net::socket_with(AddressFamily::INET, kind, SocketFlags::CLOEXEC, Some(protocol));
        let socket = match made {
            Err(Errno::PROTONOSUPPORT | Errno::NOPROTOOPT) => {
                return Ok(Completion::ignored_with(format!("this kernel has no {word}")));
            }
            made => made?,
        };
        rustix::net::bind(&socket, &at("127.0.0.1", 0))?;
        if kind == SocketType::STREAM {
            rustix::net::listen(&socket, 1)?;
        }
        let error = suitability(&socket).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
        Ok(Completion::Completed)
    })
}

fn assert_listed(listed: &[Entry], socket: &impl AsFd, protocol: Protocol, state: State) {
    let entry = of(listed, socket);
    let seen = Socket::inspect(socket).unwrap().unwrap();
    assert_eq!((entry.protocol, entry.state), (protocol, state));
    assert_eq!((entry.inode, Some(entry.local), entry.ipv6), (seen.inode, seen.local, seen.ipv6));
    assert_eq!(entry.inode, rustix::fs::fstat(socket).unwrap().st_ino);
    assert_eq!((entry.remote.port(), entry.uid), (0, rustix::process::getuid().as_raw()));
}

fn of<'a>(listed: &'a [Entry], socket: &impl AsFd) -> &'a Entry {
    listed.iter().find(|entry| entry.cookie == cookie(socket)).expect("the socket is listed")
}

fn receiver(protocol: Protocol, source: SocketAddr, destination: SocketAddr) -> Option<u64> {
    let lookup = Lookup { protocol, source, destination, interface: 0 };
    SockDiag::open().unwrap().lookup(&lookup).unwrap().map(|entry| entry.cookie)
}

fn suitability(socket: impl AsFd) -> Result<Suitable, Unsuitable> {
    Socket::inspect(socket).unwrap().expect("a socket").suitability()
}

fn cookie(socket: &impl AsFd) -> u64 {
    sockopt::socket_cookie(socket).unwrap()
}

fn at(ip: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip.parse::<IpAddr>().unwrap(), port)
}

fn tcp() -> OwnedFd {
    rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap()
}

fn drop_all() -> Program {
    let mut code = Builder::new();
    code.mov(Reg::R0, abi::SK_DROP);
    code.exit();
    Program::load(&ProgramSpec::sk_lookup("drop_all", code.finish().unwrap(), Vec::new()), &[]).unwrap()
}
