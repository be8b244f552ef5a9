//! A TCP client: it connects, and one byte goes to the server and back.

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::sockopt::{self, Timeout, set_socket_linger, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, accept_with, bind, connect, getpeername, getsockname,
    ipproto, recv, send, socket_with,
};
use sklookup_kernel::Netns;

use super::clients::{on_the_wire, wait_for};
use super::host::Machine;
use super::sentinel::unbound;
use super::sockets::Open;
use crate::case::{Packet, Receiver, Send};
use crate::host::{Delivery, Outcome, Refusal};

/// How long a byte may take over an established connection.
const LOST: Duration = Duration::from_secs(20);

impl Machine<'_> {
    /// Connects as the packet says; whoever accepts gets a byte and sends it back.
    pub(super) fn connect(&mut self, case: &Send) -> Outcome<Delivery> {
        let packet = &case.packet;
        let netns = self.sending(packet)?;
        let sentinel = self.sentinel(packet, netns)?;
        let client = client(netns, packet)?;
        match connect(&client, &packet.destination) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            // The answer was there before the call was done.
            Err(errno) => return refused(errno),
        }
        match sentinel.settle(|| answer(&client))? {
            None => Ok(Delivery { receiver: Receiver::Dropped, local: None, sender: None }),
            Some(Err(errno)) => refused(errno),
            Some(Ok(())) => self.served(case, client),
        }
    }

    /// Finds who accepted the connection.
    fn served(&mut self, case: &Send, client: OwnedFd) -> Outcome<Delivery> {
        let broken = |what: &'static str| move |errno: Errno| Refusal::Broken(format!("{what}: {errno}"));
        let address = on_the_wire(address_of(&client).map_err(broken("the client's address"))?);
        // The handshake ended at the client; its last packet may still be on the way to the server.
        let netns = self.sending(&case.packet)?;
        let sentinel = self.sentinel(&case.packet, netns)?;
        let Some((name, child)) = sentinel.settle(|| Ok(self.accepted(address)))? else {
            return Err(Refusal::Broken(format!("{}: it is connected, but to no socket of the case", case.packet)));
        };
        echo(&client, &child).map_err(broken("a byte there and back"))?;
        let local = on_the_wire(address_of(&child).map_err(broken("the server's address"))?);
        let ipv6 = self.socket(&name)?.ipv6;
        let inside = self.socket(&name)?.netns.clone();
        match &case.client {
            Some(name) => {
                drop(self.sockets.insert(name.clone(), Open::connection(client, ipv6, case.packet.netns.clone())))
            }
            // By a reset: else the address would be taken for a minute.
            None => set_socket_linger(&client, Some(Duration::ZERO)).map_err(broken("linger"))?,
        }
        if let Some(name) = &case.child {
            self.sockets.insert(name.clone(), Open::connection(child, ipv6, inside));
        }
        Ok(Delivery { receiver: Receiver::Socket(name), local: Some(local), sender: None })
    }

    /// Accepts what waits at the case's listeners until this client is found.
    fn accepted(&self, client: SocketAddr) -> Option<(String, OwnedFd)> {
        for (name, socket) in self.sockets.iter().filter(|(_, socket)| socket.listens()) {
            while let Ok(child) = accept_with(&socket.fd, SocketFlags::CLOEXEC) {
                let peer = getpeername(&child).ok().flatten().and_then(|peer| SocketAddr::try_from(peer).ok());
                if peer.map(on_the_wire) == Some(client) {
                    return Some((name.clone(), child));
                }
            }
        }
        None
    }
}

/// A socket bound as the packet says.
fn client(netns: &Netns, packet: &Packet) -> Outcome<OwnedFd> {
    let family = if packet.source.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let source = SocketAddr::new(packet.source, packet.source_port.unwrap_or(0));
    Machine::inside(netns, || {
        let made = || -> Result<OwnedFd, Errno> {
            let fd = socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
            // The same port again, while the last connection from it waits for its end.
            sockopt::set_socket_reuseaddr(&fd, true)?;
            bind(&fd, &source)?;
            Ok(fd)
        };
        made().map_err(|errno| unbound(packet.source, errno))
    })
}

/// How the connection attempt ended, if it did.
fn answer(client: &OwnedFd) -> Outcome<Option<Result<(), Errno>>> {
    match getpeername(client) {
        Ok(Some(_)) => Ok(Some(Ok(()))),
        _ => match sockopt::socket_error(client) {
            Ok(Err(errno)) => Ok(Some(Err(errno))),
            Ok(Ok(())) => Ok(None),
            Err(errno) => Err(Refusal::Broken(format!("the client: {errno}"))),
        },
    }
}

fn refused(errno: Errno) -> Outcome<Delivery> {
    let receiver = match errno {
        Errno::CONNREFUSED => Receiver::Reset,
        errno => return Err(Refusal::Broken(format!("the client is told {errno}"))),
    };
    Ok(Delivery { receiver, local: None, sender: Some(errno.into()) })
}

fn echo(client: &OwnedFd, child: &OwnedFd) -> Result<(), Errno> {
    let mut byte = [0u8; 1];
    set_socket_timeout(child, Timeout::Recv, Some(LOST))?;
    send(client, b"e", SendFlags::empty())?;
    recv(child, &mut byte, RecvFlags::empty())?;
    send(child, &byte, SendFlags::empty())?;
    wait_for(client.as_fd(), PollFlags::IN)?;
    recv(client, &mut byte, RecvFlags::empty())?;
    if byte == *b"e" { Ok(()) } else { Err(Errno::BADMSG) }
}

fn address_of(fd: &OwnedFd) -> Result<SocketAddr, Errno> {
    SocketAddr::try_from(getsockname(fd)?)
}
