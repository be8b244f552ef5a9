//! What surrounds a running program.

use sklookup_bpf::Size;

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
}
