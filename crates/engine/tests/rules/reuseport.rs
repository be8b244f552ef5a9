//! SO_REUSEPORT groups: after a selection, and in the regular lookup.

use std::collections::BTreeMap;

use sklookup_bpf::{MapSpec, MapType, ProgramType};
use sklookup_engine::{Delivery, Errno, Map, Packet, Protocol, Shutdown, Socket, update};

use crate::programs::{picking, returning, selecting};
use crate::world::{CONTACTED, World, at, errno, from, packet, refused, to, udp};

const SERVED: &str = "127.0.0.2:8008";
const BOTH: [Protocol; 2] = [Protocol::Tcp, Protocol::Udp];

/// Who gets how many of 300 flows.
fn spread(world: &World, of: &Packet) -> BTreeMap<u64, usize> {
    let mut counts = BTreeMap::new();
    for port in 1..=300 {
        let packet = from(of, &format!("127.0.0.9:{port}"));
        let first = world.receive(&packet);
        assert_eq!(world.receive(&packet), first, "one flow goes to one socket");
        *counts.entry(first.socket().map_or(0, |socket| socket.cookie())).or_default() += 1;
    }
    counts
}

fn assert_spread(counts: &BTreeMap<u64, usize>, sockets: &[&Socket]) {
    let expected: Vec<u64> = sockets.iter().map(|socket| socket.cookie()).collect();
    assert_eq!(counts.keys().copied().collect::<Vec<_>>(), expected);
    assert!(counts.values().all(|count| *count > 300 / sockets.len() / 2), "{counts:?}");
}

/// Two members, both in the map, one selected.
fn group(world: &World, protocol: Protocol) -> [Socket; 2] {
    let members = [(); 2].map(|()| world.member(protocol, SERVED));
    for (slot, member) in (0..).zip(&members) {
        world.sockets.put(slot, member).unwrap();
    }
    members
}

#[test]
fn a_group_shares_its_flows_by_hash() {
    for protocol in BOTH {
        let world = World::new();
        let [a, b] = group(&world, protocol);
        assert_spread(&spread(&world, &packet(protocol, SERVED)), &[&a, &b]);
        let _link = world.attach(&selecting(0, 0, 1));
        assert_spread(&spread(&world, &packet(protocol, CONTACTED)), &[&a, &b]);
    }
}

#[test]
fn the_hash_is_of_the_packet_and_keyed_by_a_secret() {
    let chosen = |seed, contacted: &str| {
        let world = World::with(sklookup_engine::Config { seed, ..sklookup_engine::Config::default() });
        let [a, _b] = group(&world, Protocol::Tcp);
        let _link = world.attach(&selecting(0, 0, 1));
        let packets = (1..=64).map(|port| from(&packet(Protocol::Tcp, contacted), &format!("127.0.0.9:{port}")));
        packets.map(|packet| world.receive(&packet) == to(&a)).collect::<Vec<_>>()
    };
    assert_eq!(chosen(1, CONTACTED), chosen(1, CONTACTED));
    assert_ne!(chosen(1, CONTACTED), chosen(2, CONTACTED));
    assert_ne!(chosen(1, CONTACTED), chosen(1, "127.0.0.5:7007"));
}

#[test]
fn a_program_picks_the_member_after_a_selection() {
    for protocol in BOTH {
        let world = World::new();
        let [a, b] = group(&world, protocol);
        let program = world.load(ProgramType::SkReuseport, &picking("sockets", 1), &[]);
        a.attach_reuseport(&program).unwrap();
        let link = world.attach(&selecting(0, 0, 1));
        assert_eq!(world.receive(&packet(protocol, CONTACTED)), to(&b));
        link.detach().unwrap();
        // Unless the selection says that the group is not to be asked.
        let _link = world.attach(&selecting(0, 2, 1));
        assert_eq!(world.receive(&packet(protocol, CONTACTED)), to(&a));
    }
}

#[test]
fn a_group_with_connected_members_is_asked_all_the_same() {
    let world = World::new();
    let [a, b] = group(&world, Protocol::Udp);
    let connected = world.member(Protocol::Udp, SERVED);
    connected.connect(at(SERVED)).unwrap();
    let program = world.load(ProgramType::SkReuseport, &picking("sockets", 1), &[]);
    a.attach_reuseport(&program).unwrap();
    let _link = world.attach(&selecting(0, 0, 1));
    assert_eq!(world.receive(&udp(CONTACTED)), to(&b));
}

#[test]
fn a_refusal_ends_the_lookup_and_passing_without_a_choice_goes_on_by_hash() {
    for protocol in BOTH {
        for verdict in [0, 2, 7] {
            let world = World::new();
            let [a, _b] = group(&world, protocol);
            let _everywhere = world.member(protocol, "0.0.0.0:7007");
            let program = world.load(ProgramType::SkReuseport, &returning(verdict), &[]);
            a.attach_reuseport(&program).unwrap();
            let _link = world.attach(&selecting(0, 0, 1));
            assert_eq!(world.receive(&packet(protocol, CONTACTED)), refused(protocol), "{verdict}");
        }
        let world = World::new();
        let [a, b] = group(&world, protocol);
        a.attach_reuseport(&world.load(ProgramType::SkReuseport, &returning(1), &[])).unwrap();
        let _link = world.attach(&selecting(0, 0, 1));
        assert_spread(&spread(&world, &packet(protocol, CONTACTED)), &[&a, &b]);
    }
}

#[test]
fn a_refusal_of_the_exact_search_keeps_the_wildcard_from_being_asked() {
    for protocol in BOTH {
        let world = World::new();
        let exact = world.member(protocol, SERVED);
        let _wildcard = world.member(protocol, "0.0.0.0:8008");
        exact.attach_reuseport(&world.load(ProgramType::SkReuseport, &returning(0), &[])).unwrap();
        assert_eq!(world.receive(&packet(protocol, SERVED)), refused(protocol));
    }
}

#[test]
fn a_udp_group_is_asked_before_the_hook_and_overridden_by_it() {
    let world = World::new();
    let exact = world.member(Protocol::Udp, CONTACTED);
    exact.attach_reuseport(&world.load(ProgramType::SkReuseport, &returning(0), &[])).unwrap();
    let selected = world.udp("127.0.0.3:9");
    world.sockets.put(0, &selected).unwrap();
    assert_eq!(world.receive(&udp(CONTACTED)), Delivery::Unreachable);
    let link = world.attach(&returning(1));
    assert_eq!(world.receive(&udp(CONTACTED)), Delivery::Unreachable);
    link.detach().unwrap();
    let _link = world.attach(&selecting(0, 0, 1));
    assert_eq!(world.receive(&udp(CONTACTED)), to(&selected));
}

#[test]
fn the_flag_set_after_binding_makes_no_group() {
    for protocol in BOTH {
        let world = World::new();
        let socket = world.socket(protocol, SERVED, |_| {});
        socket.set_reuse_port(true);
        world.sockets.put(0, &socket).unwrap();
        let program = world.load(ProgramType::SkReuseport, &returning(0), &[]);
        assert_eq!(errno(socket.attach_reuseport(&program)), Errno::INVAL);
        let _link = world.attach(&selecting(0, 0, 1));
        assert_eq!(world.receive(&packet(protocol, CONTACTED)), to(&socket));
    }
}

#[test]
fn a_program_that_comes_before_the_address_makes_a_group_that_joins_no_other() {
    for protocol in BOTH {
        let world = World::new();
        let _first = world.member(protocol, SERVED);
        let early = Socket::open(&world.netns, protocol, sklookup_engine::Family::V4);
        early.set_reuse_port(true);
        early.attach_reuseport(&world.load(ProgramType::SkReuseport, &returning(0), &[])).unwrap();
        assert_eq!(errno(early.bind(at(SERVED))), Errno::ADDRINUSE);
        early.bind(at("127.0.0.2:8009")).unwrap();
        if protocol == Protocol::Tcp {
            early.listen().unwrap();
        }
        assert_eq!(world.receive(&packet(protocol, "127.0.0.2:8009")), refused(protocol));
    }
}

#[test]
fn who_reuses_the_address_gives_up_its_early_group() {
    let world = World::new();
    let open = || {
        let socket = Socket::open(&world.netns, Protocol::Udp, sklookup_engine::Family::V4);
        socket.set_reuse_port(true);
        socket.set_reuse_address(true);
        socket
    };
    let (first, early) = (open(), open());
    first.bind(at(SERVED)).unwrap();
    early.attach_reuseport(&world.load(ProgramType::SkReuseport, &returning(0), &[])).unwrap();
    early.bind(at(SERVED)).unwrap();
    assert_spread(&spread(&world, &udp(SERVED)), &[&first, &early]);
}

#[test]
fn groups_are_of_one_owner_device_and_family() {
    let world = World::new();
    let first = world.member(Protocol::Udp, "0.0.0.0:8008");
    for set_up in [(|socket: &Socket| socket.bind_to_device(Some(1)).unwrap()) as fn(&Socket), |socket| {
        socket.set_reuse_address(true)
    }] {
        let other = world.socket(Protocol::Udp, "0.0.0.0:8008", |socket| {
            socket.set_reuse_port(true);
            set_up(socket);
        });
        drop(other);
    }
    let stranger = Socket::open(&world.netns, Protocol::Udp, sklookup_engine::Family::V4);
    stranger.set_reuse_port(true);
    stranger.set_owner(1000);
    assert_eq!(errno(stranger.bind(at("0.0.0.0:8008"))), Errno::ADDRINUSE);
    assert_eq!(world.receive(&udp(SERVED)), to(&first));
}

#[test]
fn a_member_that_leaves_gives_its_place_to_the_last() {
    let world = World::new();
    let [a, b] = group(&world, Protocol::Tcp);
    let c = world.member(Protocol::Tcp, SERVED);
    drop(a);
    assert_spread(&spread(&world, &packet(Protocol::Tcp, SERVED)), &[&b, &c]);
    b.shutdown(Shutdown::Both).unwrap();
    assert_eq!(spread(&world, &packet(Protocol::Tcp, SERVED)).keys().copied().collect::<Vec<_>>(), [c.cookie()]);
}

#[test]
fn a_connected_member_leaves_its_group_and_shadows_or_starves_when_disconnected() {
    for connected in [0, 1] {
        let world = World::new();
        let members = group(&world, Protocol::Udp);
        members[connected].connect(at("127.0.0.9:1")).unwrap();
        members[connected].disconnect().unwrap();
        // Bound last it comes first in its bucket, and is alone there.
        let winner = &members[1];
        let counts = spread(&world, &udp(SERVED));
        assert_eq!(counts.keys().copied().collect::<Vec<_>>(), [winner.cookie()], "{connected}");
    }
}

#[test]
fn programs_pick_only_members_of_the_group() {
    let world = World::new();
    let [a, _b] = group(&world, Protocol::Tcp);
    let others = [
        (world.tcp("127.0.0.3:1"), Errno::INVAL),
        (world.member(Protocol::Tcp, "127.0.0.3:2"), Errno::BADFD),
        (world.member(Protocol::Tcp, "[::1]:2"), Errno::AFNOSUPPORT),
        (world.member(Protocol::Udp, "127.0.0.3:2"), Errno::PROTOTYPE),
    ];
    let noted = Map::create(&world.machine, &MapSpec::new("answer", MapType::Array, 4, 8, 1)).unwrap();
    let pick = |slot: u32, flags: u64| {
        let text = format!(
            "*(u32 *)(r10 -4) = {slot}
            r2 = map[sockets] ll
            r3 = r10
            r3 += -4
            r4 = {flags}
            call bpf_sk_select_reuseport
            r1 = map[answer][0]+0 ll
            *(u64 *)(r1 +0) = r0
            r0 = 1
            exit"
        );
        a.attach_reuseport(&world.load(ProgramType::SkReuseport, &text, &[&noted])).unwrap();
        world.receive(&packet(Protocol::Tcp, SERVED));
        -i64::from_ne_bytes(noted.value().unwrap().try_into().unwrap()) as i32
    };
    for (slot, (other, expected)) in (2..).zip(&others) {
        world.sockets.put(slot, other).unwrap();
        assert_eq!(pick(slot, 0), expected.raw_os_error());
    }
    assert_eq!(pick(31, 0), Errno::NOENT.raw_os_error());
    assert_eq!(pick(1, 1), Errno::INVAL.raw_os_error());
    assert_eq!(pick(1, 0), 0);
}

#[test]
fn an_array_of_a_group_has_members_only() {
    let world = World::new();
    let array = Map::create(&world.machine, &MapSpec::new("array", MapType::ReuseportSockarray, 4, 8, 2)).unwrap();
    let [a, b] = [(); 2].map(|()| world.member(Protocol::Udp, SERVED));
    let key = |index: u32| index.to_ne_bytes();
    array.update_socket(&key(0), a.id(), update::ANY).unwrap();
    array.update_socket(&key(1), b.id(), update::ANY).unwrap();
    a.attach_reuseport(&world.load(ProgramType::SkReuseport, &picking("array", 1), &[&array])).unwrap();
    assert_eq!(world.receive(&udp(SERVED)), to(&b));
    // It excludes maps of the other kind, both ways, and has a socket once.
    assert_eq!(errno(world.sockets.put(0, &a)), Errno::BUSY);
    assert_eq!(errno(array.update_socket(&key(1), a.id(), update::ANY)), Errno::BUSY);
    let alone = world.udp("127.0.0.3:1");
    assert_eq!(errno(array.update_socket(&key(1), alone.id(), update::ANY)), Errno::INVAL);
    // Who leaves the group leaves the array.
    b.connect(at("127.0.0.9:1")).unwrap();
    assert_eq!(errno(array.lookup(&key(1), 0)), Errno::NOENT);
}

#[test]
fn a_program_sees_the_packet() {
    let world = World::new();
    let [a, b] = group(&world, Protocol::Udp);
    // Picks slot 1 if the first byte after the header is 7.
    let text = format!(
        "r2 = *(u64 *)(r1 +0)
        r3 = *(u64 *)(r1 +8)
        r4 = r2
        r4 += 9
        if r4 > r3 goto other
        r5 = *(u8 *)(r2 +8)
        if r5 == 7 goto seven
        other:
        {}
        seven:
        {}",
        picking("sockets", 0).replace("picked", "picked0"),
        picking("sockets", 1)
    );
    a.attach_reuseport(&world.load(ProgramType::SkReuseport, &text, &[])).unwrap();
    assert_eq!(world.receive(&udp(SERVED)), to(&a));
    assert_eq!(world.receive(&udp(SERVED).with_payload([7])), to(&b));
    assert_eq!(world.receive(&udp(SERVED).with_payload([8])), to(&a));
}
