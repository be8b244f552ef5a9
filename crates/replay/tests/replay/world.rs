//! Files of both formats, and what a replay says of them in words.

use std::fmt::Write;

use sklookup_policy::{Origin, Policy, parse_binding};
use sklookup_replay::{Decided, Options, Report, replay};

/// A byte order, as functions that write.
#[derive(Clone, Copy)]
pub enum Order {
    Little,
    Big,
}

impl Order {
    pub fn u16(self, number: u16) -> [u8; 2] {
        match self {
            Order::Little => number.to_le_bytes(),
            Order::Big => number.to_be_bytes(),
        }
    }

    pub fn u32(self, number: u32) -> [u8; 4] {
        match self {
            Order::Little => number.to_le_bytes(),
            Order::Big => number.to_be_bytes(),
        }
    }
}

/// A pcap of these frames.
pub fn pcap(link: u16, frames: &[Vec<u8>]) -> Vec<u8> {
    pcap_as(Order::Little, 0xa1b2_c3d4, link, frames)
}

/// The same in a byte order, with the number for micro- or nanoseconds.
pub fn pcap_as(order: Order, magic: u32, link: u16, frames: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = order.u32(magic).to_vec();
    bytes.extend([order.u16(2), order.u16(4)].concat());
    bytes.extend([0, 0, 262_144, link.into()].map(|number| order.u32(number)).concat());
    for frame in frames {
        bytes.extend(record(order, frame, frame.len()));
    }
    bytes
}

/// A record of which so many bytes were kept.
pub fn record(order: Order, frame: &[u8], kept: usize) -> Vec<u8> {
    let mut bytes = [1, 2, kept as u32, frame.len() as u32].map(|number| order.u32(number)).concat();
    bytes.extend(&frame[..kept]);
    bytes
}

/// A block of a pcapng.
pub fn block(order: Order, kind: u32, body: &[u8]) -> Vec<u8> {
    let fill = body.len().next_multiple_of(4) - body.len();
    let length = order.u32((12 + body.len() + fill) as u32);
    [&order.u32(kind)[..], &length, body, &[0; 3][..fill], &length].concat()
}

/// The block that begins a section.
pub fn section(order: Order) -> Vec<u8> {
    let body = [&order.u32(0x1a2b_3c4d)[..], &order.u16(1), &order.u16(0), &[0xff; 8]].concat();
    block(order, 0x0a0d_0d0a, &body)
}

/// The block that describes an interface.
pub fn interface(order: Order, link: u16, name: Option<&str>) -> Vec<u8> {
    let mut body = [&order.u16(link)[..], &[0; 2], &order.u32(262_144)].concat();
    if let Some(name) = name {
        body.extend(option(order, 2, name.as_bytes()));
        body.extend([0; 4]);
    }
    block(order, 1, &body)
}

/// A packet of an interface; `flags` say which way it went.
pub fn enhanced(order: Order, interface: u32, frame: &[u8], flags: Option<u32>) -> Vec<u8> {
    let length = frame.len() as u32;
    let mut body = [interface, 1, 2, length, length].map(|number| order.u32(number)).concat();
    body.extend(frame);
    body.resize(body.len().next_multiple_of(4), 0);
    if let Some(flags) = flags {
        body.extend(option(order, 2, &order.u32(flags)));
        body.extend([0; 4]);
    }
    block(order, 6, &body)
}

fn option(order: Order, kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = [&order.u16(kind)[..], &order.u16(value.len() as u16), value].concat();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// A policy of these bindings.
pub fn policy(bindings: &[&str]) -> Policy {
    let entries = bindings.iter().flat_map(|line| parse_binding(line, Origin::Command("test".into())).unwrap());
    Policy::new(entries.collect()).unwrap()
}

/// What becomes of a capture that can be read.
pub fn report(capture: &[u8], options: &Options<'_>) -> Report {
    let report = replay(capture, options).unwrap();
    let in_rows: u64 = report.rows.iter().map(|row| row.traffic.packets).sum();
    let aside: u64 = report.aside.values().sum();
    assert_eq!(in_rows + aside, report.packets, "every packet is counted once: {report:?}");
    report
}

/// The same for one policy, with these addresses as the host's, in words: first what was decided, then what was set aside.
pub fn told(capture: &[u8], bindings: &[&str], local: &[&str]) -> String {
    let policy = policy(bindings);
    let local = local.iter().map(|prefix| prefix.parse().unwrap()).collect();
    in_words(&report(capture, &Options { local, ..Options::new(&policy) }), &policy)
}

/// `LABEL FLOWS/PACKETS` for each row, then `REASON PACKETS`.
pub fn in_words(report: &Report, policy: &Policy) -> String {
    let mut words = String::new();
    for row in &report.rows {
        let by = match row.by {
            Decided::Binding(index) => policy.entries()[index].binding.outcome.to_string(),
            Decided::NoBinding => "nobody".to_owned(),
            Decided::Interface => "depends".to_owned(),
        };
        write!(words, "{by} {}/{}; ", row.traffic.flows, row.traffic.packets).unwrap();
    }
    for (why, packets) in &report.aside {
        write!(words, "{why:?} {packets}; ").unwrap();
    }
    words.trim_end_matches("; ").to_owned()
}
