//! What of a capture could not be read.

use std::fmt;

/// What of a capture could not be read, and where that began.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Damage {
    /// The first fault, and the byte at which what it is about begins.
    pub first: Option<(u64, Fault)>,
    /// How many blocks could not be understood, though it was clear where they end.
    pub skipped: u64,
    /// From which byte on nothing was read; `None`: it was read to its end.
    pub stopped: Option<u64>,
}

/// What is wrong at a place of a capture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The file ends in the middle of a record.
    CutOff,
    /// A record claims to be longer than any can be.
    TooLong {
        /// In bytes.
        claimed: u32,
        /// In bytes.
        longest: usize,
    },
    /// A block claims to be shorter than it can be, or no multiple of four bytes.
    BlockLength(u32),
    /// A block has another length at its end than at its beginning.
    LengthsDiffer {
        /// At the beginning, in bytes.
        before: u32,
        /// At the end, in bytes.
        after: u32,
    },
    /// A section of neither byte order.
    ByteOrder(u32),
    /// A version of the format that is not known.
    Version(u16),
    /// A block ends before what must be in it.
    Incomplete,
    /// A packet of an interface that was not described.
    NoSuchInterface(u32),
    /// More interfaces than are kept.
    TooManyInterfaces,
    /// The system could not read on.
    Read(String),
}

impl Damage {
    /// Whether everything could be read.
    pub fn is_none(&self) -> bool {
        self.first.is_none()
    }

    /// Notes a fault; only the first is kept.
    pub(super) fn note(&mut self, offset: u64, fault: Fault) {
        self.first.get_or_insert((offset, fault));
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::CutOff => f.write_str("it ends in the middle of a record"),
            Fault::TooLong { claimed, longest } => {
                write!(f, "a record of {claimed} bytes is claimed, and none here is longer than {longest}")
            }
            Fault::BlockLength(length) => write!(f, "a block can't have {length} bytes"),
            Fault::LengthsDiffer { before, after } => {
                write!(f, "a block has {before} bytes by its beginning and {after} by its end")
            }
            Fault::ByteOrder(magic) => write!(f, "a section begins with {magic:#010x}, which is no byte order"),
            Fault::Version(major) => write!(f, "a section has version {major} of the format, which is not known"),
            Fault::Incomplete => f.write_str("a block ends before what must be in it"),
            Fault::NoSuchInterface(number) => {
                write!(f, "a packet is of interface {number}, which was not described before it")
            }
            Fault::TooManyInterfaces => f.write_str("more interfaces are described than are kept"),
            Fault::Read(error) => write!(f, "it could not be read on: {error}"),
        }
    }
}
