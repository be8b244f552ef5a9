//! Sockets restored from a snapshot get what those get that were opened, bound and connected.

use sklookup_engine::{Delivery, Family, Lookup, Protocol, Snapshot, Socket, State};

use crate::programs::returning;
use crate::world::{CONTACTED, World, at, from, tcp, to, udp};

const PEER: &str = "127.0.0.9:40000";

fn snapshot(protocol: Protocol, state: State, local: &str, peer: Option<&str>) -> Snapshot {
    let local = at(local);
    let family = Family::of(local.ip());
    let peer = peer.map(at);
    Snapshot { protocol, family, state, local, peer, device: 0, v6only: false, reuse_port: false, uid: 0 }
}

#[test]
fn a_listener_and_a_socket_without_a_peer_are_found_by_their_addresses() {
    let world = World::new();
    let listener = Socket::restore(&world.netns, &snapshot(Protocol::Tcp, State::Listen, "0.0.0.0:7007", None));
    let receiver = Socket::restore(&world.netns, &snapshot(Protocol::Udp, State::Close, "[::]:7007", None));
    assert_eq!(world.receive(&tcp(CONTACTED)), to(&listener));
    assert_eq!(world.receive(&udp(CONTACTED)), to(&receiver), "dual-stack");
    world.sockets.put(0, &listener).unwrap();
    drop(listener);
    assert_eq!(world.receive(&tcp(CONTACTED)), Delivery::Reset);
}

#[test]
fn connections_bypass_the_hook() {
    let world = World::new();
    let of = |protocol| Socket::restore(&world.netns, &snapshot(protocol, State::Established, CONTACTED, Some(PEER)));
    let (connection, connected) = (of(Protocol::Tcp), of(Protocol::Udp));
    let _link = world.attach(&returning(0));
    assert_eq!(world.receive(&from(&tcp(CONTACTED), PEER)), to(&connection));
    assert_eq!(world.receive(&from(&udp(CONTACTED), PEER)), to(&connected));
    assert_eq!(world.receive(&from(&tcp(CONTACTED), "127.0.0.8:40000")), Delivery::Reset);
}

#[test]
fn neighbours_that_could_not_be_bound_together_stand_in_the_order_of_restoring() {
    let world = World::new();
    let open = || Socket::restore(&world.netns, &snapshot(Protocol::Udp, State::Close, CONTACTED, None));
    let [first, second] = [open(), open()];
    assert_eq!(world.receive(&udp(CONTACTED)), to(&first));
    drop(first);
    assert_eq!(world.receive(&udp(CONTACTED)), to(&second));
}

#[test]
fn those_that_share_their_port_are_a_group() {
    let world = World::new();
    let shared = Snapshot { reuse_port: true, ..snapshot(Protocol::Tcp, State::Listen, CONTACTED, None) };
    let members = [(); 3].map(|()| Socket::restore(&world.netns, &shared));
    let chosen = |port| {
        let source = at(&format!("127.0.0.1:{port}"));
        let lookup = Lookup { protocol: Protocol::Tcp, source, destination: at(CONTACTED), interface: 1 };
        world.netns.lookup(&lookup).unwrap().expect("one of them")
    };
    let reached = members.iter().filter(|member| (1..100).any(|port| chosen(port) == member.id()));
    assert_eq!(reached.count(), 3);
}

#[test]
fn what_a_peer_left_behind_keeps_others_away_over_ipv6() {
    let world = World::new();
    let left = snapshot(Protocol::Udp, State::Close, "[::1]:7007", Some("[2001:db8::9]:0"));
    let socket = Socket::restore(&world.netns, &left);
    assert_eq!(world.receive(&from(&udp("[::1]:7007"), "[2001:db8::8]:1")), Delivery::Unreachable);
    assert_eq!(world.receive(&from(&udp("[::1]:7007"), "[2001:db8::9]:1")), to(&socket));
}
