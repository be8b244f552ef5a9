//! Interfaces, and which destinations are local.

use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use sklookup_kernel::route::{self, LocalRoutes, Route, RouteKind};
use sklookup_kernel::{Errno, Netns, interface};
use sklookup_testbed::{Trial, plain_trial, sandbox_trial};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        plain_trial("loopback_is_local_without_any_rights", || {
            assert_eq!(interface::index_of("lo").unwrap(), Some(interface::LOOPBACK));
            assert_eq!(interface::name_of(interface::LOOPBACK).unwrap().as_deref(), Some("lo"));
            assert_eq!(interface::index_of("no-such-device").unwrap(), None);
            assert!(local("127.0.0.0/8") && local("127.255.0.1/32"));
        }),
        sandbox_trial("a_prefix_is_local_once_it_was_made_so", |_| {
            for (prefix, inside) in [("192.0.2.0/24", "192.0.2.77:80"), ("2001:db8::/48", "[2001:db8::7]:80")] {
                assert!(!local(prefix));
                route::add_local_route(net(prefix)).unwrap();
                assert!(local(prefix), "{prefix}");
                // What the routes say, a connection shows.
                let listener = TcpListener::bind("[::]:80").unwrap();
                TcpStream::connect(inside).unwrap();
                drop(listener);
                let again = route::add_local_route(net(prefix)).unwrap_err();
                assert_eq!(again.errno(), Errno::EXIST);
            }
            assert!(!local("192.0.0.0/16") && !local("2001:db8::/32"));
        }),
        sandbox_trial("an_address_of_an_interface_is_local_and_its_network_is_not", |_| {
            let (index, peer) = interface::add_veth("v0", "v1").unwrap();
            interface::set_up(index).unwrap();
            interface::set_up(peer).unwrap();
            for address in ["198.51.100.1/24", "2001:db8:1::1/64"] {
                interface::add_address(index, address.parse().unwrap()).unwrap();
                let host = address.split('/').next().unwrap();
                // A kernel worker makes the route of an IPv6 address.
                let deadline = Instant::now() + Duration::from_secs(10);
                while !local(host) {
                    assert!(Instant::now() < deadline, "{host}");
                }
                assert!(!local(address), "{address}");
            }
            let listed = interface::list().unwrap();
            let found = listed.iter().find(|interface| interface.index == index).unwrap();
            assert!(found.up && found.name == "v0", "{found:?}");
            assert!(found.addresses.contains(&"198.51.100.1/24".parse().unwrap()), "{found:?}");
            assert!(found.addresses.contains(&"2001:db8:1::1/64".parse().unwrap()), "{found:?}");
        }),
        sandbox_trial("routing_says_who_owns_an_address_and_what_it_lets_in", |_| {
            let (index, peer) = interface::add_veth("v0", "v1").unwrap();
            interface::add_address(index, net("198.51.100.1").to_string().parse().unwrap()).unwrap();
            interface::add_address(index, "198.51.101.1/24".parse().unwrap()).unwrap();
            interface::set_up(index).unwrap();
            interface::set_up(peer).unwrap();
            route::add_local_route(net("192.0.2.0/24")).unwrap();
            let toward = |address: &str| route::toward(address.parse().unwrap(), None).unwrap();
            let local = |interface| Some(Route { kind: RouteKind::Local, interface: Some(interface) });
            assert_eq!(toward("198.51.100.1"), local(index), "its owner, though packets take loopback");
            assert_eq!(toward("192.0.2.7"), local(interface::LOOPBACK));
            assert_eq!(toward("::1"), local(interface::LOOPBACK));
            assert_eq!(toward("198.51.101.9"), Some(Route { kind: RouteKind::Unicast, interface: Some(index) }));
            assert_eq!(toward("198.51.101.255").map(|route| route.kind), Some(RouteKind::Broadcast));
            assert_eq!(toward("203.0.113.1"), None);

            let arriving = |source: &str, destination: &str| {
                let (source, destination) = (source.parse().unwrap(), destination.parse().unwrap());
                route::arriving(index, source, destination).unwrap().map(|route| route.kind)
            };
            assert_eq!(arriving("198.51.101.9", "192.0.2.7"), Some(RouteKind::Local));
            assert_eq!(arriving("198.51.101.1", "192.0.2.7"), None, "a packet of ours does not come in from outside");
            assert_eq!(arriving("198.51.101.9", "127.0.0.1"), None, "nor one to loopback");
            assert_eq!(interface::vrf_of(index).unwrap(), None);
            let nowhere = route::arriving(4711, "198.51.101.9".parse().unwrap(), "192.0.2.7".parse().unwrap());
            assert_eq!(nowhere.unwrap_err().errno(), Errno::NODEV);
        }),
        sandbox_trial("the_two_ends_of_a_veth_pair_know_their_indices", |_| {
            let (one, other) = interface::add_veth("v0", "v1").unwrap();
            assert_eq!(interface::name_of(one).unwrap().as_deref(), Some("v0"));
            assert_eq!(interface::name_of(other).unwrap().as_deref(), Some("v1"));
            assert_eq!(interface::add_veth("v0", "v2").unwrap_err().errno(), Errno::EXIST);
        }),
        sandbox_trial("routes_are_those_of_the_namespace_one_is_in", |_| {
            route::add_local_route(net("192.0.2.0/24")).unwrap();
            let other = Netns::new_private().unwrap();
            assert!(local("192.0.2.0/24"));
            assert!(!other.run(|| local("192.0.2.0/24")).unwrap());
        }),
    ]
}

fn local(prefix: &str) -> bool {
    LocalRoutes::read().unwrap().covers(&net(prefix))
}

/// A prefix; without a length, the host.
fn net(prefix: &str) -> IpNet {
    prefix.parse().unwrap_or_else(|_| IpNet::from(prefix.parse::<std::net::IpAddr>().unwrap())).trunc()
}
