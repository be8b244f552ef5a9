//! The UDP pipeline: what goes before the hook, and what the hook overrides.

use sklookup_engine::{Delivery, Protocol};

use crate::programs::{returning, selecting};
use crate::world::{CONTACTED, World, at, from, tcp, to, udp};

const PEER: &str = "127.0.0.9:40000";

#[test]
fn a_connected_socket_bypasses_the_hook() {
    for bound in [CONTACTED, "0.0.0.0:7007", "[::]:7007"] {
        let world = World::new();
        let socket = world.udp(bound);
        let peer = if bound == "[::]:7007" { "[::ffff:127.0.0.9]:40000" } else { PEER };
        socket.connect(at(peer)).unwrap();
        let _link = world.attach(&returning(0));
        // A socket without an address takes that of the route to its peer.
        let local = socket.local_address();
        let contacted = format!("{}:7007", local.ip().to_canonical());
        assert_eq!(world.receive(&udp(&contacted)), to(&socket), "{bound}");
        assert_eq!(world.hook_calls(&udp(&contacted)), 0, "{bound}");
        let of_another = from(&udp(&contacted), "127.0.0.8:40000");
        assert_eq!(world.receive(&of_another), Delivery::Unreachable, "{bound}");
        assert_eq!(world.hook_calls(&of_another), 1, "{bound}");
    }
}

#[test]
fn a_peer_of_port_0_may_use_any_port() {
    let world = World::new();
    let socket = world.udp(CONTACTED);
    socket.connect(at("127.0.0.9:0")).unwrap();
    let _link = world.attach(&returning(0));
    assert_eq!(world.receive(&udp(CONTACTED)), to(&socket));
    assert_eq!(world.hook_calls(&udp(CONTACTED)), 0);
}

#[test]
fn the_hook_overrides_an_unconnected_socket_of_the_exact_address() {
    let world = World::new();
    let exact = world.udp(CONTACTED);
    let selected = world.udp("127.0.0.2:8008");
    world.sockets.put(0, &selected).unwrap();
    assert_eq!(world.receive(&udp(CONTACTED)), to(&exact));
    let link = world.attach(&selecting(0, 0, 1));
    assert_eq!(world.receive(&udp(CONTACTED)), to(&selected));
    link.detach().unwrap();
    let _link = world.attach(&returning(0));
    assert_eq!(world.receive(&udp(CONTACTED)), Delivery::Unreachable);
}

#[test]
fn a_connected_socket_scores_more_than_an_unconnected_one() {
    for (address, peer) in [(CONTACTED, PEER), ("[::1]:7007", "[::1]:40000")] {
        let world = World::new();
        let [connected, other] =
            [(); 2].map(|()| world.socket(Protocol::Udp, address, |socket| socket.set_reuse_address(true)));
        connected.connect(at(peer)).unwrap();
        assert_eq!(world.receive(&udp(address)), to(&connected));
        assert_eq!(
            world.receive(&from(&udp(address), &format!("{}:1", at(peer).ip().to_string().replace("::1", "[::1]")))),
            to(&other)
        );
    }
}

#[test]
fn disconnecting_gives_back_what_was_not_bound() {
    let world = World::new();
    let socket = world.udp("0.0.0.0:7007");
    socket.connect(at(PEER)).unwrap();
    assert_eq!(socket.local_address(), at("127.0.0.1:7007"));
    socket.disconnect().unwrap();
    assert_eq!(socket.local_address(), at("0.0.0.0:7007"));
    assert_eq!(world.receive(&udp("127.0.0.3:7007")), to(&socket));
}

#[test]
fn an_ipv6_socket_keeps_its_old_peer_in_the_regular_lookup_only() {
    let world = World::new();
    world.netns.add_local_route("fd00::/64".parse().unwrap()).unwrap();
    let socket = world.udp("[::1]:7007");
    socket.connect(at("[fd00::9]:40000")).unwrap();
    socket.disconnect().unwrap();
    let (old_peer, stranger) = (from(&udp("[::1]:7007"), "[fd00::9]:1"), from(&udp("[::1]:7007"), "[fd00::8]:1"));
    assert_eq!(world.receive(&old_peer), to(&socket));
    assert_eq!(world.receive(&stranger), Delivery::Unreachable);
    world.sockets.put(0, &socket).unwrap();
    let _link = world.attach(&selecting(0, 0, 1));
    assert_eq!(world.receive(&stranger), to(&socket));
    assert_eq!(world.hook_calls(&old_peer), 1);
}

#[test]
fn an_ipv4_socket_forgets_its_peer() {
    let world = World::new();
    let socket = world.udp(CONTACTED);
    socket.connect(at(PEER)).unwrap();
    socket.disconnect().unwrap();
    assert_eq!(world.receive(&from(&udp(CONTACTED), "127.0.0.8:1")), to(&socket));
}

#[test]
fn no_program_sees_what_goes_to_many() {
    let world = World::new();
    let device = world.netns.add_interface("v0").unwrap();
    world.netns.add_address(device, "192.0.2.1/24".parse().unwrap()).unwrap();
    let [one, two] =
        [(); 2].map(|()| world.socket(Protocol::Udp, "0.0.0.0:7007", |socket| socket.set_reuse_address(true)));
    let exact = world.socket(Protocol::Udp, "192.0.2.1:7007", |socket| socket.set_reuse_address(true));
    let _link = world.attach(&returning(0));
    for to_many in ["224.0.0.251:7007", "192.0.2.255:7007", "255.255.255.255:7007"] {
        let packet = udp(to_many).on_interface(device);
        assert_eq!(world.receive(&packet), Delivery::Copies(vec![one.id(), two.id()]), "{to_many}");
        assert_eq!(world.hook_calls(&packet), 0, "{to_many}");
    }
    assert_eq!(world.receive(&udp("192.0.2.1:7007")), Delivery::Unreachable);
    drop(exact);
}

#[test]
fn an_error_is_looked_up_with_the_roles_of_its_datagram_reversed() {
    let world = World::new();
    let sender = world.udp("127.0.0.1:5000");
    let sent = sklookup_engine::Packet::udp(at("127.0.0.1:5000"), at("127.0.0.2:7007"));
    assert_eq!(world.netns.receive_error(&sent), Ok(to(&sender)));
    // A program that drops hides errors from unconnected senders.
    let link = world.attach(&returning(0));
    assert_eq!(world.netns.receive_error(&sent), Ok(Delivery::Dropped));
    sender.connect(at("127.0.0.2:7007")).unwrap();
    assert_eq!(world.netns.receive_error(&sent), Ok(to(&sender)));
    link.detach().unwrap();
}

#[test]
fn an_error_about_tcp_meets_connections_and_no_program() {
    let world = World::new();
    let _listener = world.tcp("127.0.0.1:80");
    let _link = world.attach(&returning(0));
    let sent = sklookup_engine::Packet::tcp(at("127.0.0.1:80"), at("127.0.0.2:7007"));
    let (delivery, trace) = world.netns.receive_error_traced(&sent);
    assert_eq!((delivery, trace.programs()), (Ok(Delivery::Dropped), 0));
    assert_eq!(world.hook_calls(&tcp("127.0.0.1:80")), 1);
}
