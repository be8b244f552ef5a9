//! What surrounds an sk_reuseport program while it picks a member of a group.

use sklookup_bpf::{MapType, Size};
use sklookup_vm::{Errno, Host, Map, Pointer, Region, SocketId, Value};

use super::context::number;
use super::fields;
use crate::machine::Machine;
use crate::packet::{Packet, Protocol};
use crate::socket::sock::{GroupId, Sock};
use crate::world::World;

/// `struct sk_reuseport_md`: byte offsets into the context. Source: uapi `linux/bpf.h`.
mod at {
    pub(super) const DATA: i64 = 0;
    pub(super) const DATA_END: i64 = 8;
    pub(super) const LEN: i64 = 16;
    pub(super) const ETH_PROTOCOL: i64 = 20;
    pub(super) const IP_PROTOCOL: i64 = 24;
    pub(super) const BIND_INANY: i64 = 28;
    pub(super) const HASH: i64 = 32;
    pub(super) const SK: i64 = 40;
    pub(super) const MIGRATING_SK: i64 = 48;
}

/// A run of one program.
pub(crate) struct ReuseportHost<'a> {
    machine: &'a Machine,
    world: &'a World,
    /// The member that was found first.
    sock: &'a Sock,
    group: GroupId,
    hash: u32,
    ipv4: bool,
    cpu: u32,
    /// From the transport header on.
    packet: Vec<u8>,
    pub(crate) selected: Option<SocketId>,
}

impl<'a> ReuseportHost<'a> {
    pub(crate) fn new(
        machine: &'a Machine,
        world: &'a World,
        (sock, group): (&'a Sock, GroupId),
        hash: u32,
        packet: &Packet,
    ) -> ReuseportHost<'a> {
        let ipv4 = packet.destination.is_ipv4();
        let cpu = packet.cpu;
        ReuseportHost { machine, world, sock, group, hash, ipv4, cpu, packet: packet.bytes(), selected: None }
    }

    /// Whether the socket is in the group of the one that was found first, and if not, how that is said.
    fn check_member(&self, socket: SocketId, kind: MapType) -> Result<(), Errno> {
        let sock = self.world.sock(socket).ok_or(Errno::NOENT)?;
        match sock.group {
            Some(group) if group == self.group => Ok(()),
            None if kind == MapType::ReuseportSockarray => Err(Errno::NOENT),
            None => Err(Errno::INVAL),
            Some(_) if sock.protocol != self.sock.protocol => Err(Errno::PROTOTYPE),
            Some(_) if sock.family != self.sock.family => Err(Errno::AFNOSUPPORT),
            Some(_) => Err(Errno::BADFD),
        }
    }
}

/// Whether Linux lets a program read so many bytes there.
pub(crate) fn may_read(offset: i64, size: Size) -> bool {
    match (offset, size) {
        (at::DATA | at::DATA_END | at::SK | at::MIGRATING_SK, size) => size == Size::B8,
        (at::HASH, size) => size == Size::B4,
        (at::ETH_PROTOCOL..at::IP_PROTOCOL, Size::B1) | (_, Size::B8) => false,
        (at::LEN..at::HASH, size) => offset % size.bytes() as i64 == 0,
        _ => false,
    }
}

impl Host for ReuseportHost<'_> {
    type Sockets = World;

    fn sockets(&self) -> &World {
        self.world
    }

    fn context(&self, offset: i64, size: Size) -> Option<Value> {
        if !may_read(offset, size) {
            return None;
        }
        let in_packet = |offset: usize| Value::Pointer(Pointer { region: Region::Packet, offset: offset as i64 });
        let field = match offset {
            at::DATA => return Some(in_packet(0)),
            at::DATA_END => return Some(in_packet(self.packet.len())),
            at::SK => return Some(Value::start_of(Region::Socket(self.sock.id))),
            at::MIGRATING_SK => return Some(Value::NULL),
            at::LEN..at::ETH_PROTOCOL => self.packet.len() as u32,
            at::ETH_PROTOCOL..at::IP_PROTOCOL => u32::from(if self.ipv4 { 0x0800u16 } else { 0x86dd }.to_be()),
            at::IP_PROTOCOL..at::BIND_INANY => u32::from(self.sock.protocol.number()),
            at::BIND_INANY..at::HASH => u32::from(self.sock.local.to_canonical().is_unspecified()),
            _ => self.hash,
        };
        let from = (offset % 4) as usize;
        Some(Value::Scalar(number(&field.to_ne_bytes()[from..from + size.bytes()])))
    }

    fn socket_field(&self, socket: SocketId, offset: i64, size: Size) -> Option<u64> {
        fields::of_socket(self.world, socket, offset, size)
    }

    fn packet(&self) -> &[u8] {
        &self.packet
    }

    fn sk_assign(&mut self, _socket: Option<SocketId>, _flags: u64) -> Result<(), Errno> {
        Err(Errno::INVAL)
    }

    fn sk_select_reuseport(&mut self, map: &Map, key: &[u8], flags: u64) -> Result<(), Errno> {
        if flags != 0 {
            return Err(Errno::INVAL);
        }
        let socket = map.socket(key, self.world).ok_or(Errno::NOENT)?;
        self.check_member(socket, map.kind())?;
        self.selected = Some(socket);
        Ok(())
    }

    fn cpu(&self) -> u32 {
        self.cpu
    }

    fn time(&self) -> u64 {
        self.machine.time()
    }

    fn random(&mut self) -> u32 {
        self.machine.random()
    }

    /// None of its helpers prints.
    fn print(&mut self, _text: &[u8]) {}
}

impl Packet {
    /// The packet from its transport header on, without checksums.
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(self.source.port().to_be_bytes());
        bytes.extend(self.destination.port().to_be_bytes());
        match self.protocol {
            Protocol::Udp => {
                bytes.extend((self.payload.len() as u16).saturating_add(8).to_be_bytes());
                bytes.extend([0; 2]);
            }
            Protocol::Tcp => {
                let segment = self.segment;
                let flags = [segment.fin, segment.syn, segment.rst, false, segment.ack];
                let flags = flags.into_iter().rev().fold(0u8, |bits, flag| bits << 1 | u8::from(flag));
                bytes.extend(segment.seq.to_be_bytes());
                bytes.extend(segment.ack_seq.to_be_bytes());
                // Five words of header, the flags, a window.
                bytes.extend([5 << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
            }
        }
        bytes.extend(&self.payload);
        bytes
    }
}
