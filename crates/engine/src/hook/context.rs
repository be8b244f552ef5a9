//! The context of an sk_lookup program: `struct bpf_sk_lookup`, as programs read it.
//!
//! Linux keeps family, protocol and local port in 16 bits and rewrites each read of them; what narrow reads give follows
//! from that.

use std::net::{IpAddr, Ipv6Addr};

use sklookup_bpf::Size;
use sklookup_bpf::abi::context as at;
use sklookup_vm::{Region, SocketId, Value};

/// A context without its selected socket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LookupContext {
    pub(crate) family: u16,
    pub(crate) protocol: u16,
    pub(crate) remote_ip4: [u8; 4],
    pub(crate) remote_ip6: [u8; 16],
    /// As on the wire.
    pub(crate) remote_port: [u8; 2],
    pub(crate) local_ip4: [u8; 4],
    pub(crate) local_ip6: [u8; 16],
    pub(crate) local_port: u16,
    pub(crate) ingress_ifindex: u32,
}

/// Whether Linux lets a program read so many bytes there.
pub(crate) fn may_read(offset: i64, size: Size) -> bool {
    let bytes = size.bytes() as i64;
    match size {
        Size::B8 => offset == i64::from(at::SK),
        _ => {
            offset >= i64::from(at::FAMILY)
                && offset + bytes <= i64::from(at::INGRESS_IFINDEX) + 4
                && offset % bytes == 0
        }
    }
}

impl LookupContext {
    /// Of a packet between these ends.
    pub(crate) fn new(protocol: u16, remote: (IpAddr, u16), local: (IpAddr, u16), interface: u32) -> LookupContext {
        let mut context = LookupContext {
            family: if local.0.is_ipv4() { 2 } else { 10 },
            protocol,
            remote_port: remote.1.to_be_bytes(),
            local_port: local.1,
            ingress_ifindex: interface,
            ..LookupContext::default()
        };
        match (remote.0, local.0) {
            (IpAddr::V4(remote), IpAddr::V4(local)) => {
                (context.remote_ip4, context.local_ip4) = (remote.octets(), local.octets());
            }
            (remote, local) => {
                let octets = |address: IpAddr| match address {
                    IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
                    IpAddr::V6(v6) => Ipv6Addr::octets(&v6),
                };
                (context.remote_ip6, context.local_ip6) = (octets(remote), octets(local));
            }
        }
        context
    }

    /// What a read gives; `None` where Linux doesn't let a program read.
    pub(crate) fn read(&self, offset: i64, size: Size, selected: Option<SocketId>) -> Option<Value> {
        if !may_read(offset, size) {
            return None;
        }
        if offset == i64::from(at::SK) {
            return Some(selected.map_or(Value::NULL, |socket| Value::start_of(Region::Socket(socket))));
        }
        let bytes = size.bytes();
        let part = |start: i16, field: &[u8]| {
            let from = usize::try_from(offset - i64::from(start)).ok()?;
            Some(number(field.get(from..from + bytes)?))
        };
        let number = match i16::try_from(offset).ok()? {
            8..12 => cell(self.family, offset - 8, size),
            12..16 => cell(self.protocol, offset - 12, size),
            16..20 => part(at::REMOTE_IP4, &self.remote_ip4)?,
            20..36 => part(at::REMOTE_IP6, &self.remote_ip6)?,
            // Four bytes were the field once, and still give the port by itself.
            36 if size == Size::B4 => number(&self.remote_port),
            36..40 => part(at::REMOTE_PORT, &[self.remote_port[0], self.remote_port[1], 0, 0])?,
            40..44 => part(at::LOCAL_IP4, &self.local_ip4)?,
            44..60 => part(at::LOCAL_IP6, &self.local_ip6)?,
            60..64 => cell(self.local_port, offset - 60, size),
            _ => part(at::INGRESS_IFINDEX, &self.ingress_ifindex.to_ne_bytes())?,
        };
        Some(Value::Scalar(number))
    }
}

/// A read of a 32-bit field that is kept in 16 bits. Two bytes give all of it, at the upper half, too: seen on Linux 6.18.
fn cell(value: u16, offset: i64, size: Size) -> u64 {
    let value = u32::from(value);
    match size {
        Size::B1 => u64::from(value.to_ne_bytes()[offset as usize]),
        _ => u64::from(value),
    }
}

/// The number in these bytes of memory.
pub(crate) fn number(bytes: &[u8]) -> u64 {
    let fold = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
    if cfg!(target_endian = "big") { bytes.iter().fold(0, fold) } else { bytes.iter().rev().fold(0, fold) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context() -> LookupContext {
        LookupContext::new(
            6,
            ("198.51.100.9".parse().unwrap(), 0x0102),
            ("192.0.2.7".parse().unwrap(), 0x1b5f),
            0x0a0b_0c0d,
        )
    }

    fn read(offset: i64, size: Size) -> u64 {
        match context().read(offset, size, None) {
            Some(Value::Scalar(number)) => number,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn reads_are_allowed_where_linux_allows_them_and_nowhere_else() {
        for offset in -16..96 {
            for (size, allowed) in [
                (Size::B8, offset == 0),
                (Size::B4, (8..=64).contains(&offset) && offset % 4 == 0),
                (Size::B2, (8..=66).contains(&offset) && offset % 2 == 0),
                (Size::B1, (8..=67).contains(&offset)),
            ] {
                assert_eq!(may_read(offset, size), allowed, "{size:?} at {offset}");
                assert_eq!(context().read(offset, size, None).is_some(), allowed, "{size:?} at {offset}");
            }
        }
    }

    #[test]
    fn two_bytes_of_a_16_bit_field_give_it_at_either_half() {
        for (offset, value) in [(8, 2), (12, 6), (60, 0x1b5f)] {
            assert_eq!(read(offset, Size::B4), value);
            assert_eq!((read(offset, Size::B2), read(offset + 2, Size::B2)), (value, value));
        }
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn single_bytes_of_a_16_bit_field_are_its_own_and_then_zero() {
        assert_eq!([60, 61, 62, 63].map(|offset| read(offset, Size::B1)), [0x5f, 0x1b, 0, 0]);
    }

    #[test]
    fn the_remote_port_is_in_network_order_and_its_padding_is_zero() {
        let wire = u64::from(u16::from_ne_bytes([1, 2]));
        assert_eq!((read(36, Size::B2), read(36, Size::B4)), (wire, wire));
        assert_eq!([36, 37, 38, 39].map(|offset| read(offset, Size::B1)), [1, 2, 0, 0]);
        assert_eq!(read(38, Size::B2), 0);
    }

    #[test]
    fn addresses_are_bytes_and_those_of_the_other_family_are_zero() {
        assert_eq!([40, 41, 42, 43].map(|offset| read(offset, Size::B1)), [192, 0, 2, 7]);
        assert_eq!(read(16, Size::B4), u64::from(u32::from_ne_bytes([198, 51, 100, 9])));
        for offset in (20..36).chain(44..60) {
            assert_eq!(read(offset, Size::B1), 0);
        }
        assert_eq!(read(64, Size::B4), 0x0a0b_0c0d);
    }
}
