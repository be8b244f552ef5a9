//! What `bpf_sk_assign` checks, in its order.

use sklookup_vm::Errno;

use crate::packet::Protocol;
use crate::socket::sock::Sock;
use crate::socket::{Family, State};

/// `BPF_SK_LOOKUP_F_REPLACE`.
pub(crate) const REPLACE: u64 = 1;
/// `BPF_SK_LOOKUP_F_NO_REUSEPORT`.
pub(crate) const NO_REUSEPORT: u64 = 2;

/// A socket that is neither TCP nor UDP.
pub(crate) struct Unselectable;

/// Whether a program may select the socket for a packet of this family and protocol. Whether it is bound to the packet's
/// address, port, interface or namespace, nobody asks.
pub(crate) fn check(
    candidate: Option<Result<&Sock, Unselectable>>,
    family: u16,
    protocol: u16,
    already_selected: bool,
    flags: u64,
) -> Result<(), Errno> {
    if flags & !(REPLACE | NO_REUSEPORT) != 0 {
        return Err(Errno::INVAL);
    }
    if let Some(sock) = candidate {
        let sock = sock.map_err(|Unselectable| Errno::SOCKTNOSUPPORT)?;
        let receives = match sock.protocol {
            Protocol::Tcp => sock.state == State::Listen,
            Protocol::Udp => sock.state == State::Close,
        };
        if !sock.selectable || !receives {
            return Err(Errno::SOCKTNOSUPPORT);
        }
        if u16::from(sock.protocol.number()) != protocol {
            return Err(Errno::PROTOTYPE);
        }
        if sock.family.number() != family && (sock.family == Family::V4 || sock.v6only) {
            return Err(Errno::AFNOSUPPORT);
        }
    }
    if already_selected && flags & REPLACE == 0 {
        return Err(Errno::EXIST);
    }
    Ok(())
}
