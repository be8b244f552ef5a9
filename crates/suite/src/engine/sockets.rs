//! Sockets of a case: made as it says, and changed by its steps.

use sklookup_engine::{Family, OtherKind, OtherSocket, Protocol, Shutdown, Socket as Internet, SocketId};

use super::host::Simulated;
use crate::case::{Kind, Operation, Socket};
use crate::host::{Outcome, Refusal};

/// A socket that is open.
pub(super) struct Open {
    what: What,
    pub(super) ipv6: bool,
    /// The namespace it is in, if not the case's own.
    pub(super) netns: Option<String>,
    /// The interface it is bound to.
    pub(super) device: Option<String>,
    /// It is told of errors, though it is not connected.
    pub(super) recverr: bool,
    /// The other end of its connection, if that is the case's too.
    pub(super) peer: Option<String>,
}

enum What {
    Internet(Internet),
    Other(OtherSocket),
}

impl Open {
    /// One end of a connection of the case.
    pub(super) fn connection(socket: Internet, ipv6: bool, netns: Option<String>, peer: Option<String>) -> Open {
        Open { what: What::Internet(socket), ipv6, netns, device: None, recverr: false, peer }
    }

    pub(super) fn id(&self) -> SocketId {
        match &self.what {
            What::Internet(socket) => socket.id(),
            What::Other(socket) => socket.id(),
        }
    }

    pub(super) fn internet(&self) -> Outcome<&Internet> {
        match &self.what {
            What::Internet(socket) => Ok(socket),
            What::Other(_) => Err(Refusal::Cannot("sockets of this kind can only be put into maps".to_owned())),
        }
    }

    pub(super) fn into_internet(self) -> Option<Internet> {
        match self.what {
            What::Internet(socket) => Some(socket),
            What::Other(_) => None,
        }
    }
}

impl Simulated {
    pub(super) fn open_socket(&self, socket: &Socket) -> Outcome<Open> {
        let setup = &socket.setup;
        let what = match socket.kind {
            Kind::Tcp => What::Internet(self.open_internet(socket, Protocol::Tcp)?),
            Kind::Udp => What::Internet(self.open_internet(socket, Protocol::Udp)?),
            Kind::UdpLite => self.other(socket, OtherKind::UdpLite, false)?,
            Kind::Mptcp => self.other(socket, OtherKind::Mptcp, false)?,
            Kind::UnixStream => self.other(socket, OtherKind::UnixStream, true)?,
            Kind::UnixDatagram => self.other(socket, OtherKind::UnixDatagram, true)?,
            Kind::UnixSeqpacket => self.other(socket, OtherKind::UnixSeqpacket, true)?,
        };
        Ok(Open {
            what,
            ipv6: socket.address.is_ipv6(),
            netns: setup.netns.clone(),
            device: setup.device.clone(),
            recverr: setup.recverr,
            peer: None,
        })
    }

    fn other(&self, socket: &Socket, kind: OtherKind, paired: bool) -> Outcome<What> {
        let netns = self.netns(socket.setup.netns.as_deref())?;
        if paired && !socket.setup.unbound {
            // Only the state of this end shows, which stays as it is when the other one closes.
            let [one, _] = OtherSocket::pair(netns, kind);
            return Ok(What::Other(one));
        }
        Ok(What::Other(OtherSocket::open(netns, kind)))
    }

    /// In the order in which the kernel's sockets are set up.
    fn open_internet(&self, socket: &Socket, protocol: Protocol) -> Outcome<Internet> {
        let setup = &socket.setup;
        let netns = self.netns(setup.netns.as_deref())?;
        let made = Internet::open(netns, protocol, Family::of(socket.address.ip()));
        made.set_reuse_address(protocol == Protocol::Tcp);
        if let Some(v6only) = setup.v6only {
            made.set_v6only(v6only)?;
        }
        if let Some(device) = &setup.device {
            let index = netns.index_of(device);
            let index = index.ok_or_else(|| Refusal::Broken(format!("there is no interface {device}")))?;
            made.bind_to_device(Some(index))?;
        }
        made.set_incoming_cpu(setup.cpu);
        made.set_reuse_port(setup.reuseport);
        if !setup.unbound {
            made.bind(socket.address)?;
        }
        if protocol == Protocol::Tcp && setup.connect.is_none() && !setup.silent && !setup.unbound {
            made.listen()?;
        }
        if let Some(program) = &setup.reuseport_program {
            made.attach_reuseport(self.program(program)?)?;
        }
        if let Some(peer) = setup.connect {
            made.connect(peer)?;
        }
        if setup.late_reuseport {
            made.set_reuse_port(true);
        }
        Ok(made)
    }

    pub(super) fn operate_socket(&self, name: &str, operation: &Operation) -> Outcome {
        let open = self.socket(name)?;
        let socket = open.internet()?;
        match operation {
            Operation::Bind(to) => socket.bind(*to)?,
            Operation::Listen => socket.listen()?,
            Operation::Connect(to) => socket.connect(*to)?,
            Operation::Disconnect => socket.disconnect()?,
            Operation::ShutdownRead => socket.shutdown(Shutdown::Read)?,
            Operation::Shutdown => {
                socket.shutdown(Shutdown::Both)?;
                // The other end hears of it: no packet goes there by itself.
                if let Some(peer) = &open.peer
                    && let Some(peer) = self.sockets.get(peer)
                {
                    peer.internet()?.shutdown(Shutdown::Both)?;
                }
            }
            Operation::Reuseport(on) => socket.set_reuse_port(*on),
            Operation::AttachReuseport(program) => socket.attach_reuseport(self.program(program)?)?,
            Operation::DetachReuseport => socket.detach_reuseport()?,
            Operation::Talk(to) => self.talk(open, self.socket(to)?)?,
        }
        Ok(())
    }
}
