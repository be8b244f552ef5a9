//! Knowing that nothing will come, without waiting for it.
//!
//! A datagram takes the way of the packet, behind it. Packets of one CPU and one wire are processed in their order, so when
//! the datagram has arrived, all that the packet causes at once has happened. It goes to a socket that is connected to its
//! sender: such a datagram never reaches the hook, and no program sees or counts it.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt::{self, Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, connect, getsockname, ipproto, recv, send,
    socket_with,
};
use sklookup_kernel::Netns;

use super::host::Machine;
use crate::host::{Outcome, Refusal};

/// A handshake is three packets, each the answer to the one before; a few more don't cost much.
const ROUNDS: usize = 6;

/// No datagram takes that long: it was lost, and the machine is not what the case thinks.
const LOST: Duration = Duration::from_secs(20);

pub(super) struct Sentinel {
    sender: OwnedFd,
    receiver: OwnedFd,
}

impl Sentinel {
    /// From an address of one namespace to one of another, or of the same.
    pub(super) fn new(from: (&Netns, IpAddr), to: (&Netns, IpAddr)) -> Outcome<Sentinel> {
        let sender = Machine::inside(from.0, || udp((from.1, 0).into()).map_err(|errno| unbound(from.1, errno)))?;
        let receiver = Machine::inside(to.0, || anywhere(to.1).map_err(|errno| unbound(to.1, errno)))?;
        let paired = || -> Result<(), Errno> {
            connect(&receiver, &getsockname(&sender)?)?;
            connect(&sender, &getsockname(&receiver)?)?;
            set_socket_timeout(&receiver, Timeout::Recv, Some(LOST))
        };
        paired().map_err(|errno| Refusal::Broken(format!("from {} to {}: {errno}", from.1, to.1)))?;
        Ok(Sentinel { sender, receiver })
    }

    /// Waits until `ready` has something, or nothing can come any more.
    pub(super) fn settle<T>(&self, mut ready: impl FnMut() -> Outcome<Option<T>>) -> Outcome<Option<T>> {
        for _ in 0..ROUNDS {
            if let Some(found) = ready()? {
                return Ok(Some(found));
            }
            self.pass().map_err(|errno| Refusal::Broken(format!("a datagram behind the packet was lost: {errno}")))?;
        }
        ready()
    }

    fn pass(&self) -> Result<(), Errno> {
        send(&self.sender, b"s", SendFlags::empty())?;
        recv(self.receiver.as_fd(), &mut [0u8; 1], RecvFlags::empty()).map(drop)
    }
}

/// A bound UDP socket.
pub(super) fn udp(address: SocketAddr) -> Result<OwnedFd, Errno> {
    let fd = unbound_udp(address.ip())?;
    bind(&fd, &address)?;
    Ok(fd)
}

/// One on an address that may be local by a route alone, to which IPv6 does not bind otherwise.
fn anywhere(address: IpAddr) -> Result<OwnedFd, Errno> {
    let fd = unbound_udp(address)?;
    match address {
        IpAddr::V4(_) => sockopt::set_ip_freebind(&fd, true)?,
        IpAddr::V6(_) => sockopt::set_ipv6_freebind(&fd, true)?,
    }
    bind(&fd, &SocketAddr::new(address, 0))?;
    Ok(fd)
}

fn unbound_udp(address: IpAddr) -> Result<OwnedFd, Errno> {
    let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    socket_with(family, SocketType::DGRAM, SocketFlags::CLOEXEC, Some(ipproto::UDP))
}

/// Why a client can't have its address.
pub(super) fn unbound(address: IpAddr, errno: Errno) -> Refusal {
    match errno {
        Errno::ADDRNOTAVAIL => Refusal::Broken(format!(
            "{address} is no address of where the packet comes from: give it to an interface, interface.lo = [\"{address}/{}\"] \
             or what is outside of one",
            if address.is_ipv4() { 32 } else { 128 }
        )),
        errno => Refusal::Broken(format!("a client on {address}: {errno}")),
    }
}
