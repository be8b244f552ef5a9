//! What is local in a namespace, and on which interface.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::netns::Interface;
use crate::tables::Table;

/// The index of the loopback interface, the same in every namespace.
pub(crate) const LOOPBACK: u32 = 1;

/// Local addresses and prefixes.
#[derive(Debug, Default)]
pub(crate) struct LocalAddresses {
    /// The interface that owns each address.
    owners: Table<u128, u32>,
    /// Prefixes by their length in an IPv6 address and their bits: a lookup tries the lengths that there are.
    prefixes: Vec<(u8, Table<u128, ()>)>,
}

impl LocalAddresses {
    /// Of all interfaces and local routes.
    pub(crate) fn of(interfaces: &[Interface], routes: &[IpNet]) -> LocalAddresses {
        let mut local = LocalAddresses::default();
        for interface in interfaces {
            for address in &interface.addresses {
                local.owners.entry(bits(address.addr())).or_insert(interface.index);
            }
        }
        for route in routes {
            let length = mapped_length(route);
            let place = local.prefixes.binary_search_by(|(known, _)| length.cmp(known));
            let place = place.unwrap_or_else(|place| {
                local.prefixes.insert(place, (length, Table::default()));
                place
            });
            local.prefixes[place].1.insert(bits(route.network()), ());
        }
        local
    }

    /// The interface that a local address belongs to: its owner, or loopback for addresses that only a route makes local.
    /// `None`: it isn't local.
    pub(crate) fn owner(&self, address: IpAddr) -> Option<u32> {
        let bits = bits(address);
        if let Some(owner) = self.owners.get(&bits) {
            return Some(*owner);
        }
        if let IpAddr::V4(v4) = address
            && v4.is_loopback()
        {
            return Some(LOOPBACK);
        }
        let covers = |(length, prefixes): &(u8, Table<u128, ()>)| {
            prefixes.contains_key(&(bits & u128::MAX.unbounded_shl(128 - u32::from(*length))))
        };
        // An IPv4 address is not covered by what is shorter than every v4-mapped address.
        let shortest = if address.is_ipv4() { 96 } else { 0 };
        let found = self.prefixes.iter().filter(|(length, _)| *length >= shortest).any(covers);
        found.then_some(LOOPBACK)
    }
}

/// The address that a socket gets which connects to `peer` and has none; `None`: there is no route.
pub(crate) fn source_for(interfaces: &[Interface], local: &LocalAddresses, peer: IpAddr) -> Option<IpAddr> {
    if local.owners.contains_key(&bits(peer)) {
        return Some(peer);
    }
    let addresses = || interfaces.iter().flat_map(|interface| &interface.addresses);
    let same_family = |address: &&IpNet| address.addr().is_ipv4() == peer.is_ipv4();
    let any = || addresses().find(|address| same_family(address) && !address.addr().is_loopback()).map(IpNet::addr);
    match peer {
        IpAddr::V4(v4) if v4.is_loopback() => Some(Ipv4Addr::LOCALHOST.into()),
        // What a route makes local is its own source over IPv4, and not over IPv6.
        IpAddr::V4(_) if local.owner(peer).is_some() => Some(peer),
        IpAddr::V6(_) if local.owner(peer).is_some() => any().or(Some(Ipv6Addr::LOCALHOST.into())),
        _ => addresses().find(|address| address.contains(&peer)).map(IpNet::addr).or_else(any),
    }
}

/// Whether datagrams to this address go to everyone who listens.
pub(crate) fn is_multicast_or_broadcast(interfaces: &[Interface], address: IpAddr) -> bool {
    let IpAddr::V4(v4) = address else { return address.is_multicast() };
    let is_broadcast_of = |net: &IpNet| match net {
        IpNet::V4(net) => net.prefix_len() < 31 && net.broadcast() == v4,
        IpNet::V6(_) => false,
    };
    let of_a_network = || interfaces.iter().flat_map(|interface| &interface.addresses).any(is_broadcast_of);
    v4.is_multicast() || v4.is_broadcast() || of_a_network()
}

fn mapped_length(prefix: &IpNet) -> u8 {
    match prefix {
        IpNet::V4(net) => net.prefix_len() + 96,
        IpNet::V6(net) => net.prefix_len(),
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(index: u32, addresses: &[&str]) -> Interface {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        Interface { index, name: format!("if{index}"), addresses, vrf: None }
    }

    fn owner(local: &LocalAddresses, address: &str) -> Option<u32> {
        local.owner(address.parse().unwrap())
    }

    #[test]
    fn a_local_address_belongs_to_the_interface_that_has_it() {
        let interfaces = [interface(1, &["127.0.0.1/8", "::1/128"]), interface(2, &["192.0.2.1/24", "2001:db8::1/64"])];
        let local =
            LocalAddresses::of(&interfaces, &["198.51.100.0/24".parse().unwrap(), "2001:db8:1::/48".parse().unwrap()]);
        for (address, expected) in [
            ("192.0.2.1", Some(2)),
            ("192.0.2.2", None),
            ("127.9.9.9", Some(1)),
            ("198.51.100.255", Some(1)),
            ("198.51.101.0", None),
            ("2001:db8::1", Some(2)),
            ("2001:db8:1:ffff::", Some(1)),
            ("2001:db8:2::", None),
        ] {
            assert_eq!(owner(&local, address), expected, "{address}");
        }
    }

    #[test]
    fn a_default_route_is_local_for_its_own_family_only() {
        let v4 = LocalAddresses::of(&[], &["0.0.0.0/0".parse().unwrap()]);
        assert_eq!((owner(&v4, "1.2.3.4"), owner(&v4, "2001:db8::1")), (Some(1), None));
        let v6 = LocalAddresses::of(&[], &["::/0".parse().unwrap()]);
        assert_eq!((owner(&v6, "1.2.3.4"), owner(&v6, "2001:db8::1")), (None, Some(1)));
    }

    #[test]
    fn the_source_of_a_connection_is_what_linux_takes() {
        let interfaces = [interface(1, &["127.0.0.1/8", "::1/128"]), interface(2, &["192.0.2.1/24", "2001:db8::1/64"])];
        let routes = ["198.51.100.0/24".parse().unwrap(), "2001:db8:5::/48".parse().unwrap()];
        let local = LocalAddresses::of(&interfaces, &routes);
        for (peer, source) in [
            ("127.0.0.2", "127.0.0.1"),
            ("192.0.2.1", "192.0.2.1"),
            ("192.0.2.55", "192.0.2.1"),
            ("198.51.100.7", "198.51.100.7"),
            ("::1", "::1"),
            ("2001:db8::1", "2001:db8::1"),
            ("2001:db8::55", "2001:db8::1"),
            ("2001:db8:5::7", "2001:db8::1"),
        ] {
            let found = source_for(&interfaces, &local, peer.parse().unwrap());
            assert_eq!(found, Some(source.parse().unwrap()), "{peer}");
        }
        assert_eq!(source_for(&interfaces[..1], &local, "203.0.113.1".parse().unwrap()), None);
    }

    #[test]
    fn broadcasts_are_those_of_the_networks_that_there_are() {
        let interfaces = [interface(2, &["192.0.2.1/24"])];
        for (address, expected) in [
            ("192.0.2.255", true),
            ("192.0.3.255", false),
            ("255.255.255.255", true),
            ("224.0.0.1", true),
            ("ff02::1", true),
        ] {
            assert_eq!(is_multicast_or_broadcast(&interfaces, address.parse().unwrap()), expected, "{address}");
        }
    }
}
