//! IP headers, with the extension headers behind them.
//!
//! Source: RFC 791, section 3.1; RFC 8200, sections 3 and 4; RFC 4302, section 2.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What IP's headers say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Headers<'a> {
    pub source: IpAddr,
    pub destination: IpAddr,
    /// How long the packet says it is, in bytes; 0 where it does not say.
    pub length: u64,
    /// Which part of a datagram it is; `None` for a whole one.
    pub part: Option<Part>,
    /// What follows: the protocol and its bytes, as far as they were kept. `None`: extension headers are broken or cut off.
    pub payload: Option<(u8, &'a [u8])>,
}

/// A fragment's place in its datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// In units of eight bytes.
    pub offset: u16,
    /// Whether others come behind it.
    pub more: bool,
    pub of: Fragment,
}

/// Of which datagram a fragment is, among those with the same addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fragment {
    /// Chosen by the sender.
    pub identification: u32,
    /// IPv4 tells datagrams of different protocols apart; 0 for IPv6, which does not.
    pub protocol: u8,
}

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION_OPTIONS: u8 = 60;

/// Reads the headers; `None` where there are none, or they are cut off before the addresses.
pub fn read(packet: &[u8]) -> Option<Headers<'_>> {
    match packet.first()? >> 4 {
        4 => v4(packet),
        6 => v6(packet),
        _ => None,
    }
}

fn v4(packet: &[u8]) -> Option<Headers<'_>> {
    const WORD: usize = 4;
    let header: &[u8; 20] = packet.first_chunk()?;
    let header_length = usize::from(header[0] & 0xf) * WORD;
    if header_length < header.len() {
        return None;
    }
    let rest = packet.get(header_length..)?;
    let [length, identification, place] = [2, 4, 6].map(|at| u16::from_be_bytes([header[at], header[at + 1]]));
    let protocol = header[9];
    let part = Part {
        offset: place & 0x1fff,
        more: place & 0x2000 != 0,
        of: Fragment { identification: identification.into(), protocol },
    };
    // Cards that cut segments themselves are handed packets whose length is not filled in.
    let length = if usize::from(length) < header_length { 0 } else { length };
    // Behind the packet a frame may be filled up.
    let rest = if length == 0 { rest } else { &rest[..rest.len().min(usize::from(length) - header_length)] };
    let later = part.offset > 0;
    let payload = match protocol {
        AUTHENTICATION if !later => authenticated(rest),
        _ => Some((protocol, rest)),
    };
    Some(Headers {
        source: IpAddr::V4(Ipv4Addr::from_octets(*header[12..].first_chunk()?)),
        destination: IpAddr::V4(Ipv4Addr::from_octets(*header[16..].first_chunk()?)),
        length: length.into(),
        part: (later || part.more).then_some(part),
        payload,
    })
}

fn v6(packet: &[u8]) -> Option<Headers<'_>> {
    let header: &[u8; 40] = packet.first_chunk()?;
    let length = u16::from_be_bytes([header[4], header[5]]);
    let rest = &packet[header.len()..];
    // 0: it is longer than can be said there.
    let rest = if length == 0 { rest } else { &rest[..rest.len().min(length.into())] };
    let (part, payload) = extensions(header[6], rest);
    Some(Headers {
        source: IpAddr::V6(Ipv6Addr::from_octets(*header[8..].first_chunk()?)),
        destination: IpAddr::V6(Ipv6Addr::from_octets(*header[24..].first_chunk()?)),
        length: if length == 0 { 0 } else { header.len() as u64 + u64::from(length) },
        part,
        payload,
    })
}

/// Goes through the headers behind that of IPv6. Each takes eight bytes at least, so there is an end to it.
fn extensions(mut next: u8, mut rest: &[u8]) -> (Option<Part>, Option<(u8, &[u8])>) {
    const UNIT: usize = 8;
    let mut part = None;
    let mut is_first = true;
    loop {
        let behind = match next {
            // Hosts drop packets that have it elsewhere.
            HOP_BY_HOP if !is_first => None,
            HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS => {
                let length = |rest: &[u8]| Some((usize::from(*rest.get(1)?) + 1) * UNIT);
                length(rest).and_then(|length| Some((*rest.first()?, rest.get(length..)?)))
            }
            AUTHENTICATION => authenticated(rest),
            FRAGMENT => match rest.first_chunk::<UNIT>() {
                Some(&[next, _, high, low, a, b, c, d]) => {
                    let place = u16::from_be_bytes([high, low]);
                    let of = Fragment { identification: u32::from_be_bytes([a, b, c, d]), protocol: 0 };
                    let found = Part { offset: place >> 3, more: place & 1 == 1, of };
                    if found.offset > 0 {
                        // It begins anywhere in its datagram: whatever looks like a header in it is none.
                        return (Some(found), Some((next, &rest[UNIT..])));
                    }
                    // One that is all of its datagram is none.
                    part = part.or(Some(found).filter(|found| found.more));
                    Some((next, &rest[UNIT..]))
                }
                None => None,
            },
            _ => return (part, Some((next, rest))),
        };
        match behind {
            Some(behind) => (next, rest) = behind,
            None => return (part, None),
        }
        is_first = false;
    }
}

/// What follows an authentication header, whose length is in units of four bytes, two less than there are.
fn authenticated(rest: &[u8]) -> Option<(u8, &[u8])> {
    const WORD: usize = 4;
    let length = (usize::from(*rest.get(1)?) + 2) * WORD;
    Some((*rest.first()?, rest.get(length..)?))
}
