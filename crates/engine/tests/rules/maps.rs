//! SOCKMAP and SOCKHASH: who may be in them, with the errnos of Linux.

use sklookup_bpf::{MapSpec, MapType};
use sklookup_engine::{Errno, Family, Map, OtherKind, OtherSocket, Protocol, Shutdown, Socket, update};

use crate::programs::{NOTE, returning};
use crate::world::{CONTACTED, World, at, errno, tcp};

fn map(world: &World, kind: MapType, key: u32, value: u32, entries: u32) -> Map {
    Map::create(&world.machine, &MapSpec::new("map", kind, key, value, entries)).unwrap()
}

#[test]
fn sockets_are_let_in_by_their_state() {
    let world = World::new();
    let put = |socket: &Socket| world.sockets.put(0, socket).map_err(|error| error.errno());
    let fresh = |protocol| Socket::open(&world.netns, protocol, Family::V4);
    let no = Err(Errno::OPNOTSUPP);

    assert_eq!(put(&fresh(Protocol::Tcp)), no);
    let bound = fresh(Protocol::Tcp);
    bound.bind(at("127.0.0.1:1")).unwrap();
    assert_eq!(put(&bound), no);
    let listener = world.tcp("127.0.0.1:2");
    assert_eq!(put(&listener), Ok(()));
    let child = listener.accept(&tcp("127.0.0.1:2")).unwrap();
    assert_eq!(put(&child), Ok(()));
    child.shutdown(Shutdown::Write).unwrap();
    assert_eq!(put(&child), no);
    let half_closed = listener.accept(&crate::world::from(&tcp("127.0.0.1:2"), "127.0.0.9:2")).unwrap();
    half_closed.peer_shut_down().unwrap();
    assert_eq!(put(&half_closed), no);

    let datagrams = fresh(Protocol::Udp);
    assert_eq!(put(&datagrams), no);
    datagrams.connect(at("127.0.0.1:9")).unwrap();
    assert_eq!(put(&datagrams), Ok(()));
    datagrams.disconnect().unwrap();
    assert_eq!(put(&datagrams), no);
    assert_eq!(put(&world.udp("127.0.0.1:3")), Ok(()));
}

#[test]
fn sockets_of_other_protocols_are_let_in_where_linux_lets_them() {
    let world = World::new();
    let put = |socket: &OtherSocket| {
        let put = world.sockets.map().update_socket(&0u32.to_ne_bytes(), socket.id(), update::ANY);
        put.map_err(|error| error.errno())
    };
    for (kind, alone, paired) in [
        (OtherKind::UdpLite, Err(Errno::OPNOTSUPP), None),
        (OtherKind::Mptcp, Err(Errno::OPNOTSUPP), None),
        (OtherKind::UnixDatagram, Ok(()), Some(Ok(()))),
        (OtherKind::UnixStream, Err(Errno::OPNOTSUPP), Some(Ok(()))),
        (OtherKind::UnixSeqpacket, Err(Errno::OPNOTSUPP), Some(Err(Errno::OPNOTSUPP))),
    ] {
        assert_eq!(put(&OtherSocket::open(&world.netns, kind)), alone, "{kind:?}");
        if let Some(expected) = paired {
            assert_eq!(put(&OtherSocket::pair(&world.netns, kind)[0]), expected, "{kind:?}");
        }
    }
}

#[test]
fn an_update_checks_the_socket_then_flags_then_the_index_then_who_is_there() {
    let world = World::new();
    let map = map(&world, MapType::Sockmap, 4, 8, 2);
    let listener = world.tcp("127.0.0.1:1");
    let unfit = Socket::open(&world.netns, Protocol::Tcp, Family::V4);
    let put = |index: u32, socket: &Socket, flags| {
        map.update_socket(&index.to_ne_bytes(), socket.id(), flags).map_err(|error| error.errno())
    };
    // 4 is a lock, which is looked at before all else.
    assert_eq!(put(9, &unfit, 4), Err(Errno::INVAL));
    assert_eq!(put(9, &unfit, 3), Err(Errno::OPNOTSUPP));
    assert_eq!(put(9, &listener, 3), Err(Errno::INVAL));
    assert_eq!(put(9, &listener, update::EXIST), Err(Errno::TOOBIG));
    assert_eq!(put(0, &listener, update::EXIST), Err(Errno::NOENT));
    assert_eq!(put(0, &listener, update::NOEXIST), Ok(()));
    assert_eq!(put(0, &listener, update::NOEXIST), Err(Errno::EXIST));
    assert_eq!(put(0, &listener, update::EXIST), Ok(()));
    // One socket may be in many places.
    assert_eq!(put(1, &listener, update::ANY), Ok(()));
}

#[test]
fn a_full_sockhash_takes_no_new_key_until_a_socket_is_closed() {
    let world = World::new();
    let map = map(&world, MapType::Sockhash, 3, 8, 2);
    let (a, b) = (world.tcp("127.0.0.1:1"), world.tcp("127.0.0.1:2"));
    map.update_socket(b"abc", a.id(), update::ANY).unwrap();
    map.update_socket(b"def", b.id(), update::ANY).unwrap();
    assert_eq!(errno(map.update_socket(b"ghi", a.id(), update::ANY)), Errno::TOOBIG);
    map.update_socket(b"def", a.id(), update::EXIST).unwrap();
    map.update_socket(b"abc", b.id(), update::EXIST).unwrap();
    drop(b);
    map.update_socket(b"ghi", a.id(), update::ANY).unwrap();
    assert_eq!(errno(map.lookup(b"abc", 0)), Errno::NOENT);
    assert_eq!(map.lookup(b"ghi", 0).unwrap(), a.cookie().to_ne_bytes());
}

#[test]
fn lookups_and_deletes_of_what_is_missing() {
    let world = World::new();
    let sockmap = map(&world, MapType::Sockmap, 4, 8, 2);
    let sockhash = map(&world, MapType::Sockhash, 4, 8, 2);
    let (inside, outside) = (0u32.to_ne_bytes(), 9u32.to_ne_bytes());
    assert_eq!((errno(sockmap.lookup(&inside, 0)), errno(sockmap.lookup(&outside, 0))), (Errno::NOENT, Errno::NOENT));
    assert_eq!((errno(sockmap.delete(&inside)), errno(sockmap.delete(&outside))), (Errno::INVAL, Errno::INVAL));
    assert_eq!((errno(sockhash.lookup(&inside, 0)), errno(sockhash.delete(&inside))), (Errno::NOENT, Errno::NOENT));
    assert_eq!(errno(sockmap.lookup(&inside, 1)), Errno::INVAL);
}

#[test]
fn four_byte_values_cannot_be_read() {
    let world = World::new();
    let listener = world.tcp("127.0.0.1:1");
    for kind in [MapType::Sockmap, MapType::Sockhash] {
        let map = map(&world, kind, 4, 4, 2);
        assert_eq!(errno(map.lookup(&0u32.to_ne_bytes(), 0)), Errno::NOSPC);
        map.update_socket(&0u32.to_ne_bytes(), listener.id(), update::ANY).unwrap();
        assert_eq!(errno(map.lookup(&0u32.to_ne_bytes(), 0)), Errno::NOSPC);
    }
}

#[test]
fn a_sockmap_lists_every_index_and_a_sockhash_its_keys() {
    let world = World::new();
    let sockmap = map(&world, MapType::Sockmap, 4, 8, 2);
    let (zero, one, far) = (0u32.to_ne_bytes(), 1u32.to_ne_bytes(), 9u32.to_ne_bytes());
    assert_eq!(sockmap.next_key(None).unwrap(), zero);
    assert_eq!(sockmap.next_key(Some(&zero)).unwrap(), one);
    assert_eq!(sockmap.next_key(Some(&far)).unwrap(), zero);
    assert_eq!(errno(sockmap.next_key(Some(&one))), Errno::NOENT);
    let sockhash = map(&world, MapType::Sockhash, 1, 8, 4);
    assert_eq!(errno(sockhash.next_key(None)), Errno::NOENT);
    let (a, b) = (world.tcp("127.0.0.1:1"), world.tcp("127.0.0.1:2"));
    for (key, socket) in [(b"x", &a), (b"y", &b), (b"z", &a)] {
        sockhash.update_socket(key, socket.id(), update::ANY).unwrap();
    }
    drop(b);
    assert_eq!(sockhash.next_key(None).unwrap(), b"x");
    assert_eq!(sockhash.next_key(Some(b"x")).unwrap(), b"z");
    assert_eq!(errno(sockhash.next_key(Some(b"z"))), Errno::NOENT);
}

#[test]
fn entries_stay_until_their_socket_is_closed() {
    let world = World::new();
    let listener = world.tcp("127.0.0.1:1");
    world.sockets.put(0, &listener).unwrap();
    listener.shutdown(Shutdown::Both).unwrap();
    assert_eq!(world.sockets.cookie(0), Ok(Some(listener.cookie())));
    let duplicate = listener.clone();
    drop(listener);
    assert_eq!(world.sockets.cookie(0), Ok(Some(duplicate.cookie())));
    drop(duplicate);
    assert_eq!(world.sockets.cookie(0), Ok(None));
    // The map held nothing open.
    world.tcp("127.0.0.1:1");
}

#[test]
fn a_program_may_move_sockets_and_take_them_out() {
    let world = World::new();
    let listener = world.tcp("127.0.0.1:1");
    world.sockets.put(0, &listener).unwrap();
    let noted = Map::create(&world.machine, &MapSpec::new("answer", MapType::Array, 4, 8, 1)).unwrap();
    let program = world.program(
        &[
            "r6 = r1
            *(u32 *)(r10 -4) = 0
            r1 = map[sockets] ll
            r2 = r10
            r2 += -4
            call bpf_map_lookup_elem
            if r0 == 0 goto end
            r7 = r0
            *(u32 *)(r10 -4) = 1
            r1 = map[sockets] ll
            r2 = r10
            r2 += -4
            r3 = r7
            r4 = 0
            call bpf_map_update_elem
            *(u64 *)(r10 -16) = r0
            r1 = r7
            call bpf_sk_release
            *(u32 *)(r10 -4) = 0
            r1 = map[sockets] ll
            r2 = r10
            r2 += -4
            call bpf_map_delete_elem
            r1 = *(u64 *)(r10 -16)
            r0 |= r1\n",
            NOTE,
            "end:\n",
            &returning(1),
        ]
        .concat(),
        &[&noted],
    );
    let _link = sklookup_engine::Link::attach(&program, &world.netns).unwrap();
    world.receive(&tcp(CONTACTED));
    assert_eq!(noted.value().unwrap(), 0u64.to_ne_bytes());
    assert_eq!((world.sockets.cookie(0), world.sockets.cookie(1)), (Ok(None), Ok(Some(listener.cookie()))));
}

#[test]
fn maps_of_bytes_keep_what_programs_and_owners_write() {
    let world = World::new();
    let hash = map(&world, MapType::Hash, 2, 12, 2);
    assert_eq!(errno(hash.lookup(b"ab", 0)), Errno::NOENT);
    hash.update(b"ab", b"twelve bytes", update::NOEXIST).unwrap();
    assert_eq!(hash.lookup(b"ab", 0).unwrap(), b"twelve bytes");
    assert_eq!(errno(hash.update(b"ab", b"twelve bytes", update::NOEXIST)), Errno::EXIST);
    hash.update(b"cd", b"twelve bytes", update::ANY).unwrap();
    assert_eq!(errno(hash.update(b"ef", b"twelve bytes", update::ANY)), Errno::TOOBIG);
    assert_eq!(errno(hash.update(b"ab", b"eleven byte", update::ANY)), Errno::INVAL);
    hash.delete(b"ab").unwrap();
    assert_eq!(errno(hash.delete(b"ab")), Errno::NOENT);
    assert_eq!(hash.next_key(None).unwrap(), b"cd");

    let array = map(&world, MapType::Array, 4, 3, 2);
    assert_eq!(array.lookup(&1u32.to_ne_bytes(), 0).unwrap(), [0; 3]);
    assert_eq!(errno(array.update(&2u32.to_ne_bytes(), b"abc", 0)), Errno::TOOBIG);
    assert_eq!(errno(array.update(&1u32.to_ne_bytes(), b"abc", update::NOEXIST)), Errno::EXIST);
    assert_eq!(errno(array.delete(&1u32.to_ne_bytes())), Errno::INVAL);
    array.freeze().unwrap();
    assert_eq!(errno(array.update(&1u32.to_ne_bytes(), b"abc", 0)), Errno::PERM);
    assert_eq!(errno(array.freeze()), Errno::PERM);
}
