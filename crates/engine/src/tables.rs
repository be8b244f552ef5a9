//! The socket tables of a namespace: who is found by which addresses and ports.
//!
//! As in the kernel, sockets stand in buckets by local address and port, and connections by their whole 4-tuple, so that
//! no lookup walks over sockets of another port. An IPv4 address stands under its v4-mapped form and `::` under that of
//! 0.0.0.0: a dual-stack socket and an IPv4 socket of one place share a bucket, and their order in it counts.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::net::{IpAddr, Ipv6Addr};

use sklookup_vm::SocketId;

/// A map by small fixed keys.
pub(crate) type Table<K, V> = HashMap<K, V, BuildHasherDefault<Mix>>;

/// An address and a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    address: u128,
    port: u16,
}

impl Place {
    pub(crate) fn new(address: IpAddr, port: u16) -> Place {
        let address = match address {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) => std::net::Ipv4Addr::UNSPECIFIED.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        };
        Place { address: address.to_bits(), port }
    }
}

/// Both ends of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Tuple {
    pub(crate) local: Place,
    pub(crate) remote: Place,
}

/// What stands in the established table under a 4-tuple.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Connection {
    Socket(SocketId),
    /// A handshake that this listener has begun.
    Handshake {
        listener: SocketId,
        device: u32,
    },
    TimeWait {
        device: u32,
    },
}

/// Sockets by address and port, in the order in which lookups look at them.
#[derive(Debug, Default)]
pub(crate) struct Buckets(Table<Place, VecDeque<SocketId>>);

impl Buckets {
    pub(crate) fn push_front(&mut self, place: Place, socket: SocketId) {
        self.0.entry(place).or_default().push_front(socket);
    }

    pub(crate) fn push_back(&mut self, place: Place, socket: SocketId) {
        self.0.entry(place).or_default().push_back(socket);
    }

    pub(crate) fn remove(&mut self, place: Place, socket: SocketId) {
        let Some(bucket) = self.0.get_mut(&place) else { return };
        bucket.retain(|known| *known != socket);
        if bucket.is_empty() {
            self.0.remove(&place);
        }
    }

    pub(crate) fn at(&self, place: Place) -> impl Iterator<Item = SocketId> {
        self.0.get(&place).into_iter().flatten().copied()
    }
}

/// All tables of one namespace.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    /// TCP sockets that listen.
    pub(crate) listeners: Buckets,
    /// TCP connections, handshakes, and what waits; of one 4-tuple there may be one for each device.
    pub(crate) established: Table<Tuple, Vec<Connection>>,
    /// UDP sockets that have a port, connected or not.
    pub(crate) udp: Buckets,
    /// UDP sockets that are connected.
    pub(crate) connected: Table<Tuple, Vec<SocketId>>,
    /// Who has a TCP port, to find conflicts.
    pub(crate) tcp_ports: Table<u16, Vec<SocketId>>,
    /// Who has a UDP port.
    pub(crate) udp_ports: Table<u16, Vec<SocketId>>,
}

/// Takes a value out of one of the lists, and the list with its last one.
pub(crate) fn remove<K: std::hash::Hash + Eq, V: PartialEq>(table: &mut Table<K, Vec<V>>, key: &K, value: &V) {
    let Some(list) = table.get_mut(key) else { return };
    list.retain(|known| known != value);
    if list.is_empty() {
        table.remove(key);
    }
}

/// Multiplies and folds: as good as these keys need, and the same in every run, which std's is not.
#[derive(Default)]
pub(crate) struct Mix(u64);

impl Mix {
    fn add(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word ^ 0x9e37_79b9_7f4a_7c15) * 0xf39c_c060_5ced_c835;
        self.0 = (product >> 64) as u64 ^ product as u64;
    }
}

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.add(u64::from_le_bytes(word));
        }
    }

    fn write_u16(&mut self, number: u16) {
        self.add(u64::from(number));
    }

    fn write_u32(&mut self, number: u32) {
        self.add(u64::from(number));
    }

    fn write_u128(&mut self, number: u128) {
        self.add(number as u64);
        self.add((number >> 64) as u64);
    }
}
