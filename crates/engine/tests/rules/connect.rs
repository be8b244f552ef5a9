//! Connecting: which peers a socket can have, and what becomes of it. All of it seen on Linux 6.18.

use sklookup_engine::{Errno, Family, Protocol, Shutdown, Socket};

use crate::world::{World, at, errno, tcp};

fn open(world: &World, protocol: Protocol, family: Family, set_up: impl FnOnce(&Socket)) -> Socket {
    let socket = Socket::open(&world.netns, protocol, family);
    set_up(&socket);
    socket
}

#[test]
fn a_peer_has_to_be_of_a_family_that_the_socket_speaks() {
    let bound = |address: &'static str| move |socket: &Socket| socket.bind(at(address)).unwrap();
    let v6only = |socket: &Socket| socket.set_v6only(true).unwrap();
    let world = World::new();
    let udp = |socket: Socket, peer: &str| socket.connect(at(peer)).map_err(|error| error.errno());
    let tcp = |set_up: &dyn Fn(&Socket), peer: &str| {
        let socket = open(&world, Protocol::Tcp, Family::V6, set_up);
        socket.connect(at(peer)).map_err(|error| error.errno())
    };
    let v6 = |set_up: &dyn Fn(&Socket)| open(&world, Protocol::Udp, Family::V6, set_up);
    let (v4_peer, mapped, native) = ("127.0.0.1:9", "[::ffff:127.0.0.1]:9", "[::1]:9");

    assert_eq!(udp(v6(&|_| {}), v4_peer), Ok(()));
    assert_eq!(udp(v6(&|_| {}), mapped), Ok(()));
    assert_eq!(udp(v6(&v6only), v4_peer), Err(Errno::AFNOSUPPORT));
    assert_eq!(udp(v6(&v6only), mapped), Err(Errno::NETUNREACH));
    assert_eq!(udp(v6(&bound("[::1]:5000")), mapped), Err(Errno::NETUNREACH));
    assert_eq!(udp(v6(&bound("[::ffff:127.0.0.1]:5000")), native), Err(Errno::AFNOSUPPORT));
    assert_eq!(udp(open(&world, Protocol::Udp, Family::V4, |_| {}), native), Err(Errno::AFNOSUPPORT));

    assert_eq!(tcp(&|_| {}, v4_peer), Err(Errno::INVAL));
    assert_eq!(tcp(&|_| {}, mapped), Ok(()));
    assert_eq!(tcp(&v6only, mapped), Err(Errno::NETUNREACH));
}

#[test]
fn a_datagram_socket_keeps_the_port_of_a_connection_that_failed() {
    let world = World::new();
    let socket = open(&world, Protocol::Udp, Family::V4, |_| {});
    assert_eq!(errno(socket.connect(at("203.0.113.1:9"))), Errno::NETUNREACH);
    assert_ne!(socket.local_address().port(), 0);
}

#[test]
fn any_address_is_this_host() {
    let world = World::new();
    for (family, any, loopback) in [(Family::V4, "0.0.0.0:9", "127.0.0.1:9"), (Family::V6, "[::]:9", "[::1]:9")] {
        let socket = open(&world, Protocol::Udp, family, |_| {});
        socket.connect(at(any)).unwrap();
        assert_eq!(socket.peer_address(), Ok(at(loopback)));
        assert_eq!(socket.local_address().ip(), at(loopback).ip());
    }
}

#[test]
fn disconnecting_lets_go_of_the_device() {
    let world = World::new();
    let device = world.netns.add_interface("v0").unwrap();
    world.netns.add_address(device, "192.0.2.1/24".parse().unwrap()).unwrap();
    let socket = world.socket(Protocol::Udp, "0.0.0.0:5001", |socket| socket.bind_to_device(Some(device)).unwrap());
    assert_eq!(world.receive(&crate::world::udp("127.0.0.1:5001")), crate::world::refused(Protocol::Udp));
    socket.connect(at("192.0.2.9:1")).unwrap();
    socket.disconnect().unwrap();
    assert_eq!(world.receive(&crate::world::udp("127.0.0.1:5001")), crate::world::to(&socket));
}

#[test]
fn what_listens_or_is_connected_is_not_connected_again() {
    let world = World::new();
    let listener = world.tcp("127.0.0.1:80");
    assert_eq!(errno(listener.connect(at("127.0.0.1:9"))), Errno::ISCONN);
    let child = listener.accept(&tcp("127.0.0.1:80")).unwrap();
    assert_eq!(errno(child.connect(at("127.0.0.1:9"))), Errno::ISCONN);
    assert_eq!(errno(child.listen()), Errno::INVAL);
    assert_eq!(errno(child.bind(at("127.0.0.1:0"))), Errno::INVAL);
}

#[test]
fn a_listener_that_was_ended_waits_for_its_connections_to_get_its_port_back() {
    let world = World::new();
    let listener = world.tcp("127.0.0.1:80");
    let child = listener.accept(&tcp("127.0.0.1:80")).unwrap();
    listener.disconnect().unwrap();
    assert_eq!(errno(listener.listen()), Errno::ADDRINUSE);
    drop(child);
    listener.listen().unwrap();
}

#[test]
fn only_what_listens_or_is_connected_is_shut_down() {
    let world = World::new();
    for how in [Shutdown::Read, Shutdown::Write, Shutdown::Both] {
        assert_eq!(errno(open(&world, Protocol::Tcp, Family::V4, |_| {}).shutdown(how)), Errno::NOTCONN);
        assert_eq!(errno(world.udp("127.0.0.1:0").shutdown(how)), Errno::NOTCONN);
        let connected = world.udp("127.0.0.1:0");
        connected.connect(at("127.0.0.1:9")).unwrap();
        connected.shutdown(how).unwrap();
    }
    let listener = world.tcp("127.0.0.1:80");
    listener.shutdown(Shutdown::Write).unwrap();
    assert_eq!(world.receive(&tcp("127.0.0.1:80")), crate::world::to(&listener));
}
