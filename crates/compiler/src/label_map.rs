//! The SOCKMAP of one label: which slot holds which socket.
//!
//! A slot is numbered by address family, protocol and member. A packet looks at the members of its own family and
//! protocol only, in order, and takes the first that can be selected. A dual-stack socket stands in both families.

use sklookup_bpf::{MapSpec, MapType};
use sklookup_policy::Protocol;

use crate::family::Family;

/// How many sockets of one family and protocol a label can have; those of a reuseport group count singly.
pub const MEMBERS: u32 = 16;

/// Slots of a label's map.
pub const SLOTS: u32 = 4 * MEMBERS;

/// The slot of a member.
///
/// # Panics
/// If `member` is not below [`MEMBERS`].
pub fn slot(family: Family, protocol: Protocol, member: u32) -> u32 {
    assert!(member < MEMBERS, "a label has {MEMBERS} members of a family and protocol, none is number {member}");
    let family = match family {
        Family::V4 => 0,
        Family::V6 => 1,
    };
    let protocol = match protocol {
        Protocol::Tcp => 0,
        Protocol::Udp => 1,
    };
    (family * 2 + protocol) * MEMBERS + member
}

/// The map as it is created. User space reads a socket's cookie from it (a value of 8 bytes), programs the socket.
pub fn spec(name: impl Into<String>) -> MapSpec {
    MapSpec::new(name, MapType::Sockmap, 4, 8, SLOTS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_member_of_every_family_and_protocol_has_a_slot_of_its_own() {
        let mut slots = Vec::new();
        for family in [Family::V4, Family::V6] {
            for protocol in [Protocol::Tcp, Protocol::Udp] {
                slots.extend((0..MEMBERS).map(|member| slot(family, protocol, member)));
            }
        }
        assert_eq!(slots, (0..SLOTS).collect::<Vec<_>>());
    }
}
