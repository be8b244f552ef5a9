//! The TCP pipeline: connections, handshakes and what waits go before the hook.

use sklookup_engine::{Delivery, Lookup, Packet, Protocol, Segment, Shutdown};

use crate::programs::{returning, selecting};
use crate::world::{CONTACTED, World, at, errno, tcp, to};

#[test]
fn the_first_segment_of_a_connection_calls_the_hook_and_no_other_does() {
    let world = World::new();
    let listener = world.tcp("127.0.0.2:8008");
    world.sockets.put(0, &listener).unwrap();
    let _link = world.attach(&selecting(0, 0, 1));
    let syn = tcp(CONTACTED);
    assert_eq!(world.hook_calls(&syn), 1);
    assert_eq!(world.receive(&syn), to(&listener));
    listener.handshake(&syn).unwrap();
    let ack = syn.clone().with_segment(Segment::ACK);
    for segment in [&syn, &ack] {
        assert_eq!(world.receive(segment), Delivery::Handshake(listener.id()));
        assert_eq!(world.hook_calls(segment), 0);
    }
    let child = listener.accept(&syn).unwrap();
    assert_eq!(world.receive(&ack), to(&child));
    assert_eq!(world.hook_calls(&ack), 0);
    assert_eq!((child.local_address(), child.peer_address()), (at(CONTACTED), Ok(syn.source)));
}

#[test]
fn data_of_a_connection_passes_a_program_that_drops() {
    let world = World::new();
    let listener = world.tcp(CONTACTED);
    let child = listener.accept(&tcp(CONTACTED)).unwrap();
    let _link = world.attach(&returning(0));
    assert_eq!(world.receive(&tcp(CONTACTED).with_segment(Segment::ACK)), to(&child));
}

#[test]
fn the_hook_sees_every_segment_that_meets_no_connection() {
    let world = World::new();
    let _link = world.attach(&returning(1));
    for segment in [Segment::SYN, Segment::ACK, Segment::RST, Segment::FIN, Segment::NONE] {
        assert_eq!(world.hook_calls(&tcp(CONTACTED).with_segment(segment)), 1, "{segment:?}");
    }
}

#[test]
fn a_reset_is_never_answered() {
    let world = World::new();
    let _link = world.attach(&returning(0));
    assert_eq!(world.receive(&tcp(CONTACTED).with_segment(Segment::RST)), Delivery::Dropped);
    assert_eq!(world.receive(&tcp(CONTACTED).with_segment(Segment::ACK)), Delivery::Reset);
}

#[test]
fn resets_answer_a_segment_by_its_acknowledgement_or_its_length() {
    let syn = tcp(CONTACTED).with_segment(Segment { seq: 100, ..Segment::SYN }).with_payload(*b"abc");
    assert_eq!(syn.reset(), Some(Segment { rst: true, ack: true, ack_seq: 104, ..Segment::NONE }));
    let ack = tcp(CONTACTED).with_segment(Segment { seq: 100, ack_seq: 7, ..Segment::ACK });
    assert_eq!(ack.reset(), Some(Segment { rst: true, seq: 7, ..Segment::NONE }));
    assert_eq!(tcp(CONTACTED).with_segment(Segment::RST).reset(), None);
}

#[test]
fn a_handshake_ends_with_its_listener() {
    let world = World::new();
    let listener = world.tcp("127.0.0.2:8008");
    world.sockets.put(0, &listener).unwrap();
    let _link = world.attach(&selecting(0, 0, 1));
    listener.handshake(&tcp(CONTACTED)).unwrap();
    listener.shutdown(Shutdown::Both).unwrap();
    let ack = tcp(CONTACTED).with_segment(Segment::ACK);
    assert_eq!(world.hook_calls(&ack), 1);
    assert_eq!(world.receive(&ack), Delivery::Reset);
}

#[test]
fn a_new_syn_takes_the_place_of_what_waits_if_somebody_listens() {
    let world = World::new();
    let listener = world.tcp("127.0.0.2:8008");
    world.sockets.put(0, &listener).unwrap();
    let link = world.attach(&selecting(0, 0, 1));
    let syn = tcp(CONTACTED);
    listener.accept(&syn).unwrap().time_wait().unwrap();
    let ack = syn.clone().with_segment(Segment::ACK);
    assert_eq!((world.receive(&ack), world.hook_calls(&ack)), (Delivery::TimeWait, 0));
    assert_eq!((world.receive(&syn), world.hook_calls(&syn)), (to(&listener), 1));
    link.detach().unwrap();
    assert_eq!(world.receive(&syn), Delivery::TimeWait);
    let child = listener.accept(&syn).unwrap();
    assert_eq!(world.receive(&ack), to(&child));
}

#[test]
fn a_connection_outlives_its_listener() {
    let world = World::new();
    let listener = world.tcp(CONTACTED);
    let child = listener.accept(&tcp(CONTACTED)).unwrap();
    drop(listener);
    assert_eq!(world.receive(&tcp(CONTACTED).with_segment(Segment::ACK)), to(&child));
    drop(child);
    assert_eq!(world.receive(&tcp(CONTACTED).with_segment(Segment::ACK)), Delivery::Reset);
}

#[test]
fn both_ends_of_a_connection_of_this_host_are_found() {
    let world = World::new();
    let listener = world.tcp(CONTACTED);
    let client = sklookup_engine::Socket::open(&world.netns, Protocol::Tcp, sklookup_engine::Family::V4);
    client.connect(at(CONTACTED)).unwrap();
    let syn = Packet::tcp(client.local_address(), at(CONTACTED));
    let child = listener.accept(&syn).unwrap();
    assert_eq!(world.receive(&syn.clone().with_segment(Segment::ACK)), to(&child));
    let answer = Packet::tcp(at(CONTACTED), client.local_address()).with_segment(Segment::ACK);
    assert_eq!(world.receive(&answer), to(&client));
    assert_eq!(errno(client.connect(at(CONTACTED))), sklookup_engine::Errno::ISCONN);
}

#[test]
fn a_lookup_without_a_packet_goes_the_same_way() {
    let world = World::new();
    let listener = world.tcp("127.0.0.2:8008");
    world.sockets.put(0, &listener).unwrap();
    let link = world.attach(&selecting(0, 0, 1));
    let syn = tcp(CONTACTED);
    let lookup = Lookup { protocol: Protocol::Tcp, source: syn.source, destination: syn.destination, interface: 0 };
    assert_eq!(world.netns.lookup(&lookup), Ok(Some(listener.id())));
    assert_eq!(world.netns.lookup_traced(&lookup).1.programs(), 1);
    let child = listener.accept(&syn).unwrap();
    assert_eq!(world.netns.lookup(&lookup), Ok(Some(child.id())));
    drop((link, child));
    assert_eq!(world.netns.lookup(&lookup), Ok(None));
}
