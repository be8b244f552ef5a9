//! Connections of a case: bytes between their ends, and how they end.

use sklookup_engine::{Delivery, Packet, Segment};

use super::host::Simulated;
use super::sockets::Open;
use crate::host::{Outcome, Refusal};

impl Simulated {
    /// A segment from one end to the other, which must get it.
    pub(super) fn talk(&self, from: &Open, to: &Open) -> Outcome {
        let (sender, receiver) = (from.internet()?, to.internet()?);
        let packet = Packet::tcp(wire(sender.local_address()), wire(receiver.local_address()));
        let delivered = self.netns(to.netns.as_deref())?.receive(&packet.with_segment(Segment::ACK));
        match delivered {
            Ok(Delivery::Socket(id)) if id == receiver.id() => Ok(()),
            other => Err(Refusal::Broken(format!("a byte between the ends of a connection came to {other:?}"))),
        }
    }

    /// Closes a socket. Of a connection the end that closes first waits, when the other has closed too.
    pub(super) fn close_socket(&mut self, name: &str) -> Outcome {
        let Some(open) = self.sockets.remove(name) else { return Ok(()) };
        let Some(peer) = open.peer.clone() else { return Ok(()) };
        if self.sockets.contains_key(&peer) {
            self.half_closed.insert(peer, open);
            return Ok(());
        }
        if let Some(first) = self.half_closed.remove(name).and_then(Open::into_internet) {
            first.time_wait()?;
        }
        Ok(())
    }
}

/// An address as it is on the wire: what an IPv6 socket shows of an IPv4 packet is v4-mapped.
pub(super) fn wire(address: std::net::SocketAddr) -> std::net::SocketAddr {
    std::net::SocketAddr::new(address.ip().to_canonical(), address.port())
}
