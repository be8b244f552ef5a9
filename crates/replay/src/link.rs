//! Link layers: where the IP packet begins in a frame, and what the frame says beside it.
//!
//! Source: the list of LINKTYPE_ values at tcpdump.org, and IEEE 802.3, 802.1Q and 802.1ad for Ethernet.

use crate::capture::Way;

/// An IP packet taken out of its frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// From the IP header on.
    pub packet: &'a [u8],
    /// Which way it went, if the frame says so.
    pub way: Option<Way>,
    /// Whether it bears a VLAN tag: then it reaches the host through another interface than the one that was recorded.
    pub tagged: bool,
    /// The index of its interface, as the host counted them.
    pub index: Option<u32>,
}

/// Why there is no packet to be had from a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoPacket {
    /// A link layer that is not read here.
    Unread,
    /// The frame ends before its packet begins.
    CutOff,
    /// It holds something else than IP.
    NotIp,
}

/// Name and reader of a link layer.
struct Layer {
    number: u16,
    name: &'static str,
    read: for<'a> fn(&'a [u8]) -> Result<Frame<'a>, NoPacket>,
}

/// All that are read.
const LAYERS: [Layer; 10] = [
    Layer { number: 0, name: "null", read: null },
    Layer { number: 1, name: "ethernet", read: ethernet },
    Layer { number: 12, name: "raw", read: raw },
    Layer { number: 14, name: "raw", read: raw },
    Layer { number: 101, name: "raw", read: raw },
    Layer { number: 108, name: "loop", read: null },
    Layer { number: 113, name: "linux-sll", read: cooked },
    Layer { number: 228, name: "ipv4", read: raw },
    Layer { number: 229, name: "ipv6", read: raw },
    Layer { number: 276, name: "linux-sll2", read: cooked_v2 },
];

/// What a link layer is called; `None` for one that is not read.
pub fn name(link: u16) -> Option<&'static str> {
    layer(link).map(|layer| layer.name)
}

/// Takes the IP packet out of a frame of the link layer of this number.
pub fn unframe(link: u16, frame: &[u8]) -> Result<Frame<'_>, NoPacket> {
    (layer(link).ok_or(NoPacket::Unread)?.read)(frame)
}

fn layer(link: u16) -> Option<&'static Layer> {
    LAYERS.iter().find(|layer| layer.number == link)
}

/// Nothing before the packet.
fn raw(frame: &[u8]) -> Result<Frame<'_>, NoPacket> {
    Ok(Frame { packet: frame, way: None, tagged: false, index: None })
}

/// Four bytes with the address family, whose numbers differ between systems, in the byte order of one of them. What follows
/// says itself whether it is IP: no family but those of IP has a version of 4 or 6 there for long.
fn null(frame: &[u8]) -> Result<Frame<'_>, NoPacket> {
    /// AF_INET everywhere; AF_INET6 on Linux, NetBSD and OpenBSD, FreeBSD, macOS.
    const FAMILIES: [u32; 5] = [2, 10, 24, 28, 30];
    let (family, packet) = frame.split_first_chunk().ok_or(NoPacket::CutOff)?;
    let is_ip =
        [u32::from_le_bytes(*family), u32::from_be_bytes(*family)].iter().any(|family| FAMILIES.contains(family));
    if is_ip { raw(packet) } else { Err(NoPacket::NotIp) }
}

/// Destination, source, type.
fn ethernet(frame: &[u8]) -> Result<Frame<'_>, NoPacket> {
    const GROUP: u8 = 1; // of the first byte sent: to many
    let kind = word(frame, 12)?;
    let to_many = frame[0] & GROUP != 0;
    let found = of_type(kind, &frame[14..])?;
    Ok(Frame { way: to_many.then_some(Way::ToMany), ..found })
}

/// What happened (2 bytes), kind of device (2), address (2 for its length, 8), type (2).
fn cooked(frame: &[u8]) -> Result<Frame<'_>, NoPacket> {
    let found = of_type(word(frame, 14)?, &frame[16..])?;
    Ok(Frame { way: cooked_way(word(frame, 0)?), ..found })
}

/// Type (2 bytes), zeros (2), index of the interface (4), kind of device (2), what happened (1), address (1 for its length, 8).
fn cooked_v2(frame: &[u8]) -> Result<Frame<'_>, NoPacket> {
    let packet = frame.get(20..).ok_or(NoPacket::CutOff)?;
    let found = of_type(word(frame, 0)?, packet)?;
    let index = u32::from_be_bytes([frame[4], frame[5], frame[6], frame[7]]);
    Ok(Frame { way: cooked_way(frame[10].into()), index: Some(index), ..found })
}

/// The PACKET_ values of `linux/if_packet.h`.
fn cooked_way(happened: u16) -> Option<Way> {
    match happened {
        0 => Some(Way::ToHost),
        1 | 2 => Some(Way::ToMany),
        3 => Some(Way::ToOthers),
        4 => Some(Way::FromHost),
        _ => None,
    }
}

/// What a frame of this type holds, behind its VLAN tags.
fn of_type(mut kind: u16, mut rest: &[u8]) -> Result<Frame<'_>, NoPacket> {
    const IPV4: u16 = 0x0800;
    const IPV6: u16 = 0x86dd;
    /// 802.1Q, 802.1ad, and what was used for the outer tag before there was one.
    const TAGS: [u16; 3] = [0x8100, 0x88a8, 0x9100];
    let mut tagged = false;
    while TAGS.contains(&kind) {
        // Priority and number of the VLAN, then the type of what follows.
        kind = word(rest, 2)?;
        rest = &rest[4..];
        tagged = true;
    }
    match kind {
        IPV4 | IPV6 => Ok(Frame { packet: rest, way: None, tagged, index: None }),
        _ => Err(NoPacket::NotIp),
    }
}

/// The number that begins at `at`, in network order.
fn word(bytes: &[u8], at: usize) -> Result<u16, NoPacket> {
    let bytes = bytes.get(at..).and_then(|rest| rest.first_chunk()).ok_or(NoPacket::CutOff)?;
    Ok(u16::from_be_bytes(*bytes))
}
