//! What becomes of a packet.

use crate::arrival::Astray;

/// What becomes of a packet. Sockets are named by their cookies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// This socket gets it.
    Socket(u64),
    /// A TCP packet is answered by a reset, a UDP packet by port unreachable.
    Refused,
    /// No socket is looked for.
    Astray(Astray),
    /// What can't be known, and why.
    Unknown(String),
}
