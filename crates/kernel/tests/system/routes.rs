//! Interfaces, and which destinations are local.

use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use sklookup_kernel::route::{self, LocalRoutes};
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
