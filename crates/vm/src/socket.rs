//! Sockets as programs and maps know them.

use std::fmt;
use std::num::NonZeroU64;

/// Which socket: a number that is its own for as long as its machine is there (`SO_COOKIE`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketId(NonZeroU64);

impl SocketId {
    /// The socket of this cookie; `None` for 0, which is nobody's.
    pub fn from_cookie(cookie: u64) -> Option<SocketId> {
        NonZeroU64::new(cookie).map(SocketId)
    }

    /// Its cookie, never 0.
    pub fn cookie(self) -> u64 {
        self.0.get()
    }
}

impl fmt::Display for SocketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "socket {}", self.0)
    }
}

impl fmt::Debug for SocketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "socket {}", self.0)
    }
}
