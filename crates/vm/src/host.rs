//! What surrounds a running program.

use sklookup_bpf::{MapType, Size};

use crate::errno::Errno;
use crate::map::{Map, Sockets};
use crate::socket::SocketId;
use crate::value::Value;

/// What a program sees of the world besides its instructions and maps: its context, sockets, the machine.
pub trait Host {
    /// Where sockets are known.
    type Sockets: Sockets;

    /// The sockets of the machine, as maps ask for them.
    fn sockets(&self) -> &Self::Sockets;

    /// What a read of the context gives; `None` where Linux doesn't let a program of this type read.
    fn context(&self, offset: i64, size: Size) -> Option<Value>;

    /// What a read of a socket's fields (`struct bpf_sock`) gives; `None` where Linux doesn't let a program read.
    fn socket_field(&self, socket: SocketId, offset: i64, size: Size) -> Option<u64>;

    /// The packet, as far as programs of this type see it.
    fn packet(&self) -> &[u8];

    /// `bpf_sk_assign` of sk_lookup programs.
    fn sk_assign(&mut self, socket: Option<SocketId>, flags: u64) -> Result<(), Errno>;

    /// `bpf_sk_select_reuseport`.
    fn sk_select_reuseport(&mut self, map: &Map, key: &[u8], flags: u64) -> Result<(), Errno>;

    /// The CPU that runs the program.
    fn cpu(&self) -> u32;

    /// Nanoseconds since boot.
    fn time(&self) -> u64;

    /// A random number.
    fn random(&mut self) -> u32;

    /// Takes what a program prints: bytes, of which the program chose those that are no numbers.
    fn print(&mut self, text: &[u8]);
}

/// A host where there is nothing: a context that can't be read, no sockets, no packet, CPU 0 at time 0.
///
/// For programs that calculate: R1 to R5 are of no use to them, what they work on lies in maps.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nowhere;

impl Host for Nowhere {
    type Sockets = Nowhere;

    fn sockets(&self) -> &Nowhere {
        self
    }

    fn context(&self, _offset: i64, _size: Size) -> Option<Value> {
        None
    }

    fn socket_field(&self, _socket: SocketId, _offset: i64, _size: Size) -> Option<u64> {
        None
    }

    fn packet(&self) -> &[u8] {
        &[]
    }

    fn sk_assign(&mut self, _socket: Option<SocketId>, _flags: u64) -> Result<(), Errno> {
        Err(Errno::INVAL)
    }

    fn sk_select_reuseport(&mut self, _map: &Map, _key: &[u8], _flags: u64) -> Result<(), Errno> {
        Err(Errno::INVAL)
    }

    fn cpu(&self) -> u32 {
        0
    }

    fn time(&self) -> u64 {
        0
    }

    fn random(&mut self) -> u32 {
        0
    }

    fn print(&mut self, _text: &[u8]) {}
}

impl Sockets for Nowhere {
    fn is_open(&self, _socket: SocketId) -> bool {
        false
    }

    fn is_suitable(&self, _socket: SocketId, _kind: MapType) -> Result<(), Errno> {
        Err(Errno::OPNOTSUPP)
    }

    fn is_free_for(&self, _socket: SocketId, _map: &Map) -> Result<(), Errno> {
        Ok(())
    }
}
