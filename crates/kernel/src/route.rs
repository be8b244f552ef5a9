//! Routes: which destinations are this machine's own, and what becomes of one packet.
//!
//! A packet reaches the hook only if a route of type `local` covers its destination; everything else is forwarded or
//! dropped before any socket is looked for.

mod one;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use ipnet::IpNet;
use rustix::io::Errno;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

use crate::error::{Error, Result};
use crate::interface::{self, AF_INET, AF_INET6, address, family_of, octets};
use crate::netlink::{Writer, attributes, flag};
pub use one::{Route, RouteKind, arriving, toward};

const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;

const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;

const RT_TABLE_LOCAL: u8 = 255;
const RTPROT_STATIC: u8 = 4;
const RT_SCOPE_HOST: u8 = 254;
const RTN_LOCAL: u8 = 2;

/// The destinations that are local in a network namespace, ready to be asked about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalRoutes {
    // Sorted, without overlap or touch: a prefix is local when one of them holds both of its ends.
    v4: Vec<RangeInclusive<u32>>,
    v6: Vec<RangeInclusive<u128>>,
}

impl LocalRoutes {
    /// Those of the current namespace.
    pub fn read() -> Result<LocalRoutes> {
        Ok(local_prefixes()?.into_iter().collect())
    }

    /// Whether every address of the prefix is local. Takes a binary search.
    pub fn covers(&self, prefix: &IpNet) -> bool {
        match prefix {
            IpNet::V4(net) => covers(&self.v4, net.network().to_bits(), net.broadcast().to_bits()),
            IpNet::V6(net) => covers(&self.v6, net.network().to_bits(), net.broadcast().to_bits()),
        }
    }
}

impl FromIterator<IpNet> for LocalRoutes {
    fn from_iter<I: IntoIterator<Item = IpNet>>(prefixes: I) -> LocalRoutes {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for prefix in prefixes {
            match prefix {
                IpNet::V4(net) => v4.push(net.network().to_bits()..=net.broadcast().to_bits()),
                IpNet::V6(net) => v6.push(net.network().to_bits()..=net.broadcast().to_bits()),
            }
        }
        LocalRoutes { v4: merged(v4, |end| end.checked_add(1)), v6: merged(v6, |end| end.checked_add(1)) }
    }
}

/// The prefixes of all local routes of the current namespace, in every routing table, of both families.
///
/// Tables are not told apart: a rule may lead only some packets into one, and then this says "local" for all.
pub fn local_prefixes() -> Result<Vec<IpNet>> {
    let fail = |errno| Error::new("RTM_GETROUTE", "the local routes", errno);
    let mut netlink = interface::open().map_err(fail)?;
    let mut found = Vec::new();
    for family in [AF_INET, AF_INET6] {
        let head = RouteHead { family, ..RouteHead::new_zeroed() };
        match netlink.dump(RTM_GETROUTE, head.as_bytes(), local_prefix) {
            Ok(prefixes) => found.extend(prefixes),
            // A kernel without IPv6 has no routes of it.
            Err(Errno::OPNOTSUPP | Errno::AFNOSUPPORT) if family == AF_INET6 => {}
            Err(errno) => return Err(fail(errno)),
        }
    }
    Ok(found)
}

/// Makes a prefix local, like `ip route add local PREFIX dev lo`.
pub fn add_local_route(prefix: IpNet) -> Result<()> {
    let head = RouteHead {
        family: family_of(prefix.addr()),
        destination_length: prefix.prefix_len(),
        table: RT_TABLE_LOCAL,
        protocol: RTPROT_STATIC,
        scope: RT_SCOPE_HOST,
        kind: RTN_LOCAL,
        ..RouteHead::new_zeroed()
    };
    let payload = Writer::new(&head)
        .attribute(RTA_DST, &octets(prefix.network()))
        .attribute(RTA_OIF, &interface::LOOPBACK.to_ne_bytes())
        .finish();
    interface::open()
        .and_then(|mut netlink| netlink.change(RTM_NEWROUTE, flag::CREATE | flag::EXCL, &payload))
        .map_err(|errno| Error::new("RTM_NEWROUTE", format!("local {prefix} dev lo"), errno))
}

fn local_prefix(payload: &[u8]) -> Option<IpNet> {
    let (head, rest) = RouteHead::read_from_prefix(payload).ok()?;
    if head.kind != RTN_LOCAL {
        return None;
    }
    let address = match attributes(rest).find(|(kind, _)| *kind == RTA_DST) {
        Some((_, value)) => address(value)?,
        // Without a destination it is for all of the family.
        None if head.family == AF_INET => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        None => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    IpNet::new(address, head.destination_length).ok()
}

/// Sorts ranges and joins those that overlap or touch; `after` is the next number, if there is one.
fn merged<T: Ord + Copy>(mut ranges: Vec<RangeInclusive<T>>, after: impl Fn(T) -> Option<T>) -> Vec<RangeInclusive<T>> {
    ranges.sort_by_key(|range| *range.start());
    let mut merged: Vec<RangeInclusive<T>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match merged.last_mut() {
            // No number after its end: it reaches to the last address, so it holds whatever starts later.
            Some(last) if after(*last.end()).is_none_or(|next| *range.start() <= next) => {
                *last = *last.start()..=(*last.end()).max(*range.end());
            }
            _ => merged.push(range),
        }
    }
    merged
}

fn covers<T: Ord + Copy>(ranges: &[RangeInclusive<T>], first: T, last: T) -> bool {
    let at = ranges.partition_point(|range| *range.start() <= first);
    at.checked_sub(1).is_some_and(|at| last <= *ranges[at].end())
}

/// `struct rtmsg`.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct RouteHead {
    family: u8,
    destination_length: u8, // bits
    source_length: u8,
    tos: u8,
    table: u8,
    protocol: u8,
    scope: u8,
    kind: u8,
    flags: u32,
}
const _: () = assert!(size_of::<RouteHead>() == 12);

#[cfg(test)]
mod tests {
    use super::*;

    fn routes(prefixes: &[&str]) -> LocalRoutes {
        prefixes.iter().map(|prefix| prefix.parse::<IpNet>().unwrap()).collect()
    }

    fn covers(routes: &LocalRoutes, prefix: &str) -> bool {
        routes.covers(&prefix.parse().unwrap())
    }

    #[test]
    fn a_prefix_is_covered_by_a_wider_one_and_not_by_a_narrower() {
        let routes = routes(&["127.0.0.0/8", "192.0.2.0/25", "2001:db8::/64"]);
        assert!(covers(&routes, "127.1.0.0/16"));
        assert!(covers(&routes, "192.0.2.127/32"));
        assert!(!covers(&routes, "192.0.2.0/24"));
        assert!(!covers(&routes, "10.0.0.0/32"));
        assert!(covers(&routes, "2001:db8::1/128"));
        assert!(!covers(&routes, "2001:db8::/48"));
    }

    #[test]
    fn halves_that_touch_cover_the_whole() {
        let routes = routes(&["192.0.2.128/25", "192.0.2.0/25", "192.0.2.3/32", "128.0.0.0/1", "0.0.0.0/1"]);
        assert!(covers(&routes, "192.0.2.0/24"));
        assert!(covers(&routes, "0.0.0.0/0"));
        assert!(!covers(&routes, "::/0"));
    }

    #[test]
    fn nothing_covers_nothing() {
        assert!(!covers(&LocalRoutes::default(), "0.0.0.0/0"));
    }
}
