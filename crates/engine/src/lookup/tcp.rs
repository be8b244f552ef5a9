//! TCP: connections first, then the hook, then listeners.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sklookup_vm::{Fault, SocketId};

use super::{Hooked, Search};
use crate::delivery::Delivery;
use crate::packet::Packet;
use crate::socket::State;
use crate::tables::Connection;
use crate::trace::{Choice, Pass, Sink, Step};

impl<S: Sink> Search<'_, S> {
    pub(super) fn receive_tcp(&mut self, packet: &Packet) -> Result<Delivery, Fault> {
        let connection = self.connection();
        match connection {
            Some(Connection::Socket(socket)) => return Ok(Delivery::Socket(socket)),
            Some(Connection::Handshake { listener, .. }) => return Ok(Delivery::Handshake(listener)),
            Some(Connection::TimeWait { .. }) => {
                // Whoever may open the connection anew: as if it were gone, but without a listener it goes on waiting.
                let segment = packet.segment;
                let opens = segment.syn && !segment.ack && !segment.rst;
                return Ok(match if opens { self.listener()? } else { Choice::None } {
                    Choice::Socket(listener) => Delivery::Socket(listener),
                    Choice::Refused | Choice::None => Delivery::TimeWait,
                });
            }
            None => {}
        }
        Ok(match self.listener()? {
            Choice::Socket(listener) => Delivery::Socket(listener),
            // A reset is never answered.
            Choice::Refused | Choice::None if packet.segment.rst => Delivery::Dropped,
            Choice::Refused | Choice::None => Delivery::Reset,
        })
    }

    /// The socket of the connection or handshake of this flow.
    pub(super) fn connection_owner(&mut self) -> Option<SocketId> {
        match self.connection()? {
            Connection::Socket(socket) | Connection::Handshake { listener: socket, .. } => Some(socket),
            Connection::TimeWait { .. } => None,
        }
    }

    /// The socket that takes new connections of this flow.
    pub(super) fn listener(&mut self) -> Result<Choice, Fault> {
        if let Hooked::Is(choice) = self.hook()? {
            return Ok(choice);
        }
        match self.search_tcp(Pass::Exact, self.flow.local)? {
            Choice::None => self.search_tcp(Pass::Wildcard, self.wildcard()),
            choice => Ok(choice),
        }
    }

    /// The address that means any, of the flow's family.
    pub(super) fn wildcard(&self) -> IpAddr {
        match self.flow.local {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        }
    }

    fn connection(&mut self) -> Option<Connection> {
        let any_vrf = self.namespace.sysctls.tcp_l3mdev_accept;
        let known = self.namespace.tables.established.get(&self.flow.tuple());
        let found = known.into_iter().flatten().copied().find(|connection| match *connection {
            Connection::Socket(socket) => self.flow.is_on(self.world.known(socket).device, any_vrf),
            // A handshake ends with its listener.
            Connection::Handshake { listener, device } => {
                let listens = self.world.sock(listener).is_some_and(|sock| sock.state == State::Listen);
                listens && self.flow.is_on(device, any_vrf)
            }
            Connection::TimeWait { device } => self.flow.is_on(device, any_vrf),
        });
        self.sink.record(|| Step::Connected {
            found: match found {
                Some(Connection::Socket(socket) | Connection::Handshake { listener: socket, .. }) => Some(socket),
                Some(Connection::TimeWait { .. }) | None => None,
            },
        });
        found
    }
}
