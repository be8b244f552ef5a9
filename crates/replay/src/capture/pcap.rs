//! The older format: a header, then records of one link layer.
//!
//! Source: draft-ietf-opsawg-pcap, sections 4 (file header) and 5 (packet record).

use std::io::Read;

use super::{Fault, Found, LONGEST, Order, Source, Stop};

/// Length of the file's header, in bytes.
pub const HEADER: usize = 24;

/// Length of a record's header, in bytes.
const RECORD: usize = 16;

/// What a capture keeps of a packet at most, unless its header says more, in bytes.
const USUAL_SNAPLEN: usize = 262_144;

/// What the header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pcap {
    order: Order,
    link: u16,
    /// The longest record there can be, in bytes.
    longest: usize,
}

impl Pcap {
    /// Reads a header; `None` for what is none.
    pub fn read_header(bytes: &[u8]) -> Option<Pcap> {
        // 0xa1b2c3d4: microseconds, 0xa1b23c4d: nanoseconds. What the clock said does not matter here.
        let order = match bytes.first_chunk()? {
            [0xd4, 0xc3, 0xb2, 0xa1] | [0x4d, 0x3c, 0xb2, 0xa1] => Order::Little,
            [0xa1, 0xb2, 0xc3, 0xd4] | [0xa1, 0xb2, 0x3c, 0x4d] => Order::Big,
            _ => return None,
        };
        let snaplen = order.u32(bytes, 16)? as usize;
        // The upper half says how long checksums at the end of frames are.
        let link = order.u32(bytes, 20)? as u16;
        Some(Pcap { order, link, longest: snaplen.clamp(USUAL_SNAPLEN, LONGEST) })
    }

    /// Finds the record at the place where the source stands.
    pub fn find<R: Read>(self, source: &mut Source<R>) -> Result<Found, Stop> {
        if !source.wants(RECORD)? {
            return Err(if source.at_hand().is_empty() { Stop::End } else { Stop::Lost(Fault::CutOff) });
        }
        let header = source.at_hand();
        let number = |at| self.order.u32(header, at).expect("the header is at hand");
        let (kept, original) = (number(8), number(12));
        if kept as usize > self.longest {
            // Behind a wrong length nothing says where the next record is.
            return Err(Stop::Lost(Fault::TooLong { claimed: kept, longest: self.longest }));
        }
        let whole = RECORD + kept as usize;
        if !source.wants(whole)? {
            return Err(Stop::Lost(Fault::CutOff));
        }
        Ok(Found::Packet { link: self.link, from: RECORD, to: whole, original, interface: None, way: None, whole })
    }
}
