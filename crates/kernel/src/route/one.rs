//! What routing does with one packet, asked of the kernel (`RTM_GETROUTE`). It takes no rights.

use std::net::IpAddr;

use rustix::io::Errno;
use zerocopy::{FromBytes, FromZeros};

use super::{RTA_DST, RTA_OIF, RTM_GETROUTE, RouteHead};
use crate::error::{Error, Result};
use crate::interface::{self, family_of, octets};
use crate::netlink::{Writer, attributes};

const RTA_SRC: u16 = 2;
const RTA_IIF: u16 = 3;

/// Answer with the entry of the table itself, not with what becomes of it. Since: Linux 4.13.
const RTM_F_FIB_MATCH: u32 = 0x2000;

/// Where a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// What kind of destination it is.
    pub kind: RouteKind,
    /// Index of the interface of the entry; of a local address the one that owns it, where packets of the host to itself
    /// seem to come in.
    pub interface: Option<u32>,
}

/// A kind of destination (`RTN_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteKind {
    /// Somebody else, through an interface.
    Unicast,
    /// This host.
    Local,
    /// Everybody on a network.
    Broadcast,
    /// Everybody who has joined.
    Multicast,
    /// Nobody, by order of a route (blackhole, unreachable, prohibit) or of one that we don't know, by the kernel's number.
    Other(u8),
}

impl RouteKind {
    fn from_number(number: u8) -> RouteKind {
        match number {
            1 => RouteKind::Unicast,
            2 => RouteKind::Local,
            3 | 4 => RouteKind::Broadcast, // anycast is delivered as broadcast is
            5 => RouteKind::Multicast,
            other => RouteKind::Other(other),
        }
    }
}

/// The entry of the routing tables that a packet of this host takes; `None`: there is none.
///
/// `source` is the address it leaves from, where that is known: rules may look at it.
///
/// # Errors
/// EINVAL for a source that this host does not have; what else the call answers.
pub fn toward(destination: IpAddr, source: Option<IpAddr>) -> Result<Option<Route>> {
    ask(destination, source, None)
}

/// What becomes of a packet that comes in through an interface; `None`: it is dropped, by reverse-path filtering, as a
/// martian, or for want of a route.
///
/// # Errors
/// ENODEV if there is no such interface; what else the call answers.
pub fn arriving(interface: u32, source: IpAddr, destination: IpAddr) -> Result<Option<Route>> {
    match ask(destination, Some(source), Some(interface)) {
        // Reverse-path filtering; a source that can't come from there.
        Err(error) if matches!(error.errno(), Errno::XDEV | Errno::INVAL) => Ok(None),
        answer => answer,
    }
}

fn ask(destination: IpAddr, source: Option<IpAddr>, input: Option<u32>) -> Result<Option<Route>> {
    let bits = |address: IpAddr| if address.is_ipv4() { 32 } else { 128 };
    let head = RouteHead {
        family: family_of(destination),
        destination_length: bits(destination),
        source_length: source.map_or(0, bits),
        flags: if input.is_none() { RTM_F_FIB_MATCH } else { 0 },
        ..RouteHead::new_zeroed()
    };
    let mut request = Writer::new(&head).attribute(RTA_DST, &octets(destination));
    if let Some(source) = source {
        request = request.attribute(RTA_SRC, &octets(source));
    }
    if let Some(input) = input {
        request = request.attribute(RTA_IIF, &input.to_ne_bytes());
    }
    let answer = interface::open().and_then(|mut netlink| netlink.ask(RTM_GETROUTE, &request.finish(), route));
    match answer {
        Ok(route) => Ok(Some(route)),
        Err(Errno::NETUNREACH | Errno::HOSTUNREACH | Errno::ACCESS) => Ok(None),
        Err(errno) => Err(Error::new("RTM_GETROUTE", destination.to_string(), errno)),
    }
}

fn route(payload: &[u8]) -> Option<Route> {
    let (head, rest) = RouteHead::read_from_prefix(payload).ok()?;
    let interface = attributes(rest).find(|(kind, _)| *kind == RTA_OIF);
    let interface = interface.and_then(|(_, value)| Some(u32::from_ne_bytes(value.try_into().ok()?)));
    Some(Route { kind: RouteKind::from_number(head.kind), interface })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_cut_short_is_no_route() {
        let head = RouteHead { kind: 2, ..RouteHead::new_zeroed() };
        let whole = Writer::new(&head).attribute(RTA_OIF, &7u32.to_ne_bytes()).finish();
        assert_eq!(route(&whole), Some(Route { kind: RouteKind::Local, interface: Some(7) }));
        assert_eq!(route(&whole[..size_of::<RouteHead>() - 1]), None);
        let short = Some(Route { kind: RouteKind::Local, interface: None });
        assert_eq!(route(&whole[..whole.len() - 1]), short, "without what was cut");
    }
}
