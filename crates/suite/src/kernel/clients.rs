//! Clients: who sends a packet, from where, and who of the case's sockets got it.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::BorrowedFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use sklookup_kernel::Netns;
use sklookup_policy::Protocol;

use super::host::Machine;
use super::sentinel::Sentinel;
use crate::case::{Packet, Send};
use crate::host::{Delivery, Outcome};

/// Longer than anything takes that is on its way.
const LONG: Timespec = Timespec { tv_sec: 20, tv_nsec: 0 };

impl Machine<'_> {
    pub(super) fn deliver(&mut self, send: &Send) -> Outcome<Delivery> {
        self.sent += 1;
        match (send.packet.protocol, send.packet.flags) {
            (Protocol::Tcp, None) => self.connect(send),
            (Protocol::Tcp, Some(flags)) => self.segment(&send.packet, flags),
            (Protocol::Udp, _) => self.datagram(send),
        }
    }

    /// Where the packet is sent: behind the wire of its interface, or on the host itself.
    pub(super) fn sending(&self, packet: &Packet) -> Outcome<&Netns> {
        match packet.interface.as_deref().and_then(|name| self.outside.get(name)) {
            Some(outside) => Ok(outside),
            None => self.netns(packet.netns.as_deref()),
        }
    }

    /// What tells that a packet from `netns` has been dealt with.
    pub(super) fn sentinel(&self, packet: &Packet, from: &Netns) -> Outcome<Sentinel> {
        let to = self.netns(packet.netns.as_deref())?;
        let destination = packet.destination.ip();
        // Nobody can be connected to a group; what is sent to one from here comes back over loopback.
        let destination = if is_group(destination) { packet.source } else { destination };
        Sentinel::new((from, packet.source), (to, destination))
    }
}

/// Multicast, or broadcast as far as an address shows it.
pub(super) fn is_group(address: IpAddr) -> bool {
    address.is_multicast() || matches!(address, IpAddr::V4(v4) if v4.is_broadcast())
}

/// Waits until a socket is ready.
pub(super) fn wait_for(fd: BorrowedFd<'_>, flags: PollFlags) -> Result<(), Errno> {
    let mut fds = [PollFd::from_borrowed_fd(fd, flags)];
    match poll(&mut fds, Some(&LONG))? {
        0 => Err(Errno::TIMEDOUT),
        _ => Ok(()),
    }
}

/// An address as it is on the wire: what an IPv6 socket shows of an IPv4 packet is v4-mapped.
pub(super) fn on_the_wire(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
