//! A UDP client: a datagram, who received it, and what the sender was told.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, connect, ipproto, recv, send, sendto, socket_with,
    sockopt,
};
use sklookup_kernel::Netns;

use super::host::Machine;
use super::sentinel::{udp, unbound};
use crate::case::{Kind, Packet, Receiver, Send};
use crate::host::{Delivery, Outcome, Refusal};

impl Machine<'_> {
    pub(super) fn datagram(&mut self, case: &Send) -> Outcome<Delivery> {
        match &case.from {
            Some(name) => self.by_socket(case, name),
            None => self.by_client(case),
        }
    }

    /// From a client of its own, connected as resolvers are: it is told when nobody listens.
    fn by_client(&self, case: &Send) -> Outcome<Delivery> {
        let packet = &case.packet;
        let netns = self.sending(packet)?;
        let sentinel = self.sentinel(packet, netns)?;
        let source = SocketAddr::new(packet.source, packet.source_port.unwrap_or(0));
        let client = Machine::inside(netns, || udp(source).map_err(|errno| unbound(packet.source, errno)))?;
        let broken = |errno: Errno| Refusal::Broken(format!("{packet}: {errno}"));
        connect(&client, &packet.destination).map_err(broken)?;
        send(&client, &self.sent.to_ne_bytes(), SendFlags::empty()).map_err(broken)?;
        let receiver = sentinel.settle(|| {
            if let Some(name) = self.received() {
                return Ok(Some(Receiver::Socket(name)));
            }
            Ok(told(&client)?.map(|_| Receiver::Unreachable))
        })?;
        Ok(Delivery { receiver: receiver.unwrap_or(Receiver::Dropped), local: None, sender: None })
    }

    /// From a socket of the case, which may not be told of errors: the ICMP error itself is looked for.
    fn by_socket(&self, case: &Send, name: &str) -> Outcome<Delivery> {
        let packet = &case.packet;
        let sender = self.socket(name)?;
        let netns = self.netns(sender.netns.as_deref())?;
        let sentinel = self.sentinel(packet, netns)?;
        let errors = Errors::watch(netns, packet)?;
        let broken = |errno: Errno| Refusal::Broken(format!("{packet}: {errno}"));
        let payload = self.sent.to_ne_bytes();
        let sent = match sender.ipv6 && packet.destination.is_ipv4() {
            false => sendto(&sender.fd, &payload, SendFlags::empty(), &packet.destination),
            true => Err(Errno::AFNOSUPPORT),
        };
        sent.map_err(broken)?;
        let mut heard = None;
        let receiver = sentinel.settle(|| {
            // First: to receive from a socket takes its error away.
            heard = heard.or(told(&sender.fd)?);
            match self.received() {
                Some(name) => Ok(Some(Receiver::Socket(name))),
                None => Ok(errors.seen()?.then_some(Receiver::Unreachable)),
            }
        })?;
        Ok(Delivery { receiver: receiver.unwrap_or(Receiver::Dropped), local: None, sender: heard.map(Into::into) })
    }

    /// The socket of the case that has the datagram sent last.
    fn received(&self) -> Option<String> {
        let payload = self.sent.to_ne_bytes();
        let udp = self.sockets.iter().filter(|(_, socket)| socket.kind == Kind::Udp);
        for (name, socket) in udp {
            let mut buffer = [0u8; 16];
            while let Ok((_, length)) = recv(&socket.fd, &mut buffer, RecvFlags::DONTWAIT | RecvFlags::TRUNC) {
                if buffer.get(..length) == Some(&payload[..]) {
                    return Some(name.clone());
                }
            }
        }
        None
    }
}

/// The error that a socket was told.
fn told(socket: &OwnedFd) -> Outcome<Option<Errno>> {
    match sockopt::socket_error(socket) {
        Ok(Ok(())) => Ok(None),
        Ok(Err(errno)) => Ok(Some(errno)),
        Err(errno) => Err(Refusal::Broken(format!("the sender: {errno}"))),
    }
}

/// The ICMP errors that arrive in a namespace, about one packet.
struct Errors {
    fd: OwnedFd,
    destination: SocketAddr,
}

impl Errors {
    fn watch(netns: &Netns, packet: &Packet) -> Outcome<Errors> {
        let (family, protocol) = match packet.destination {
            SocketAddr::V4(_) => (AddressFamily::INET, ipproto::ICMP),
            SocketAddr::V6(_) => (AddressFamily::INET6, ipproto::ICMPV6),
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let open = || socket_with(family, SocketType::RAW, flags, Some(protocol));
        let fd = Machine::inside(netns, || open().map_err(|errno| Refusal::Broken(format!("a raw socket: {errno}"))))?;
        Ok(Errors { fd, destination: packet.destination })
    }

    /// Whether a port unreachable for the packet's destination has arrived.
    fn seen(&self) -> Outcome<bool> {
        let mut buffer = [0u8; 512];
        loop {
            let length = match recv(&self.fd, &mut buffer, RecvFlags::empty()) {
                Ok((_, length)) => length.min(buffer.len()),
                Err(Errno::AGAIN) => return Ok(false),
                Err(errno) => return Err(Refusal::Broken(format!("a raw socket: {errno}"))),
            };
            if self.is_about(&buffer[..length]) {
                return Ok(true);
            }
        }
    }

    /// Type and code of port unreachable, and the destination port of the packet inside.
    fn is_about(&self, bytes: &[u8]) -> bool {
        // A raw IPv4 socket sees the IP header, a raw IPv6 socket does not.
        let (icmp, header, kind) = match self.destination {
            SocketAddr::V4(_) => (bytes.get(ip_header(bytes)..).unwrap_or_default(), None, [3, 3]),
            SocketAddr::V6(_) => (bytes, Some(40), [1, 4]),
        };
        let inner = icmp.get(8..).unwrap_or_default();
        let port = header.unwrap_or_else(|| ip_header(inner)) + 2;
        icmp.starts_with(&kind) && inner.get(port..port + 2) == Some(&self.destination.port().to_be_bytes()[..])
    }
}

/// The length of an IPv4 header.
fn ip_header(bytes: &[u8]) -> usize {
    bytes.first().map_or(0, |first| usize::from(first & 0xf) * 4)
}
