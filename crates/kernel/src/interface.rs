//! Network interfaces of the calling thread's namespace, over rtnetlink.

use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd};

use ipnet::IpNet;
use rustix::io::Errno;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

use crate::error::{Error, Result};
use crate::netlink::{Netlink, Writer, attributes, flag};
use crate::netns::Netns;

/// The index of the loopback interface, the same in every namespace.
pub const LOOPBACK: u32 = 1;

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;

const IFLA_IFNAME: u16 = 3;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_INFO_SLAVE_KIND: u16 = 4;
const VETH_INFO_PEER: u16 = 1;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;

const IFF_UP: u32 = 1;
/// `IFA_F_NODAD`: the link is not asked whether someone else has the address.
const IFA_F_NODAD: u8 = 2;

/// An interface and what it is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Index, as in a program's context.
    pub index: u32,
    /// Name.
    pub name: String,
    /// Administratively up.
    pub up: bool,
    /// Its addresses, with the prefix length they were given.
    pub addresses: Vec<IpNet>,
}

/// The index of the interface of this name; `None`: there is none.
pub fn index_of(name: &str) -> Result<Option<u32>> {
    Ok(links()?.into_iter().find(|link| link.name == name).map(|link| link.index))
}

/// The name of the interface with this index; `None`: there is none.
pub fn name_of(index: u32) -> Result<Option<String>> {
    Ok(links()?.into_iter().find(|link| link.index == index).map(|link| link.name))
}

/// The index of the VRF that an interface belongs to.
pub fn vrf_of(index: u32) -> Result<Option<u32>> {
    let head = LinkHead { index, ..LinkHead::new_zeroed() };
    open()
        .and_then(|mut netlink| netlink.ask(RTM_GETLINK, head.as_bytes(), vrf))
        .map_err(|errno| Error::new("RTM_GETLINK", format!("interface {index}"), errno))
}

/// Every interface with its addresses, by index.
pub fn list() -> Result<Vec<Interface>> {
    let mut interfaces = links()?;
    let addresses = open()
        .and_then(|mut netlink| netlink.dump(RTM_GETADDR, AddressHead::new_zeroed().as_bytes(), address_from))
        .map_err(|errno| Error::new("RTM_GETADDR", "the addresses of all interfaces", errno))?;
    for (index, address) in addresses {
        if let Some(interface) = interfaces.iter_mut().find(|i| i.index == index) {
            interface.addresses.push(address);
        }
    }
    interfaces.sort_by_key(|i| i.index);
    Ok(interfaces)
}

/// Sets an interface up.
pub fn set_up(index: u32) -> Result<()> {
    let head = LinkHead { index, flags: IFF_UP, change: IFF_UP, ..LinkHead::new_zeroed() };
    change(RTM_NEWLINK, 0, head.as_bytes(), || format!("interface {index} up"))
}

/// Gives an interface an address. An IPv6 address is not tried for duplicates, but its local route comes a moment later,
/// from a kernel worker.
pub fn add_address(index: u32, address: IpNet) -> Result<()> {
    let head = AddressHead {
        family: family_of(address.addr()),
        prefix_length: address.prefix_len(),
        flags: if address.addr().is_ipv6() { IFA_F_NODAD } else { 0 },
        scope: 0,
        index,
    };
    let octets = octets(address.addr());
    let payload = Writer::new(&head).attribute(IFA_LOCAL, &octets).attribute(IFA_ADDRESS, &octets).finish();
    change(RTM_NEWADDR, flag::CREATE | flag::EXCL, &payload, || format!("{address} on interface {index}"))
}

/// Makes a pair of interfaces (down) that are each other's wire; answers both indices.
pub fn add_veth(name: &str, peer: &str) -> Result<(u32, u32)> {
    let link = |name| Writer::new(&LinkHead::new_zeroed()).attribute(IFLA_IFNAME, &terminated(name));
    let payload = link(name)
        .nest(IFLA_LINKINFO, |info| {
            info.attribute(IFLA_INFO_KIND, b"veth")
                .nest(IFLA_INFO_DATA, |data| data.attribute(VETH_INFO_PEER, &link(peer).finish()))
        })
        .finish();
    change(RTM_NEWLINK, flag::CREATE | flag::EXCL, &payload, || format!("interfaces {name} and {peer}"))?;
    Ok((made(name)?, made(peer)?))
}

/// Moves an interface to another namespace, where it is down and has no address.
pub fn move_to(index: u32, netns: &Netns) -> Result<()> {
    let head = LinkHead { index, ..LinkHead::new_zeroed() };
    let fd = netns.as_fd().as_raw_fd().to_ne_bytes();
    let payload = Writer::new(&head).attribute(IFLA_NET_NS_FD, &fd).finish();
    change(RTM_NEWLINK, 0, &payload, || format!("interface {index} to {}", netns.describe()))
}

/// Removes an interface; of a pair of veths, both.
pub fn remove(index: u32) -> Result<()> {
    let head = LinkHead { index, ..LinkHead::new_zeroed() };
    open()
        .and_then(|mut netlink| netlink.change(RTM_DELLINK, 0, head.as_bytes()))
        .map_err(|errno| Error::new("RTM_DELLINK", format!("interface {index}"), errno))
}

/// The index of an interface that was made just now.
fn made(name: &str) -> Result<u32> {
    index_of(name)?.ok_or_else(|| Error::new("RTM_GETLINK", format!("interface {name}"), Errno::NODEV))
}

fn change(kind: u16, flags: u16, payload: &[u8], object: impl FnOnce() -> String) -> Result<()> {
    let call = if kind == RTM_NEWADDR { "RTM_NEWADDR" } else { "RTM_NEWLINK" };
    open()
        .and_then(|mut netlink| netlink.change(kind, flags, payload))
        .map_err(|errno| Error::new(call, object(), errno))
}

fn links() -> Result<Vec<Interface>> {
    let read = |payload: &[u8]| {
        let (head, rest) = LinkHead::read_from_prefix(payload).ok()?;
        let (_, name) = attributes(rest).find(|(kind, _)| *kind == IFLA_IFNAME)?;
        let name = name.split(|b| *b == 0).next().unwrap_or_default();
        Some(Interface {
            index: head.index,
            name: String::from_utf8_lossy(name).into_owned(),
            up: head.flags & IFF_UP != 0,
            addresses: Vec::new(),
        })
    };
    open()
        .and_then(|mut netlink| netlink.dump(RTM_GETLINK, LinkHead::new_zeroed().as_bytes(), read))
        .map_err(|errno| Error::new("RTM_GETLINK", "all interfaces", errno))
}

fn vrf(payload: &[u8]) -> Option<Option<u32>> {
    let (_, rest) = LinkHead::read_from_prefix(payload).ok()?;
    let value = |wanted| attributes(rest).find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
    let is_slave = value(IFLA_LINKINFO)
        .is_some_and(|info| attributes(info).any(|(kind, value)| kind == IFLA_INFO_SLAVE_KIND && value == b"vrf\0"));
    let master = value(IFLA_MASTER).and_then(|master| Some(u32::from_ne_bytes(master.try_into().ok()?)));
    Some(master.filter(|_| is_slave))
}

fn address_from(payload: &[u8]) -> Option<(u32, IpNet)> {
    let (head, rest) = AddressHead::read_from_prefix(payload).ok()?;
    // On a point-to-point link IFA_ADDRESS is the peer's; IFA_LOCAL, where it is given, is always ours.
    let value = |wanted| attributes(rest).find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
    let address = address(value(IFA_LOCAL).or_else(|| value(IFA_ADDRESS))?)?;
    Some((head.index, IpNet::new(address, head.prefix_length).ok()?))
}

pub(crate) fn open() -> std::result::Result<Netlink, Errno> {
    Netlink::open(None)
}

/// An address as an attribute holds it.
pub(crate) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// An address from an attribute, if it has the length of one.
pub(crate) fn address(octets: &[u8]) -> Option<IpAddr> {
    match octets.len() {
        4 => <[u8; 4]>::try_from(octets).ok().map(IpAddr::from),
        _ => <[u8; 16]>::try_from(octets).ok().map(IpAddr::from),
    }
}

/// `AF_INET` or `AF_INET6`.
pub(crate) fn family_of(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => AF_INET,
        IpAddr::V6(_) => AF_INET6,
    }
}

pub(crate) const AF_INET: u8 = 2;
pub(crate) const AF_INET6: u8 = 10;

fn terminated(name: &str) -> Vec<u8> {
    [name.as_bytes(), &[0]].concat()
}

/// `struct ifinfomsg`.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct LinkHead {
    family: u8,
    padding: u8,
    kind: u16,
    index: u32,
    flags: u32,
    change: u32,
}
const _: () = assert!(size_of::<LinkHead>() == 16);

/// `struct ifaddrmsg`.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct AddressHead {
    family: u8,
    prefix_length: u8,
    flags: u8,
    scope: u8,
    index: u32,
}
const _: () = assert!(size_of::<AddressHead>() == 8);
