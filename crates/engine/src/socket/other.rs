//! Sockets that the lookup never finds and no program can select, but that maps of sockets may hold.

use std::sync::Arc;

use sklookup_bpf::MapType;
use sklookup_vm::{Errno, SocketId};

use crate::netns::Netns;

/// What such a socket speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OtherKind {
    /// UDP-Lite.
    UdpLite,
    /// Multipath TCP, the socket as programs of user space have it.
    Mptcp,
    /// AF_UNIX, SOCK_STREAM.
    UnixStream,
    /// AF_UNIX, SOCK_DGRAM.
    UnixDatagram,
    /// AF_UNIX, SOCK_SEQPACKET.
    UnixSeqpacket,
}

/// A socket of another protocol than TCP and UDP, open as long as this handle or a clone of it is. It can be put into maps
/// of sockets, and that is all.
#[derive(Clone, Debug)]
pub struct OtherSocket(Arc<Open>);

#[derive(Debug)]
struct Open {
    id: SocketId,
    netns: Netns,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.netns.machine().change(|world| world.close(self.id));
    }
}

/// The state of such a socket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OtherSock {
    pub(crate) kind: OtherKind,
    connected: bool,
}

impl OtherSocket {
    /// Opens a socket that is not connected.
    pub fn open(netns: &Netns, kind: OtherKind) -> OtherSocket {
        OtherSocket::new(netns, OtherSock { kind, connected: false })
    }

    /// Opens two that are connected to each other (`socketpair`).
    pub fn pair(netns: &Netns, kind: OtherKind) -> [OtherSocket; 2] {
        [(); 2].map(|()| OtherSocket::new(netns, OtherSock { kind, connected: true }))
    }

    /// Which it is.
    pub fn id(&self) -> SocketId {
        self.0.id
    }

    /// The number that is its own for as long as its machine is there (`SO_COOKIE`).
    pub fn cookie(&self) -> u64 {
        self.id().cookie()
    }

    fn new(netns: &Netns, sock: OtherSock) -> OtherSocket {
        let id = netns.machine().change(|world| world.add_other(sock));
        OtherSocket(Arc::new(Open { id, netns: netns.clone() }))
    }
}

impl OtherSock {
    /// Whether it may be in a map of this type.
    pub(crate) fn is_suitable(&self, kind: MapType) -> Result<(), Errno> {
        let suits = match self.kind {
            OtherKind::UnixDatagram => true,
            OtherKind::UnixStream => self.connected,
            OtherKind::UdpLite | OtherKind::Mptcp | OtherKind::UnixSeqpacket => false,
        };
        match kind {
            MapType::ReuseportSockarray => Err(Errno::NOTSUPP),
            _ if suits => Ok(()),
            _ => Err(Errno::OPNOTSUPP),
        }
    }
}
