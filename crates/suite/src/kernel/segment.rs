//! A TCP segment that stands alone, of no connection: sent through a raw socket, which also sees the answer.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, ipproto, recv, sendto, socket_with,
};

use super::host::Machine;
use super::sentinel::unbound;
use crate::case::{Flags, Packet, Receiver};
use crate::host::{Delivery, Outcome, Refusal};

/// Length of a TCP header without options.
const HEADER: usize = 20; // bytes
const RST: u8 = 0x04;
const SYN_ACK: u8 = 0x12;

impl Machine<'_> {
    pub(super) fn segment(&self, packet: &Packet, flags: Flags) -> Outcome<Delivery> {
        let netns = self.sending(packet)?;
        let sentinel = self.sentinel(packet, netns)?;
        let source = SocketAddr::new(packet.source, packet.source_port.unwrap_or(0));
        let raw = Machine::inside(netns, || open(packet.source).map_err(|errno| unbound(packet.source, errno)))?;
        let bytes = tcp(source, packet.destination, flags);
        // To a raw socket the port is the protocol, or nothing.
        let to = SocketAddr::new(packet.destination.ip(), 0);
        sendto(&raw, &bytes, SendFlags::empty(), &to).map_err(|errno| Refusal::Broken(format!("{packet}: {errno}")))?;
        let answered = sentinel.settle(|| answer(&raw, source, packet.destination))?;
        let receiver = match answered {
            None => Receiver::Dropped,
            Some(flags) if flags.has(RST) => Receiver::Reset,
            Some(flags) if flags.has(SYN_ACK) => Receiver::SynAck,
            Some(flags) => return Err(Refusal::Broken(format!("{packet}: answered with flags {:#04x}", flags.0))),
        };
        Ok(Delivery { receiver, local: None, sender: None })
    }
}

fn open(source: IpAddr) -> Result<OwnedFd, Errno> {
    let family = if source.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let fd = socket_with(family, SocketType::RAW, flags, Some(ipproto::TCP))?;
    bind(&fd, &SocketAddr::new(source, 0))?;
    Ok(fd)
}

/// The flags of the segment that came back.
fn answer(raw: &OwnedFd, source: SocketAddr, destination: SocketAddr) -> Outcome<Option<Flags>> {
    let mut buffer = [0u8; 512];
    loop {
        let length = match recv(raw, &mut buffer, RecvFlags::empty()) {
            Ok((_, length)) => length.min(buffer.len()),
            Err(Errno::AGAIN) => return Ok(None),
            Err(errno) => return Err(Refusal::Broken(format!("a raw socket: {errno}"))),
        };
        let bytes = &buffer[..length];
        // A raw IPv4 socket sees the IP header, a raw IPv6 socket does not.
        let header = if source.is_ipv4() { bytes.first().map_or(0, |first| usize::from(first & 0xf) * 4) } else { 0 };
        let Some(segment) = bytes.get(header..header + HEADER) else { continue };
        let ports = [destination.port().to_be_bytes(), source.port().to_be_bytes()].concat();
        if segment.starts_with(&ports) {
            return Ok(Some(Flags(segment[13])));
        }
    }
}

/// ```text
///  0               2               4               6               8
/// | source port   | destination   | sequence number               |
/// | acknowledgement               |off|flags      | window        |
/// | checksum      | urgent        |
/// ```
/// Big-endian.
fn tcp(source: SocketAddr, destination: SocketAddr, flags: Flags) -> [u8; HEADER] {
    const SEQUENCE: u32 = 1000;
    const ACKNOWLEDGED: u32 = 2000;
    const WINDOW: u16 = 65535;
    let mut bytes = [0; HEADER];
    bytes[0..2].copy_from_slice(&source.port().to_be_bytes());
    bytes[2..4].copy_from_slice(&destination.port().to_be_bytes());
    bytes[4..8].copy_from_slice(&SEQUENCE.to_be_bytes());
    bytes[8..12].copy_from_slice(&ACKNOWLEDGED.to_be_bytes());
    bytes[12] = (HEADER as u8 / 4) << 4; // words of 4 bytes
    bytes[13] = flags.0;
    bytes[14..16].copy_from_slice(&WINDOW.to_be_bytes());
    let sum = checksum(source.ip(), destination.ip(), &bytes);
    bytes[16..18].copy_from_slice(&sum.to_be_bytes());
    bytes
}

/// The internet checksum of a segment and its pseudo-header (RFC 9293, 3.1).
fn checksum(source: IpAddr, destination: IpAddr, segment: &[u8]) -> u16 {
    let octets = |address: IpAddr| match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    };
    let mut bytes = [octets(source), octets(destination)].concat();
    bytes.extend([0, 6]);
    bytes.extend(u16::try_from(segment.len()).expect("a header is 20 bytes").to_be_bytes());
    bytes.extend(segment);
    let words = bytes.as_chunks::<2>().0.iter().map(|word| u32::from(u16::from_be_bytes(*word)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
