//! No step walks over sockets that have nothing to do with the packet.

use sklookup_engine::{Protocol, Segment, Socket};

use crate::world::{World, at, from, packet, tcp, to};

const MANY: usize = 10_000;

/// Listeners at as many addresses and ports as they are, and one at every address of port 80.
fn crowd(protocol: Protocol) -> (World, Vec<Socket>, Socket) {
    let world = World::new();
    let addresses = (0..MANY).map(|n| format!("127.1.{}.{}:{}", n / 256, n % 256, 80 + n % 7));
    let crowd = addresses.map(|address| world.member(protocol, &address)).collect();
    let wildcard = world.member(protocol, "0.0.0.0:80");
    (world, crowd, wildcard)
}

#[test]
fn a_lookup_among_ten_thousand_looks_at_those_of_its_address_and_port() {
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        let (world, crowd, wildcard) = crowd(protocol);
        let looked_at = |to: &str| {
            let (delivery, trace) = world.netns.receive_traced(&packet(protocol, to));
            (delivery.unwrap(), trace.sockets_looked_at())
        };
        assert_eq!(looked_at("127.1.0.0:80"), (to(&crowd[0]), 1));
        assert_eq!(looked_at("127.9.9.9:80"), (to(&wildcard), 1));
        assert_eq!(looked_at("127.9.9.9:81").1, 0);
    }
}

#[test]
fn a_connection_among_ten_thousand_is_found_at_once() {
    let world = World::new();
    let listener = world.tcp("127.0.0.1:80");
    let syn = |n: usize| from(&tcp("127.0.0.1:80"), &format!("127.0.{}.{}:40000", n / 256, n % 256));
    let children: Vec<Socket> = (0..MANY).map(|n| listener.accept(&syn(n)).unwrap()).collect();
    let (delivery, trace) = world.netns.receive_traced(&syn(77).with_segment(Segment::ACK));
    assert_eq!((delivery.unwrap(), trace.sockets_looked_at()), (to(&children[77]), 0));
}

#[test]
fn a_connected_datagram_socket_among_ten_thousand_is_found_at_once() {
    let world = World::new();
    let peer = |n: usize| format!("127.0.{}.{}:40000", n / 256, n % 256);
    let connect = |n: usize| {
        let socket = world.socket(Protocol::Udp, "127.0.0.1:53", |socket| socket.set_reuse_address(true));
        socket.connect(at(&peer(n))).unwrap();
        socket
    };
    // Each bind looks at those of its port.
    let sockets: Vec<Socket> = (0..1000).map(connect).collect();
    let (delivery, trace) = world.netns.receive_traced(&from(&packet(Protocol::Udp, "127.0.0.1:53"), &peer(77)));
    assert_eq!((delivery.unwrap(), trace.sockets_looked_at()), (to(&sockets[77]), 0));
}

#[test]
fn a_trace_is_the_lookup_step_by_step() {
    let world = World::new();
    let listener = world.tcp("127.0.0.2:8008");
    world.sockets.put(0, &listener).unwrap();
    let _link = world.attach(&crate::programs::selecting(0, 0, 1));
    let (_, trace) = world.netns.receive_traced(&tcp("127.0.0.1:7007"));
    assert_eq!(
        trace.to_string(),
        "interface 1
connected: nobody
program 1 `test`, number 1 on the hook
  assigns socket 1 with flags 0: done
  returns pass after 18 instructions; selected is socket 1
hook: socket 1
"
    );
}
