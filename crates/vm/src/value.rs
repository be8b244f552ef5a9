//! Values in registers: scalars, and pointers that are a region and an offset.
//!
//! No address of the host ever enters a program: what a pointer leads to is looked up at each access, and checked.

use std::fmt;

use crate::socket::SocketId;

/// What a register holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// A number.
    Scalar(u64),
    /// An address.
    Pointer(Pointer),
}

/// An address: a place in a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pointer {
    /// The region.
    pub region: Region,
    /// Bytes from its start; accesses outside are faults, the number itself may be anything.
    pub offset: i64,
}

/// What a pointer leads into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Region {
    /// The context that the program was started with.
    Context,
    /// The stack of a frame; offset 0 is its upper end, where R10 points.
    Stack {
        /// Calls before this one: 0 for the program itself.
        frame: usize,
    },
    /// A subprogram, which can only be called.
    Subprogram {
        /// Index of its first instruction.
        at: usize,
    },
    /// A map itself, which can only be given to helpers.
    Map(MapNumber),
    /// A value in a map.
    MapValue {
        /// The map.
        map: MapNumber,
        /// Which of its values.
        place: usize,
    },
    /// The key of the entry that a callback is called for.
    Key {
        /// The frame of the callback.
        frame: usize,
    },
    /// A record of a ring buffer that the run has reserved and not yet submitted.
    Record(RecordNumber),
    /// A socket (`struct bpf_sock`).
    Socket(SocketId),
    /// The packet, where the program type lets a program see it.
    Packet,
}

/// A map as a run knows it: first those of the program, then others in the order in which it came upon them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapNumber(pub(crate) usize);

/// A record as a run knows it: in the order in which it reserved them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordNumber(pub(crate) usize);

impl Value {
    /// NULL, and every other zero.
    pub const NULL: Value = Value::Scalar(0);

    /// The first byte of a region.
    pub fn start_of(region: Region) -> Value {
        Value::Pointer(Pointer { region, offset: 0 })
    }
}

impl Pointer {
    /// The pointer that is `bytes` further on.
    pub(crate) fn plus(self, bytes: u64) -> Pointer {
        Pointer { offset: self.offset.wrapping_add(bytes as i64), ..self }
    }
}

/// As in "a pointer to the stack".
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Scalar(0) => f.write_str("NULL"),
            Value::Scalar(number) => write!(f, "the number {number}"),
            Value::Pointer(pointer) => write!(f, "a pointer to {}", pointer.region),
        }
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Region::Context => "the context",
            Region::Stack { .. } => "the stack",
            Region::Subprogram { .. } => "a subprogram",
            Region::Map(_) => "a map",
            Region::MapValue { .. } => "a map value",
            Region::Key { .. } => "a key",
            Region::Record(_) => "a record of a ring buffer",
            Region::Socket(_) => "a socket",
            Region::Packet => "the packet",
        })
    }
}
