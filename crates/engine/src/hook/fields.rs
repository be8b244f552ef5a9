//! The fields of a socket that programs read: `struct bpf_sock`.

use std::net::Ipv4Addr;

use sklookup_bpf::Size;
use sklookup_vm::SocketId;

use super::context::number;
use crate::packet::Protocol;
use crate::socket::sock::Sock;
use crate::socket::{OtherKind, State};
use crate::world::World;

/// What Linux keeps as the IPv4 address of a socket that is bound to an IPv6 one.
const IPV6_ONLY: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 6);

/// What a read of a socket gives; `None` where Linux doesn't let a program read.
pub(crate) fn of_socket(world: &World, socket: SocketId, offset: i64, size: Size) -> Option<u64> {
    match (world.sock(socket), world.other(socket)) {
        (Some(sock), _) => read(sock, offset, size),
        (None, other) => read_other(other?.kind, offset, size),
    }
}

fn read(sock: &Sock, offset: i64, size: Size) -> Option<u64> {
    let whole = |value: u32| (size == Size::B4).then_some(u64::from(value));
    // Read in any size from its first byte on.
    let first = |value: u32| {
        let bytes = value.to_ne_bytes();
        (size != Size::B8).then(|| number(&bytes[..size.bytes()]))
    };
    let part = |start: i64, field: &[u8]| {
        let from = usize::try_from(offset - start).ok()?;
        let aligned = size != Size::B8 && from.is_multiple_of(size.bytes());
        aligned.then(|| field.get(from..from + size.bytes()).map(number)).flatten()
    };
    match offset {
        0 => whole(sock.device),
        4 => first(u32::from(sock.family.number())),
        8 => first(match sock.protocol {
            Protocol::Tcp => 1,
            Protocol::Udp => 2,
        }),
        12 => first(u32::from(sock.protocol.number())),
        16 => whole(sock.mark),
        20 => whole(sock.priority),
        24..28 => part(24, &source_v4(sock).octets()),
        28..44 => part(28, &sock.local_v6().map_or([0; 16], |v6| v6.octets())),
        44 => first(u32::from(sock.port)),
        48 if size == Size::B4 => Some(number(&sock.peer_port.to_be_bytes())),
        48..50 => part(48, &sock.peer_port.to_be_bytes()),
        52..56 => part(52, &sock.peer4.unwrap_or(Ipv4Addr::UNSPECIFIED).octets()),
        56..72 => part(56, &sock.peer6.map_or([0; 16], |v6| v6.octets())),
        72 => first(state(sock.state)),
        // No queue.
        76 => first(u32::MAX),
        _ => None,
    }
}

/// The same of a socket of another protocol, of which only these are kept.
fn read_other(kind: OtherKind, offset: i64, size: Size) -> Option<u64> {
    let (family, type_, protocol): (u32, u32, u32) = match kind {
        OtherKind::UdpLite => (2, 2, 136),
        OtherKind::Mptcp => (2, 1, 262),
        OtherKind::UnixStream => (1, 1, 0),
        OtherKind::UnixDatagram => (1, 2, 0),
        OtherKind::UnixSeqpacket => (1, 5, 0),
    };
    let field = match offset {
        4 => family,
        8 => type_,
        12 => protocol,
        _ => 0,
    };
    let in_bounds = (0..80).contains(&offset) && offset % size.bytes() as i64 == 0;
    (in_bounds && size != Size::B8).then(|| number(&field.to_ne_bytes()[..size.bytes()]))
}

fn source_v4(sock: &Sock) -> Ipv4Addr {
    match sock.local {
        std::net::IpAddr::V6(v6) if v6.to_ipv4_mapped().is_none() && !v6.is_unspecified() => IPV6_ONLY,
        local => match local.to_canonical() {
            std::net::IpAddr::V4(v4) => v4,
            std::net::IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
        },
    }
}

/// The kernel's number of a state.
fn state(state: State) -> u32 {
    match state {
        State::Established => 1,
        State::FinWait => 5,
        State::Close => 7,
        State::CloseWait => 8,
        State::LastAck => 9,
        State::Listen => 10,
    }
}
