//! Binding: what excludes what, and with which errno.

use sklookup_engine::{Errno, Family, Protocol, Socket};

use crate::world::{World, at};

/// A socket as it is before it is bound, and where to.
type Wish = (fn(&Socket), &'static str);

fn plain(_: &Socket) {}

fn v6only(socket: &Socket) {
    socket.set_v6only(true).unwrap();
}

fn dual(socket: &Socket) {
    socket.set_v6only(false).unwrap();
}

fn on_lo(socket: &Socket) {
    socket.bind_to_device(Some(1)).unwrap();
}

fn on_v0(socket: &Socket) {
    socket.bind_to_device(Some(2)).unwrap();
}

/// Whether two sockets can have one port, on a namespace with an interface of index 2.
fn bind_both(protocol: Protocol, wishes: [Wish; 2], extra: fn(&Socket)) -> Result<(), Errno> {
    let world = World::new();
    world.netns.add_interface("v0").unwrap();
    let mut bound = Vec::new();
    for (set_up, address) in wishes {
        let socket = Socket::open(&world.netns, protocol, Family::of(at(address).ip()));
        set_up(&socket);
        extra(&socket);
        socket.bind(at(address)).map_err(|error| error.errno())?;
        bound.push(socket);
    }
    Ok(())
}

#[test]
fn addresses_that_meet_exclude_each_other() {
    let (no, yes) = (Err(Errno::ADDRINUSE), Ok(()));
    for (one, other, expected) in [
        ((plain as fn(&Socket), "127.0.0.1:80"), (plain as fn(&Socket), "127.0.0.1:80"), no),
        ((plain, "127.0.0.1:80"), (plain, "127.0.0.2:80"), yes),
        ((plain, "127.0.0.1:80"), (plain, "127.0.0.1:81"), yes),
        ((plain, "127.0.0.1:80"), (plain, "0.0.0.0:80"), no),
        ((on_lo, "0.0.0.0:80"), (plain, "0.0.0.0:80"), no),
        ((on_lo, "0.0.0.0:80"), (on_v0, "0.0.0.0:80"), yes),
        ((dual, "[::]:80"), (plain, "127.0.0.1:80"), no),
        ((v6only, "[::]:80"), (plain, "0.0.0.0:80"), yes),
        ((dual, "[::]:80"), (plain, "[::1]:80"), no),
        ((plain, "[::1]:80"), (plain, "0.0.0.0:80"), yes),
        ((plain, "[::ffff:127.0.0.1]:80"), (plain, "127.0.0.1:80"), no),
        ((plain, "[::ffff:127.0.0.1]:80"), (v6only, "[::]:80"), yes),
        ((plain, "[::ffff:127.0.0.1]:80"), (dual, "[::]:80"), no),
    ] {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            for wishes in [[one, other], [other, one]] {
                let names = wishes.map(|(_, address)| address);
                assert_eq!(bind_both(protocol, wishes, plain), expected, "{protocol} {names:?}");
                let shared = |socket: &Socket| socket.set_reuse_port(true);
                assert_eq!(bind_both(protocol, wishes, shared), yes, "{protocol} {names:?} with SO_REUSEPORT");
            }
        }
    }
}

#[test]
fn both_have_to_share() {
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        let world = World::new();
        let _first = world.member(protocol, "127.0.0.1:80");
        let other = Socket::open(&world.netns, protocol, Family::V4);
        assert_eq!(other.bind(at("127.0.0.1:80")).unwrap_err().errno(), Errno::ADDRINUSE);
    }
}

#[test]
fn a_listener_keeps_its_port_from_who_reuses_addresses() {
    let world = World::new();
    let open = || {
        let socket = Socket::open(&world.netns, Protocol::Tcp, Family::V4);
        socket.set_reuse_address(true);
        socket
    };
    let sockets = [open(), open()];
    for socket in &sockets {
        socket.bind(at("127.0.0.1:80")).unwrap();
    }
    sockets[0].listen().unwrap();
    assert_eq!(sockets[1].listen().unwrap_err().errno(), Errno::ADDRINUSE);
    assert_eq!(open().bind(at("127.0.0.1:80")).unwrap_err().errno(), Errno::ADDRINUSE);
}

#[test]
fn addresses_have_to_be_local_and_of_the_family() {
    let world = World::new();
    let bind = |family, address: &str, set_up: fn(&Socket)| {
        let socket = Socket::open(&world.netns, Protocol::Tcp, family);
        set_up(&socket);
        socket.bind(at(address)).map_err(|error| error.errno())
    };
    assert_eq!(bind(Family::V4, "192.0.2.7:80", plain), Err(Errno::ADDRNOTAVAIL));
    assert_eq!(bind(Family::V4, "192.0.2.7:80", |socket| socket.set_freebind(true)), Ok(()));
    assert_eq!(bind(Family::V6, "[::ffff:192.0.2.7]:80", plain), Err(Errno::ADDRNOTAVAIL));
    assert_eq!(bind(Family::V6, "[::ffff:127.0.0.1]:80", v6only), Err(Errno::INVAL));
    assert_eq!(bind(Family::V4, "[::1]:80", plain), Err(Errno::AFNOSUPPORT));
    assert_eq!(bind(Family::V6, "127.0.0.1:80", plain), Err(Errno::INVAL));
    assert_eq!(bind(Family::V6, "[fe80::1]:80", plain), Err(Errno::INVAL));
    world.netns.add_local_route("192.0.2.0/24".parse().unwrap()).unwrap();
    assert_eq!(bind(Family::V4, "192.0.2.7:80", plain), Ok(()));
}

#[test]
fn a_link_local_address_binds_to_its_device() {
    let world = World::new();
    let device = world.netns.add_interface("v0").unwrap();
    world.netns.add_address(device, "fe80::1/64".parse().unwrap()).unwrap();
    let socket = world.udp("[fe80::1%2]:53");
    assert_eq!(world.receive(&crate::world::udp("[fe80::1]:53").on_interface(device)), crate::world::to(&socket));
    assert_eq!(world.receive(&crate::world::udp("[fe80::1]:53").on_interface(1)), crate::world::refused(Protocol::Udp));
}

#[test]
fn a_socket_is_bound_once() {
    let world = World::new();
    let socket = world.udp("127.0.0.1:80");
    assert_eq!(socket.bind(at("127.0.0.1:81")).unwrap_err().errno(), Errno::INVAL);
    assert_eq!(world.udp("[::]:82").set_v6only(true).unwrap_err().errno(), Errno::INVAL);
    assert_eq!(socket.listen().unwrap_err().errno(), Errno::OPNOTSUPP);
}

#[test]
fn free_ports_are_ephemeral_and_the_same_in_every_run() {
    let ports = || {
        let world = World::new();
        let sockets: Vec<Socket> = (0..100).map(|_| world.udp("127.0.0.1:0")).collect();
        sockets.iter().map(|socket| socket.local_address().port()).collect::<Vec<_>>()
    };
    let first = ports();
    assert_eq!(first, ports());
    assert!(first.iter().all(|port| (32768..=60999).contains(port)), "{first:?}");
    let distinct: std::collections::BTreeSet<u16> = first.iter().copied().collect();
    assert_eq!(distinct.len(), 100);
}
