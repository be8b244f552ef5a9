//! The regular lookup: two searches, scores, and the order of buckets.

use sklookup_engine::{Delivery, Netns, Protocol, Socket};

use crate::world::{World, packet, refused, tcp, to, udp};

const BOTH: [Protocol; 2] = [Protocol::Tcp, Protocol::Udp];

/// A socket bound to a device, or to none.
fn on_device(world: &World, protocol: Protocol, address: &str, device: Option<u32>) -> Socket {
    world.socket(protocol, address, |socket| socket.bind_to_device(device).unwrap())
}

#[test]
fn an_exact_address_beats_the_wildcard_whatever_it_would_score() {
    for protocol in BOTH {
        let world = World::new();
        let wildcard = world.socket(protocol, "0.0.0.0:80", |socket| {
            socket.set_reuse_port(true);
            socket.bind_to_device(Some(1)).unwrap();
        });
        let exact = world.member(protocol, "127.0.0.1:80");
        assert_eq!(world.receive(&packet(protocol, "127.0.0.1:80")), to(&exact));
        assert_eq!(world.receive(&packet(protocol, "127.0.0.2:80")), to(&wildcard));
    }
}

#[test]
fn a_dual_stack_socket_takes_both_families_unless_it_is_v6only() {
    for protocol in BOTH {
        let world = World::new();
        let dual = world.socket(protocol, "[::]:80", |_| {});
        assert_eq!(world.receive(&packet(protocol, "127.0.0.1:80")), to(&dual));
        assert_eq!(world.receive(&packet(protocol, "[::1]:80")), to(&dual));
        let only_v6 = world.socket(protocol, "[::]:81", |socket| socket.set_v6only(true).unwrap());
        assert_eq!(world.receive(&packet(protocol, "127.0.0.1:81")), refused(protocol));
        assert_eq!(world.receive(&packet(protocol, "[::1]:81")), to(&only_v6));
    }
}

#[test]
fn a_v4_mapped_address_is_an_ipv4_address() {
    for protocol in BOTH {
        let world = World::new();
        let one = world.socket(protocol, "[::ffff:127.0.0.2]:80", |_| {});
        assert_eq!(world.receive(&packet(protocol, "127.0.0.2:80")), to(&one));
        assert_eq!(world.receive(&packet(protocol, "127.0.0.1:80")), refused(protocol));
        let any = world.socket(protocol, "[::ffff:0.0.0.0]:81", |_| {});
        assert_eq!(world.receive(&packet(protocol, "127.0.0.1:81")), to(&any));
        assert_eq!(world.receive(&packet(protocol, "[::1]:81")), refused(protocol));
    }
}

#[test]
fn binding_to_a_native_ipv6_address_makes_a_socket_v6only() {
    let world = World::new();
    let socket = world.socket(Protocol::Tcp, "[::1]:80", |socket| socket.set_v6only(false).unwrap());
    assert!(socket.v6only());
    let any = world.tcp("[::]:81");
    assert!(!any.v6only());
}

#[test]
fn an_ipv4_socket_goes_before_a_dual_stack_one_in_either_order() {
    for protocol in BOTH {
        for addresses in [["0.0.0.0:80", "[::]:80"], ["[::]:80", "0.0.0.0:80"]] {
            let world = World::new();
            let sockets = addresses.map(|address| world.member(protocol, address));
            let by =
                |v4: bool| sockets.iter().zip(addresses).find(|(_, address)| address.contains("[::]") != v4).unwrap().0;
            assert_eq!(world.receive(&packet(protocol, "127.0.0.1:80")), to(by(true)), "{addresses:?}");
            assert_eq!(world.receive(&packet(protocol, "[::1]:80")), to(by(false)), "{addresses:?}");
        }
    }
}

#[test]
fn who_is_bound_to_the_device_goes_first_and_sees_no_other() {
    for protocol in BOTH {
        let world = World::new();
        let device = world.netns.add_interface("v0").unwrap();
        let other = world.netns.add_interface("v1").unwrap();
        world.netns.add_address(device, "192.0.2.1/24".parse().unwrap()).unwrap();
        let here = on_device(&world, protocol, "0.0.0.0:80", Some(device));
        let there = on_device(&world, protocol, "0.0.0.0:80", Some(other));
        let syn = packet(protocol, "192.0.2.1:80");
        assert_eq!(world.receive(&syn.clone().on_interface(device)), to(&here));
        assert_eq!(world.receive(&syn.clone().on_interface(other)), to(&there));
        assert_eq!(world.receive(&syn.clone().on_interface(1)), refused(protocol));
        // Of this host: the interface that owns the address.
        assert_eq!(world.receive(&syn), to(&here));
    }
}

#[test]
fn who_is_bound_to_the_device_scores_more_in_either_order() {
    for protocol in BOTH {
        for (wildcard, contacted) in [("0.0.0.0:80", "127.0.0.1:80"), ("[::]:80", "[::1]:80")] {
            for devices in [[None, Some(1)], [Some(1), None]] {
                let world = World::new();
                let sockets = devices.map(|device| {
                    world.socket(protocol, wildcard, |socket| {
                        socket.set_reuse_port(true);
                        socket.bind_to_device(device).unwrap();
                    })
                });
                // They could only be bound as groups; without the flag it is the score alone that counts.
                sockets.iter().for_each(|socket| socket.set_reuse_port(false));
                let bound = &sockets[usize::from(devices[0].is_none())];
                assert_eq!(world.receive(&packet(protocol, contacted)), to(bound), "{protocol} {wildcard} {devices:?}");
            }
        }
    }
}

#[test]
fn the_cpu_adds_to_the_score() {
    for protocol in BOTH {
        for address in ["127.0.0.1:80", "[::1]:80"] {
            let world = World::new();
            let with_cpu = |cpu| {
                world.socket(protocol, address, |socket| {
                    socket.set_reuse_address(true);
                    socket.set_incoming_cpu(Some(cpu));
                    if protocol == Protocol::Tcp {
                        // Two listeners share an address only as a group.
                        socket.set_reuse_port(true);
                    }
                })
            };
            let sockets = [with_cpu(0), with_cpu(1)];
            for (cpu, socket) in (0..).zip(&sockets) {
                assert_eq!(world.receive(&packet(protocol, address).on_cpu(cpu)), to(socket), "{protocol} {address}");
            }
        }
    }
}

#[test]
fn the_first_group_that_matches_ends_the_search_newest_first_for_ipv4_oldest_first_for_ipv6() {
    for (wildcard, contacted, newest_first) in [("0.0.0.0:80", "127.0.0.1:80", true), ("[::]:80", "[::1]:80", false)] {
        for bound_first in [false, true] {
            let world = World::new();
            let member = |device| {
                world.socket(Protocol::Tcp, wildcard, |socket| {
                    socket.set_reuse_port(true);
                    socket.bind_to_device(device).unwrap();
                })
            };
            let devices = if bound_first { [Some(1), None] } else { [None, Some(1)] };
            let sockets = devices.map(member);
            let winner = if newest_first { &sockets[1] } else { &sockets[0] };
            assert_eq!(world.receive(&tcp(contacted)), to(winner), "{wildcard} {devices:?}");
        }
    }
}

#[test]
fn of_equal_udp_sockets_that_reuse_their_address_the_newest_wins() {
    let world = World::new();
    let [_old, new] =
        [(); 2].map(|()| world.socket(Protocol::Udp, "0.0.0.0:53", |socket| socket.set_reuse_address(true)));
    assert_eq!(world.receive(&udp("127.0.0.1:53")), to(&new));
}

#[test]
fn a_vrf_stands_in_front_of_its_interfaces() {
    for protocol in BOTH {
        let world = World::new();
        let vrf = world.netns.add_interface("red").unwrap();
        let device = world.netns.add_interface("v0").unwrap();
        world.netns.set_vrf(device, vrf).unwrap();
        world.netns.add_address(device, "192.0.2.1/24".parse().unwrap()).unwrap();
        let syn = packet(protocol, "192.0.2.1:80").on_interface(device);
        let unbound = world.socket(protocol, "0.0.0.0:80", |socket| socket.set_reuse_port(true));
        assert_eq!(world.receive(&syn), refused(protocol));
        let sysctls = sklookup_engine::Sysctls {
            tcp_l3mdev_accept: true,
            udp_l3mdev_accept: true,
            ..sklookup_engine::Sysctls::default()
        };
        world.netns.set_sysctls(sysctls);
        assert_eq!(world.receive(&syn), to(&unbound));
        drop(unbound);
        for bound in [vrf, device] {
            let socket = on_device(&world, protocol, "0.0.0.0:80", Some(bound));
            assert_eq!(world.receive(&syn), to(&socket));
        }
        // Both match, and equally well: the newest is looked at first, and stays.
        for both in [[vrf, device], [device, vrf]] {
            let sockets = both.map(|bound| on_device(&world, protocol, "0.0.0.0:80", Some(bound)));
            assert_eq!(world.receive(&syn), to(&sockets[1]), "{both:?}");
        }
        // An IPv4 socket matches an IPv4 packet better than a dual-stack one.
        for order in [["0.0.0.0:80", "[::]:80"], ["[::]:80", "0.0.0.0:80"]] {
            let devices = [vrf, device].into_iter();
            let sockets: Vec<Socket> =
                order.iter().zip(devices).map(|(any, bound)| on_device(&world, protocol, any, Some(bound))).collect();
            let ipv4 = order.iter().position(|any| !any.contains("[::]")).unwrap();
            assert_eq!(world.receive(&syn), to(&sockets[ipv4]), "{order:?}");
        }
    }
}

#[test]
fn namespaces_have_sockets_of_their_own() {
    let world = World::new();
    let other = Netns::new_private(&world.machine);
    let listener = world.tcp("127.0.0.1:80");
    assert_eq!(world.receive(&tcp("127.0.0.1:80")), to(&listener));
    assert_eq!(other.receive(&tcp("127.0.0.1:80")), Ok(Delivery::Reset));
}

#[test]
fn what_is_not_local_reaches_no_socket() {
    let world = World::new();
    let listener = world.tcp("0.0.0.0:80");
    assert_eq!(world.receive(&tcp("192.0.2.7:80")), Delivery::NotLocal);
    world.netns.add_local_route("192.0.2.0/24".parse().unwrap()).unwrap();
    assert_eq!(world.receive(&tcp("192.0.2.7:80")), to(&listener));
}
