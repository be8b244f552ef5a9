//! What a watching program writes: a record for each event, and how many it left out.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use sklookup_bpf::{MapSpec, MapType, abi};
use sklookup_policy::Protocol;

/// Byte offsets in a record. Numbers are in host order but for the remote port, which is as in the packet, as addresses are.
pub(crate) mod record {
    /// u64: nanoseconds since boot, sleep not counted.
    pub(crate) const TIME: usize = 0;
    /// u32: the number of the binding.
    pub(crate) const BINDING: usize = 8;
    /// u32: the kind; above it whether a socket was selected.
    pub(crate) const KIND: usize = 12;
    /// u32: of the program.
    pub(crate) const TOKEN: usize = 16;
    /// u32: AF_INET or AF_INET6.
    pub(crate) const FAMILY: usize = 20;
    /// u32.
    pub(crate) const PROTOCOL: usize = 24;
    /// u32: index.
    pub(crate) const INTERFACE: usize = 28;
    /// u32.
    pub(crate) const LOCAL_PORT: usize = 32;
    /// u16, and two bytes of zeros.
    pub(crate) const REMOTE_PORT: usize = 36;
    /// 16 bytes, of IPv4 the first four.
    pub(crate) const REMOTE: usize = 40;
    /// 16 bytes, of IPv4 the first four.
    pub(crate) const LOCAL: usize = 56;
    pub(crate) const SIZE: usize = 72;
}

/// In the word of the kind: a socket was selected all the same.
pub(crate) const SELECTED_BIT: u32 = 8;

/// Byte offsets in the one value of the map of what is left out: words of 8 bytes.
pub(crate) mod left_out {
    /// When the current second began, in nanoseconds since boot; behind it how many events there were in it.
    pub(crate) const SECOND: u32 = 0;
    /// Events that there were.
    pub(crate) const SEEN: u32 = 16;
    pub(crate) const SAMPLED: u32 = 24;
    pub(crate) const LIMITED: u32 = 32;
    pub(crate) const FULL: u32 = 40;
    pub(crate) const SIZE: u32 = 48;
}

/// What happened to a packet that a binding won.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EventKind {
    /// The label had no socket for its family and protocol.
    NoSocket,
    /// The first socket can't be selected any more (ESOCKTNOSUPPORT), and no other could.
    Unsupported,
    /// The first socket was of another protocol (EPROTOTYPE), and no other could be selected.
    WrongProtocol,
    /// The first socket can't take packets of this family (EAFNOSUPPORT), and no other could.
    WrongFamily,
    /// Another program's selection stands (EEXIST).
    AlreadySelected,
    /// The binding refuses it.
    Refused,
}

/// An event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// Nanoseconds since boot, sleep not counted (CLOCK_MONOTONIC).
    pub time: u64,
    /// The number of the binding: its index in the policy.
    pub binding: u32,
    /// That of the program that wrote it.
    pub token: u32,
    /// Protocol of the packet.
    pub protocol: Protocol,
    /// Its source.
    pub source: SocketAddr,
    /// Its destination.
    pub destination: SocketAddr,
    /// Index of the interface that it came in on; 0: of none, as for a question to the kernel.
    pub interface: u32,
    /// Whether another program selected a socket.
    pub selected_by_others: bool,
}

/// How many events there were, and how many of them were not written, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// All events.
    pub seen: u64,
    /// One of so many is written, and these were the others.
    pub sampled: u64,
    /// There were more than the rate within a second.
    pub limited: u64,
    /// The ring buffer was full.
    pub full: u64,
}

impl EventKind {
    const ALL: [EventKind; 6] = [
        EventKind::NoSocket,
        EventKind::Unsupported,
        EventKind::WrongProtocol,
        EventKind::WrongFamily,
        EventKind::AlreadySelected,
        EventKind::Refused,
    ];
}

impl Event {
    /// Reads a record; `None` if it is none.
    pub fn parse(bytes: &[u8]) -> Option<Event> {
        let bytes: &[u8; record::SIZE] = bytes.try_into().ok()?;
        let word = |at: usize| bytes[at..].first_chunk().map(|word| u32::from_ne_bytes(*word));
        let family = word(record::FAMILY)?;
        let address = |at: usize| -> Option<IpAddr> {
            let all: [u8; 16] = *bytes[at..].first_chunk()?;
            match i32::try_from(family).ok()? {
                abi::AF_INET => Some(Ipv4Addr::from(*all.first_chunk::<4>()?).into()),
                abi::AF_INET6 => Some(Ipv6Addr::from(all).into()),
                _ => None,
            }
        };
        let protocol = match i32::try_from(word(record::PROTOCOL)?).ok()? {
            abi::IPPROTO_TCP => Protocol::Tcp,
            abi::IPPROTO_UDP => Protocol::Udp,
            _ => return None,
        };
        let kind = word(record::KIND)?;
        let source_port = u16::from_be_bytes(*bytes[record::REMOTE_PORT..].first_chunk()?);
        let destination_port = u16::try_from(word(record::LOCAL_PORT)?).ok()?;
        Some(Event {
            kind: *EventKind::ALL.get((kind & 0xff) as usize)?,
            time: u64::from_ne_bytes(*bytes[record::TIME..].first_chunk()?),
            binding: word(record::BINDING)?,
            token: word(record::TOKEN)?,
            protocol,
            source: (address(record::REMOTE)?, source_port).into(),
            destination: (address(record::LOCAL)?, destination_port).into(),
            interface: word(record::INTERFACE)?,
            selected_by_others: kind >> SELECTED_BIT & 1 == 1,
        })
    }
}

impl LeftOut {
    /// Reads the value of the map; `None` if it is too short.
    pub fn parse(value: &[u8]) -> Option<LeftOut> {
        let word = |at: u32| value.get(at as usize..)?.first_chunk().map(|word| u64::from_ne_bytes(*word));
        Some(LeftOut {
            seen: word(left_out::SEEN)?,
            sampled: word(left_out::SAMPLED)?,
            limited: word(left_out::LIMITED)?,
            full: word(left_out::FULL)?,
        })
    }

    /// The map.
    pub fn map() -> MapSpec {
        MapSpec::new("watch", MapType::Array, 4, left_out::SIZE, 1)
    }

    /// How many were not written.
    pub fn total(&self) -> u64 {
        self.sampled + self.limited + self.full
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes() -> [u8; record::SIZE] {
        let mut bytes = [0; record::SIZE];
        let mut put = |at: usize, word: u32| bytes[at..at + 4].copy_from_slice(&word.to_ne_bytes());
        put(record::BINDING, 7);
        put(record::KIND, EventKind::Refused as u32 | 1 << SELECTED_BIT);
        put(record::TOKEN, 3);
        put(record::FAMILY, 2);
        put(record::PROTOCOL, 17);
        put(record::INTERFACE, 4);
        put(record::LOCAL_PORT, 53);
        bytes[record::REMOTE_PORT..record::REMOTE_PORT + 2].copy_from_slice(&40_000u16.to_be_bytes());
        bytes[record::REMOTE..record::REMOTE + 4].copy_from_slice(&[198, 51, 100, 9]);
        bytes[record::LOCAL..record::LOCAL + 4].copy_from_slice(&[192, 0, 2, 7]);
        bytes
    }

    #[test]
    fn a_record_says_what_happened_to_which_packet() {
        let event = Event::parse(&bytes()).unwrap();
        assert_eq!((event.kind, event.binding, event.token, event.interface), (EventKind::Refused, 7, 3, 4));
        assert_eq!(
            (event.source.to_string(), event.destination.to_string()),
            ("198.51.100.9:40000".into(), "192.0.2.7:53".into())
        );
        assert!(event.protocol == Protocol::Udp && event.selected_by_others);
    }

    #[test]
    fn what_is_no_record_is_no_event() {
        assert_eq!(Event::parse(&bytes()[..71]), None);
        for (at, wrong) in
            [(record::KIND, 6), (record::FAMILY, 1), (record::PROTOCOL, 132), (record::LOCAL_PORT, 65_536)]
        {
            let mut bytes = bytes();
            bytes[at..at + 4].copy_from_slice(&u32::to_ne_bytes(wrong));
            assert_eq!(Event::parse(&bytes), None, "{at}");
        }
    }

    #[test]
    fn kinds_have_the_numbers_that_programs_write() {
        assert!(EventKind::ALL.iter().zip(0..).all(|(kind, number)| *kind as u32 == number));
    }
}
