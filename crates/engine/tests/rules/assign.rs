//! `bpf_sk_assign`: which sockets it takes, and in which order it checks.

use sklookup_bpf::{MapSpec, MapType};
use sklookup_engine::{Errno, Map, OtherKind, OtherSocket, Protocol, Shutdown, Socket, update};

use crate::programs::{NOTE, START, assign, assign_null, returning};
use crate::world::{CONTACTED, CONTACTED6, World, at, errno, packet, refused, tcp, to, udp};

/// What the helper answers to each of four packets: IPv4 TCP, IPv6 TCP, IPv4 UDP, IPv6 UDP.
fn row(world: &World, flags: u64) -> Vec<String> {
    let packets = [tcp(CONTACTED), tcp(CONTACTED6), udp(CONTACTED), udp(CONTACTED6)];
    packets.iter().map(|packet| spelled(answer(world, &[START, &assign(0, flags)].concat(), packet))).collect()
}

/// What R0 is after these instructions, as an errno.
fn answer(world: &World, text: &str, packet: &sklookup_engine::Packet) -> i64 {
    let noted = Map::create(&world.machine, &MapSpec::new("answer", MapType::Array, 4, 8, 1)).unwrap();
    noted.set_value(&1u64.to_ne_bytes()).unwrap();
    let text = [text, NOTE, &returning(1)].concat();
    let link = sklookup_engine::Link::attach(&world.program(&text, &[&noted]), &world.netns).unwrap();
    world.receive(packet);
    link.detach().unwrap();
    i64::from_ne_bytes(noted.value().unwrap().try_into().unwrap())
}

fn spelled(answer: i64) -> String {
    match answer {
        0 => "ok",
        -91 => "P",
        -97 => "F",
        -94 => "S",
        other => panic!("{other}"),
    }
    .to_owned()
}

fn check(world: &World, name: &str, expected: &str) {
    let expected: Vec<&str> = expected.split_whitespace().collect();
    assert_eq!(row(world, 0), expected, "{name}");
}

#[test]
fn listeners_and_unconnected_sockets_go_to_packets_that_they_can_take() {
    for (protocol, address, v6only, expected) in [
        (Protocol::Tcp, "127.0.0.2:8008", None, "ok F P P"),
        (Protocol::Tcp, "0.0.0.0:8008", None, "ok F P P"),
        (Protocol::Tcp, "[::]:8008", Some(false), "ok ok P P"),
        (Protocol::Tcp, "[::]:8008", Some(true), "F ok P P"),
        (Protocol::Tcp, "[::1]:8008", Some(false), "F ok P P"),
        (Protocol::Tcp, "[::1]:8008", Some(true), "F ok P P"),
        (Protocol::Tcp, "[::ffff:127.0.0.2]:8008", None, "ok ok P P"),
        (Protocol::Udp, "127.0.0.2:8008", None, "P P ok F"),
        (Protocol::Udp, "[::]:8008", Some(false), "P P ok ok"),
        (Protocol::Udp, "[::]:8008", Some(true), "P P F ok"),
        (Protocol::Udp, "[::1]:8008", None, "P P F ok"),
        (Protocol::Udp, "[::ffff:127.0.0.2]:8008", None, "P P ok ok"),
    ] {
        let world = World::new();
        let socket = world.socket(protocol, address, |socket| {
            if let Some(on) = v6only {
                socket.set_v6only(on).unwrap();
            }
        });
        world.sockets.put(0, &socket).unwrap();
        check(&world, &format!("{protocol} {address} {v6only:?}"), expected);
    }
}

#[test]
fn connected_sockets_are_not_taken() {
    let world = World::new();
    let connected = world.udp("127.0.0.2:8008");
    connected.connect(at("127.0.0.1:9")).unwrap();
    world.sockets.put(0, &connected).unwrap();
    check(&world, "connected UDP", "S S S S");
    let listener = world.tcp("127.0.0.2:8008");
    let child = listener.accept(&tcp("127.0.0.2:8008")).unwrap();
    world.sockets.put(0, &child).unwrap();
    check(&world, "accepted", "S S S S");
    let client = Socket::open(&world.netns, Protocol::Tcp, sklookup_engine::Family::V4);
    client.connect(at("127.0.0.2:8008")).unwrap();
    world.sockets.put(0, &client).unwrap();
    check(&world, "established", "S S S S");
}

#[test]
fn a_listener_that_was_shut_down_is_not_taken_until_it_listens_again() {
    for how in [Shutdown::Read, Shutdown::Both] {
        let world = World::new();
        let listener = world.tcp("127.0.0.2:8008");
        world.sockets.put(0, &listener).unwrap();
        listener.shutdown(how).unwrap();
        check(&world, "shut down", "S S S S");
        listener.listen().unwrap();
        check(&world, "listens again", "ok F P P");
    }
}

#[test]
fn sockets_of_other_protocols_are_not_taken() {
    let world = World::new();
    let [stream, _peer] = OtherSocket::pair(&world.netns, OtherKind::UnixStream);
    world.sockets.map().update_socket(&0u32.to_ne_bytes(), stream.id(), update::ANY).unwrap();
    check(&world, "AF_UNIX stream", "S S S S");
    let datagram = OtherSocket::open(&world.netns, OtherKind::UnixDatagram);
    world.sockets.map().update_socket(&0u32.to_ne_bytes(), datagram.id(), update::ANY).unwrap();
    check(&world, "AF_UNIX datagram", "S S S S");
}

#[test]
fn a_udp_socket_that_lost_its_port_is_taken_and_receives() {
    let world = World::new();
    let socket = Socket::open(&world.netns, Protocol::Udp, sklookup_engine::Family::V4);
    socket.connect(at("127.0.0.1:9")).unwrap();
    world.sockets.put(0, &socket).unwrap();
    socket.disconnect().unwrap();
    assert_eq!(socket.local_address(), at("0.0.0.0:0"));
    check(&world, "unhashed", "P P ok F");
    let _link = world.attach(&crate::programs::selecting(0, 0, 1));
    assert_eq!(world.receive(&udp(CONTACTED)), to(&socket));
}

#[test]
fn nobody_asks_for_address_port_device_or_namespace() {
    let world = World::new();
    let device = world.netns.add_interface("v0").unwrap();
    let elsewhere = sklookup_engine::Netns::new_private(&world.machine);
    let bound = world.socket(Protocol::Udp, "127.0.0.2:8008", |socket| socket.bind_to_device(Some(device)).unwrap());
    let foreign = Socket::udp(&elsewhere, at("127.0.0.1:9999")).unwrap();
    let _link = world.attach(&crate::programs::selecting(0, 0, 1));
    for socket in [&bound, &foreign] {
        world.sockets.put(0, socket).unwrap();
        assert_eq!(world.receive(&udp(CONTACTED)), to(socket));
    }
}

#[test]
fn checks_come_in_the_order_flags_state_protocol_family_existing_selection() {
    let world = World::new();
    let listener = world.tcp("127.0.0.2:8008");
    let connected = world.udp("127.0.0.2:8008");
    connected.connect(at("127.0.0.1:9")).unwrap();
    let only_v6 = world.tcp("[::1]:8008");
    for (slot, socket) in (0..).zip([&listener, &connected, &only_v6]) {
        world.sockets.put(slot, socket).unwrap();
    }
    let after_selection =
        |slot: u32, flags: u64, packet| answer(&world, &[START, &assign(0, 0), &assign(slot, flags)].concat(), packet);
    let v4 = tcp(CONTACTED);
    // Each is wrong in every later way, too.
    assert_eq!(after_selection(1, 4, &v4), -22);
    assert_eq!(after_selection(1, 1 << 40, &v4), -22);
    assert_eq!(after_selection(1, 0, &v4), -94);
    assert_eq!(answer(&world, &[START, &assign(2, 0)].concat(), &udp(CONTACTED)), -91);
    assert_eq!(after_selection(2, 0, &v4), -97);
    // The very same socket, too. Flags make another label of each.
    assert_eq!(after_selection(0, 2, &v4), -17);
    assert_eq!(after_selection(0, 1, &v4), 0);
}

#[test]
fn null_is_an_assignment_like_others() {
    let world = World::new();
    let listener = world.tcp("127.0.0.2:8008");
    world.sockets.put(0, &listener).unwrap();
    let v4 = tcp(CONTACTED);
    for (text, expected) in [
        ([START, &assign_null(0)].concat(), 0),
        ([START, &assign_null(0), &assign_null(0)].concat(), 0),
        ([START, &assign(0, 0), &assign_null(0)].concat(), -17),
        ([START, &assign(0, 0), &assign_null(1)].concat(), 0),
        ([START, &assign(0, 0), &assign_null(3)].concat(), 0),
        ([START, &assign_null(4)].concat(), -22),
    ] {
        assert_eq!(answer(&world, &text, &v4), expected, "{text}");
    }
}

#[test]
fn a_call_that_fails_changes_nothing() {
    let world = World::new();
    let listener = world.tcp("127.0.0.2:8008");
    let only_v6 = world.tcp("[::1]:8008");
    world.sockets.put(0, &listener).unwrap();
    world.sockets.put(1, &only_v6).unwrap();
    let _link = world.attach(&[START, &assign(0, 0), &assign(1, 1), &returning(1)].concat());
    assert_eq!(world.receive(&tcp(CONTACTED)), to(&listener));
}

#[test]
fn a_closed_socket_is_not_found() {
    let world = World::new();
    let listener = world.tcp("127.0.0.2:8008");
    world.sockets.put(0, &listener).unwrap();
    let _link = world.attach(&crate::programs::selecting(0, 0, 1));
    assert_eq!(world.receive(&tcp(CONTACTED)), to(&listener));
    drop(listener);
    assert_eq!(world.receive(&tcp(CONTACTED)), refused(Protocol::Tcp));
    assert_eq!(errno(world.sockets.map().lookup(&0u32.to_ne_bytes(), 0)), Errno::NOENT);
}

#[test]
fn a_selection_serves_every_protocol_and_family() {
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        let world = World::new();
        let both = world.socket(protocol, "[::]:8008", |_| {});
        world.sockets.put(0, &both).unwrap();
        let _link = world.attach(&crate::programs::selecting(0, 0, 1));
        for contacted in [CONTACTED, CONTACTED6] {
            assert_eq!(world.receive(&packet(protocol, contacted)), to(&both), "{contacted}");
        }
    }
}
