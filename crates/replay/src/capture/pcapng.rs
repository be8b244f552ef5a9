//! The newer format: sections of blocks, each with its type and its length at both ends.
//!
//! Source: draft-ietf-opsawg-pcapng, sections 3.1 (blocks), 3.5 (options) and 4.1 to 4.4; appendix A for the packet block
//! that was replaced.

use std::io::Read;

use super::{Fault, Found, LONGEST, Order, Source, Stop, Way};

const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const OLD_PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;

const BYTE_ORDER: u32 = 0x1a2b_3c4d;

/// `if_name` of an interface, and `epb_flags` and `pack_flags` of a packet.
const NAME_OR_FLAGS: u16 = 2;

/// Type and length before a block's body, the length again behind it; in bytes.
const FRAME: usize = 12;

/// A section's header with all that must be in it, in bytes.
const SHORTEST_SECTION: usize = 28;

/// How many interfaces are kept; each takes 20 bytes of a file, and some memory.
const MOST_INTERFACES: usize = 10_000;

/// Whether bytes begin as a section does, in any byte order.
pub fn begins(bytes: &[u8]) -> bool {
    bytes.starts_with(&SECTION.to_be_bytes())
}

/// What was read of a section, and the interfaces of all sections.
#[derive(Debug, Default)]
pub struct Pcapng {
    section: Option<Section>,
    interfaces: Vec<Interface>,
}

#[derive(Debug, Clone, Copy)]
struct Section {
    order: Order,
    /// Its first interface in `interfaces`.
    first: usize,
}

#[derive(Debug)]
struct Interface {
    link: u16,
    /// What is kept of a packet, in bytes; 0: everything.
    snaplen: u32,
    name: Option<Box<str>>,
}

impl Pcapng {
    /// What the interface of a packet is called.
    pub fn name(&self, number: u32) -> Option<&str> {
        self.interfaces.get(number as usize)?.name.as_deref()
    }

    /// Finds the block at the place where the source stands.
    pub fn find<R: Read>(&mut self, source: &mut Source<R>) -> Result<Found, Stop> {
        if !source.wants(FRAME)? {
            return Err(if source.at_hand().is_empty() { Stop::End } else { Stop::Lost(Fault::CutOff) });
        }
        // Reads the same in both orders; the order of a section is told by its first word.
        let kind = Order::Little.u32(source.at_hand(), 0);
        if kind == Some(SECTION) {
            if !source.wants(SHORTEST_SECTION)? {
                return Err(Stop::Lost(Fault::CutOff));
            }
            self.begin(source.at_hand())?;
        }
        let Some(Section { order, first }) = self.section else { return Err(Stop::Lost(Fault::Incomplete)) };
        let number = |at| order.u32(source.at_hand(), at).expect("the frame is at hand");
        let (kind, length) = (number(0), number(4));
        let whole = length as usize;
        if whole < FRAME || !whole.is_multiple_of(4) {
            return Err(Stop::Lost(Fault::BlockLength(length)));
        }
        if whole > LONGEST {
            return Err(Stop::Lost(Fault::TooLong { claimed: length, longest: LONGEST }));
        }
        if !source.wants(whole)? {
            return Err(Stop::Lost(Fault::CutOff));
        }
        let block = &source.at_hand()[..whole];
        let after = order.u32(block, whole - 4).expect("a block ends with its length");
        if after != length {
            return Err(Stop::Lost(Fault::LengthsDiffer { before: length, after }));
        }
        let body = &block[8..whole - 4];
        let interfaces = &self.interfaces[first..];
        let packet = match kind {
            INTERFACE => {
                // Left out, it would have those after it take each other's numbers.
                self.describe(order, body).map_err(Stop::Lost)?;
                return Ok(Found::Other(whole));
            }
            ENHANCED_PACKET => Packet::enhanced(order, body),
            OLD_PACKET => Packet::old(order, body),
            SIMPLE_PACKET => Packet::simple(order, body, interfaces.first()),
            _ => return Ok(Found::Other(whole)),
        };
        let Some(Packet { interface, from, to, original, way }) = packet else {
            return Ok(Found::Broken(Fault::Incomplete, whole));
        };
        let Some(described) = interfaces.get(interface as usize) else {
            return Ok(Found::Broken(Fault::NoSuchInterface(interface), whole));
        };
        let interface = Some(first as u32 + interface);
        Ok(Found::Packet { link: described.link, from: 8 + from, to: 8 + to, original, interface, way, whole })
    }

    /// Begins a section: from here on its byte order holds, and its own interfaces.
    fn begin(&mut self, block: &[u8]) -> Result<(), Stop> {
        let magic = Order::Big.u32(block, 8).expect("the frame is at hand");
        let order = match magic {
            BYTE_ORDER => Order::Big,
            _ if magic.swap_bytes() == BYTE_ORDER => Order::Little,
            _ => return Err(Stop::Lost(Fault::ByteOrder(magic))),
        };
        match order.u16(block, 12).expect("it is at hand") {
            1 => self.section = Some(Section { order, first: self.interfaces.len() }),
            major => return Err(Stop::Lost(Fault::Version(major))),
        }
        Ok(())
    }

    /// Takes in what is said of an interface.
    fn describe(&mut self, order: Order, body: &[u8]) -> Result<(), Fault> {
        let (Some(link), Some(snaplen)) = (order.u16(body, 0), order.u32(body, 4)) else {
            return Err(Fault::Incomplete);
        };
        if self.interfaces.len() == MOST_INTERFACES {
            return Err(Fault::TooManyInterfaces);
        }
        let name = option(order, &body[8..], NAME_OR_FLAGS);
        let name = name.and_then(|name| std::str::from_utf8(name).ok()).map(|name| name.trim_end_matches('\0').into());
        self.interfaces.push(Interface { link, snaplen, name });
        Ok(())
    }
}

/// What a block says of its packet; places are in the body.
struct Packet {
    interface: u32,
    from: usize,
    to: usize,
    original: u32,
    way: Option<Way>,
}

impl Packet {
    /// Interface, time (two words), captured and original length, the packet, options.
    fn enhanced(order: Order, body: &[u8]) -> Option<Packet> {
        Packet::read(order, body, order.u32(body, 0)?)
    }

    /// The same with a count of lost packets in the upper half of the first word.
    fn old(order: Order, body: &[u8]) -> Option<Packet> {
        Packet::read(order, body, order.u16(body, 0)?.into())
    }

    fn read(order: Order, body: &[u8], interface: u32) -> Option<Packet> {
        const HEADER: usize = 20;
        let (kept, original) = (order.u32(body, 12)? as usize, order.u32(body, 16)?);
        let room = body.len() - HEADER;
        if kept > room {
            return None;
        }
        let options = &body[HEADER + kept.next_multiple_of(4).min(room)..];
        let flags = option(order, options, NAME_OR_FLAGS).and_then(|flags| order.u32(flags, 0));
        Some(Packet { interface, from: HEADER, to: HEADER + kept, original, way: flags.and_then(way) })
    }

    /// Original length and the packet, always of the first interface.
    fn simple(order: Order, body: &[u8], interface: Option<&Interface>) -> Option<Packet> {
        const HEADER: usize = 4;
        let original = order.u32(body, 0)?;
        let snaplen = interface.map_or(0, |interface| interface.snaplen);
        let kept = if snaplen == 0 { original } else { original.min(snaplen) } as usize;
        // Up to three bytes fill the last word; fewer than were kept are a block cut short.
        (kept <= body.len() - HEADER).then_some(Packet {
            interface: 0,
            from: HEADER,
            to: HEADER + kept,
            original,
            way: None,
        })
    }
}

/// The value of the first option of a kind. Options that overrun the block are not believed, nor what follows.
fn option(order: Order, mut options: &[u8], kind: u16) -> Option<&[u8]> {
    const END: u16 = 0;
    loop {
        let (found, length) = (order.u16(options, 0)?, usize::from(order.u16(options, 2)?));
        let value = options.get(4..4 + length)?;
        if found == kind {
            return Some(value);
        }
        if found == END {
            return None;
        }
        options = options.get(4 + length.next_multiple_of(4)..)?;
    }
}

/// The lowest bits of `epb_flags`: direction, then how it was received.
fn way(flags: u32) -> Option<Way> {
    const INBOUND: u32 = 1;
    const OUTBOUND: u32 = 2;
    const MULTICAST: u32 = 2;
    const BROADCAST: u32 = 3;
    const PROMISCUOUS: u32 = 4;
    match (flags & 0b11, flags >> 2 & 0b111) {
        (OUTBOUND, _) => Some(Way::FromHost),
        (_, PROMISCUOUS) => Some(Way::ToOthers),
        (INBOUND, MULTICAST | BROADCAST) => Some(Way::ToMany),
        (INBOUND, _) => Some(Way::ToHost),
        _ => None,
    }
}
