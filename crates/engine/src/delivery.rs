//! Where a packet ended.

use sklookup_vm::SocketId;

/// Where a packet ended: with a socket, or with an answer to its sender, or nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// This socket gets it: a connection, a listener, a UDP socket.
    Socket(SocketId),
    /// A handshake that this listener has begun goes on.
    Handshake(SocketId),
    /// A connection that is over but for its waiting time handles it.
    TimeWait,
    /// Multicast and broadcast datagrams: each of these sockets gets a copy. The hook never sees them.
    Copies(Vec<SocketId>),
    /// Nobody, and the sender gets a TCP reset; see [`Packet::reset`](crate::Packet::reset).
    Reset,
    /// Nobody, and the sender gets an ICMP port unreachable.
    Unreachable,
    /// Nobody, and the sender hears nothing: a reset that meets no connection, an ICMP error that is nobody's.
    Dropped,
    /// The destination isn't local in this namespace: no socket is looked for.
    NotLocal,
}

impl Delivery {
    /// The one socket that got it.
    pub fn socket(&self) -> Option<SocketId> {
        match self {
            Delivery::Socket(socket) => Some(*socket),
            _ => None,
        }
    }
}
