//! How a packet comes in: on which interface it is looked up, or why it never is.

use std::net::IpAddr;

use sklookup_kernel::interface::{self, Interface};
use sklookup_kernel::route::{self, Route, RouteKind};
use sklookup_kernel::{Errno, Netns};
use sklookup_policy::{Interface as Name, Packet, Protocol};
use sklookup_steering::Error;

/// Where the way of a packet leads before any socket is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// To the lookup.
    Lookup(Arrival),
    /// Elsewhere.
    Astray(Astray),
}

/// How a packet comes to the lookup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// How the interface was found.
    pub how: How,
    /// The interface that the lookup is for, by index and name; of several that can't be told apart all.
    pub interfaces: Vec<(u32, String)>,
    /// The interface belongs to this VRF.
    pub vrf: Option<u32>,
}

/// How the interface of a packet was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum How {
    /// The question names it.
    Named,
    /// The source is an address of this host: such a packet seems to come in where the owner of its destination is.
    HostLocal,
    /// The route to the source leads there.
    RouteBack,
    /// There is no route to the source: it can be any.
    Any,
}

/// Why a packet is not looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Astray {
    /// Its destination is no address of this host: it is forwarded or dropped.
    NotLocal,
    /// Routing drops what comes in there from that source: reverse-path filtering, or an address that can't be.
    Dropped,
    /// It goes to many, and every socket that takes it gets a copy.
    Copied,
}

/// Finds the way of a packet in the namespace of this thread; `netns` is what that is called.
pub(crate) fn find(packet: &Packet, netns: &Netns) -> Result<Way, Error> {
    let (source, destination) = (packet.source.ip(), packet.destination.ip());
    let all = interface::list()?;
    let named = packet.interface.as_ref().map(|name| by_name(&all, name, netns)).transpose()?;

    let owner = match destination_of(packet.protocol, destination)? {
        Ok(owner) => owner,
        Err(astray) => return Ok(Way::Astray(astray)),
    };
    let is_host_local = route::toward(source, None)?.is_some_and(|route| route.kind == RouteKind::Local);
    let (how, index) = match named {
        Some(named) if is_host_local && Some(named.index) == owner => (How::Named, Some(named.index)),
        None if is_host_local => (How::HostLocal, owner),
        Some(named) => (How::Named, Some(named.index)),
        None => (How::RouteBack, route_back(source, destination)?),
    };
    let Some(index) = index else { return any(&all, source, destination) };
    let comes_from_outside = !(is_host_local && Some(index) == owner);
    if comes_from_outside {
        match route::arriving(index, source, destination)? {
            None => return Ok(Way::Astray(Astray::Dropped)),
            Some(Route { kind: RouteKind::Local, .. }) => {}
            Some(_) => return Ok(Way::Astray(Astray::NotLocal)),
        }
    }
    let name = all.iter().find(|interface| interface.index == index).map(|interface| interface.name.clone());
    let vrf = interface::vrf_of(index)?;
    Ok(Way::Lookup(Arrival { how, interfaces: vec![(index, name.unwrap_or_default())], vrf }))
}

/// The interface of a name.
pub(crate) fn by_name<'a>(all: &'a [Interface], name: &Name, netns: &Netns) -> Result<&'a Interface, Error> {
    let known = all.iter().find(|interface| interface.name == name.as_str());
    known.ok_or_else(|| Error::Interface { interface: name.clone(), netns: netns.describe().to_owned() })
}

/// The interface that owns a local destination, or why packets to it are not looked up.
pub(crate) fn destination_of(protocol: Protocol, destination: IpAddr) -> Result<Result<Option<u32>, Astray>, Error> {
    let to_many = || match protocol {
        Protocol::Udp => Err(Astray::Copied),
        // TCP takes nothing that is not for this host alone.
        Protocol::Tcp => Err(Astray::Dropped),
    };
    let is_many = match destination {
        IpAddr::V4(v4) => v4.is_multicast() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_multicast(),
    };
    if is_many {
        return Ok(to_many());
    }
    Ok(match route::toward(destination, None)? {
        Some(Route { kind: RouteKind::Local, interface }) => Ok(interface),
        Some(Route { kind: RouteKind::Broadcast | RouteKind::Multicast, .. }) => to_many(),
        Some(_) | None => Err(Astray::NotLocal),
    })
}

/// The interface through which answers leave, if there is one.
fn route_back(source: IpAddr, destination: IpAddr) -> Result<Option<u32>, Error> {
    let route = match route::toward(source, Some(destination)) {
        // Not every address that is local here may send.
        Err(error) if error.errno() == Errno::INVAL => route::toward(source, None)?,
        answer => answer?,
    };
    Ok(route.filter(|route| route.kind == RouteKind::Unicast).and_then(|route| route.interface))
}

/// Any interface that is up and through which such a packet is let in.
fn any(all: &[Interface], source: IpAddr, destination: IpAddr) -> Result<Way, Error> {
    let mut interfaces = Vec::new();
    for interface in all.iter().filter(|interface| interface.up) {
        if route::arriving(interface.index, source, destination)?.is_some_and(|route| route.kind == RouteKind::Local) {
            interfaces.push((interface.index, interface.name.clone()));
        }
    }
    Ok(match &interfaces[..] {
        [] => Way::Astray(Astray::Dropped),
        _ => Way::Lookup(Arrival { how: How::Any, interfaces, vrf: None }),
    })
}
