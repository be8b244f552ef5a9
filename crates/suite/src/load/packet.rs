//! Packets, written as `tcp 127.0.0.1:* > 127.0.0.1:7007`.

use std::net::{IpAddr, SocketAddr};

use sklookup_policy::Protocol;
use sklookup_policy::reading::quote;

use super::tree::{Node, Read, Wrong};
use crate::case::{Flags, Packet};

const FORM: &str = "\"tcp|udp SOURCE:PORT > DESTINATION:PORT [dev INTERFACE] [netns NAME] [flags syn,ack,...|none]\"; a \
                    source port * is any";

pub(super) fn packet(node: &Node, what: &str) -> Read<Packet> {
    let text = node.text(what, FORM)?;
    let wrong = |message: String, help: &str| Wrong::new(node.line, format!("{what}: {message}"), help);
    let form = || wrong(format!("{} is not a packet", quote(text)), &format!("write {FORM}"));
    let mut words = text.split_whitespace();
    let protocol = match words.next() {
        Some("tcp") => Protocol::Tcp,
        Some("udp") => Protocol::Udp,
        _ => return Err(form()),
    };
    let source = words.next().ok_or_else(form)?;
    let (source, source_port) = endpoint(source).ok_or_else(|| {
        wrong(
            format!("{} is not an address with a port", quote(source)),
            "write 127.0.0.1:40000, or 127.0.0.1:* for any port",
        )
    })?;
    if !matches!(words.next(), Some(">" | "to")) {
        return Err(form());
    }
    let destination = words.next().ok_or_else(form)?;
    let destination: SocketAddr = destination.parse().map_err(|_| {
        wrong(format!("{} is not an address with a port", quote(destination)), "write 127.0.0.1:7007 or [fd00::1]:7007")
    })?;
    if source.is_ipv4() != destination.is_ipv4() {
        return Err(wrong(
            format!("no packet goes from {source} to {destination}"),
            "source and destination are both IPv4 or both IPv6",
        ));
    }
    let mut packet = Packet { protocol, source, source_port, destination, interface: None, flags: None, netns: None };
    while let Some(word) = words.next() {
        let value =
            words.next().ok_or_else(|| wrong(format!("{} is the last word", quote(word)), &format!("write {FORM}")))?;
        match word {
            "dev" => packet.interface = Some(value.to_owned()),
            "netns" => packet.netns = Some(value.to_owned()),
            "flags" if protocol == Protocol::Tcp => {
                packet.flags = Some(flags(value).ok_or_else(|| {
                    wrong(
                        format!("{} are no TCP flags", quote(value)),
                        "write fin, syn, rst, psh, ack and urg with commas between, or none",
                    )
                })?)
            }
            "flags" => return Err(wrong("only TCP has flags".to_owned(), "leave flags out")),
            _ => {
                return Err(wrong(
                    format!("{} is no option of a packet", quote(word)),
                    "the options are dev, netns and flags",
                ));
            }
        }
    }
    if packet.flags.is_some() && packet.source_port.is_none() {
        return Err(wrong("a segment that stands alone has a source port".to_owned(), "write a number for *"));
    }
    Ok(packet)
}

/// An address, and a port unless it is `*`.
fn endpoint(text: &str) -> Option<(IpAddr, Option<u16>)> {
    match text.strip_suffix(":*") {
        Some(address) => {
            let any: SocketAddr = format!("{address}:0").parse().ok()?;
            Some((any.ip(), None))
        }
        None => {
            let fixed: SocketAddr = text.parse().ok()?;
            Some((fixed.ip(), Some(fixed.port())))
        }
    }
}

fn flags(text: &str) -> Option<Flags> {
    if text == "none" {
        return Some(Flags(0));
    }
    let bits = text.split(',').map(|name| Flags::NAMES.iter().find(|(known, _)| *known == name).map(|(_, bit)| bit));
    bits.sum::<Option<u8>>().map(Flags)
}
