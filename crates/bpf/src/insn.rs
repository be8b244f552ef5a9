//! One instruction, as RFC 9669 defines it.
//!
//! Offsets of jumps and calls count **slots** of 8 bytes from the slot after the instruction, as in the encoding; a wide
//! instruction takes two slots.

use std::fmt;

/// A register. R10 is the frame pointer and read-only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Reg {
    R0,
    R1,
    R2,
    R3,
    R4,
    R5,
    R6,
    R7,
    R8,
    R9,
    R10,
}

impl Reg {
    /// Every register, by number.
    pub const ALL: [Reg; 11] =
        [Reg::R0, Reg::R1, Reg::R2, Reg::R3, Reg::R4, Reg::R5, Reg::R6, Reg::R7, Reg::R8, Reg::R9, Reg::R10];

    /// The register with this number; `None` above 10.
    pub fn from_number(number: u8) -> Option<Reg> {
        Reg::ALL.get(usize::from(number)).copied()
    }

    /// Its number, 0 to 10.
    pub fn number(self) -> u8 {
        self as u8
    }
}

impl fmt::Display for Reg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{}", self.number())
    }
}

/// The width of an arithmetic operation or a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Width {
    /// The lower 32 bits; a result clears the upper 32.
    W32,
    /// All 64 bits.
    W64,
}

/// The size of a memory access, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Size {
    /// 1 byte.
    B1,
    /// 2 bytes.
    B2,
    /// 4 bytes.
    B4,
    /// 8 bytes.
    B8,
}

impl Size {
    /// The size in bytes.
    pub fn bytes(self) -> usize {
        match self {
            Size::B1 => 1,
            Size::B2 => 2,
            Size::B4 => 4,
            Size::B8 => 8,
        }
    }
}

/// The second operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// A register.
    Reg(Reg),
    /// A constant, sign-extended to the width of the operation.
    Imm(i32),
}

impl From<Reg> for Source {
    fn from(reg: Reg) -> Source {
        Source::Reg(reg)
    }
}

impl From<i32> for Source {
    fn from(imm: i32) -> Source {
        Source::Imm(imm)
    }
}

/// An arithmetic or logical operation of two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum AluOp {
    Add,
    Sub,
    Mul,
    /// Unsigned; division by zero gives 0.
    Div,
    /// Signed; division by zero gives 0.
    SDiv,
    Or,
    And,
    Lsh,
    /// Shift in zeros.
    Rsh,
    /// Unsigned; modulo zero leaves the destination.
    Mod,
    /// Signed; modulo zero leaves the destination.
    SMod,
    Xor,
    Mov,
    /// Shift in copies of the sign bit.
    Arsh,
}

/// What a byte swap is relative to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Order {
    /// Between host order and little-endian.
    Little,
    /// Between host order and big-endian.
    Big,
    /// Always (`bswap`).
    Swap,
}

/// The condition of a branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cond {
    /// Equal.
    Eq,
    /// Not equal.
    Ne,
    /// Unsigned greater.
    Gt,
    /// Unsigned greater or equal.
    Ge,
    /// Unsigned less.
    Lt,
    /// Unsigned less or equal.
    Le,
    /// Any bit in common.
    Set,
    /// Signed greater.
    SGt,
    /// Signed greater or equal.
    SGe,
    /// Signed less.
    SLt,
    /// Signed less or equal.
    SLe,
}

/// An atomic operation on memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AtomicOp {
    /// Add; with `fetch`, the source register gets the old value.
    Add {
        /// Whether the old value is returned.
        fetch: bool,
    },
    /// Or; with `fetch`, the source register gets the old value.
    Or {
        /// Whether the old value is returned.
        fetch: bool,
    },
    /// And; with `fetch`, the source register gets the old value.
    And {
        /// Whether the old value is returned.
        fetch: bool,
    },
    /// Xor; with `fetch`, the source register gets the old value.
    Xor {
        /// Whether the old value is returned.
        fetch: bool,
    },
    /// Exchange with the source register.
    Xchg,
    /// Store the source if memory equals R0; R0 gets the old value.
    Cmpxchg,
}

/// How an instruction names a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MapRef {
    /// By its place in [`crate::ProgramSpec::maps`]; the loader puts the file descriptor in.
    Index(u32),
    /// By file descriptor: only in programs read back from elsewhere.
    Fd(i32),
}

/// What a wide load puts in its register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wide {
    /// A 64-bit constant.
    Imm(u64),
    /// The address of a map.
    Map(MapRef),
    /// The address of a byte in the first value of a one-element array.
    MapValue {
        /// The map.
        map: MapRef,
        /// Offset into the value, in bytes.
        offset: u32,
    },
    /// The address of a variable of the platform, by its id.
    Variable(u32),
    /// The address of a subprogram, by its distance in slots **from the second slot of this load**: the kernel counts
    /// from one after the first (seen on Linux 6.18).
    Function(i32),
}

/// What a call calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Callee {
    /// A helper, by its number.
    Helper(u32),
    /// A subprogram, by its distance in slots.
    Local(i32),
    /// A kernel function, by its BTF id and the index of its BTF object.
    Kfunc {
        /// BTF id.
        id: u32,
        /// Index into the loader's list of BTF objects; 0 is the kernel itself.
        module: i16,
    },
    /// What a register holds: the address of a subprogram, or the number of a helper (`callx`, opcode 0x8d).
    ///
    /// Not of RFC 9669: clang makes it at -O0, bpf_conformance has a group of it. Linux 6.18 refuses it as an unknown
    /// opcode.
    Register(Reg),
}

/// One instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Insn {
    /// `dst = dst op src`.
    Alu {
        /// Operation width.
        width: Width,
        /// The operation.
        op: AluOp,
        /// Destination and first operand.
        dst: Reg,
        /// Second operand.
        src: Source,
    },
    /// `dst = src`, sign-extended from `from`, which is narrower than `width`.
    MovSigned {
        /// Width of the result.
        width: Width,
        /// Size of what is extended.
        from: Size,
        /// Destination.
        dst: Reg,
        /// What is extended.
        src: Reg,
    },
    /// `dst = -dst`.
    Neg {
        /// Operation width.
        width: Width,
        /// Operand and result.
        dst: Reg,
    },
    /// Byte swap of the lower 16, 32 or 64 bits; the rest is cleared.
    Swap {
        /// Which order.
        order: Order,
        /// 2, 4 or 8 bytes.
        size: Size,
        /// Operand and result.
        dst: Reg,
    },
    /// `dst = *(size *)(base + offset)`, zero-extended.
    Load {
        /// Access size.
        size: Size,
        /// Destination.
        dst: Reg,
        /// Base address.
        base: Reg,
        /// Offset in bytes.
        offset: i16,
    },
    /// `dst = *(signed size *)(base + offset)`, sign-extended.
    LoadSigned {
        /// Access size: 1, 2 or 4 bytes.
        size: Size,
        /// Destination.
        dst: Reg,
        /// Base address.
        base: Reg,
        /// Offset in bytes.
        offset: i16,
    },
    /// `*(size *)(base + offset) = src`.
    Store {
        /// Access size.
        size: Size,
        /// Base address.
        base: Reg,
        /// Offset in bytes.
        offset: i16,
        /// What is stored.
        src: Source,
    },
    /// An atomic operation on `*(size *)(base + offset)`.
    Atomic {
        /// 4 or 8 bytes.
        size: Size,
        /// The operation.
        op: AtomicOp,
        /// Base address.
        base: Reg,
        /// Offset in bytes.
        offset: i16,
        /// Operand, and with fetch the old value.
        src: Reg,
    },
    /// A 64-bit load of a constant; takes two slots.
    LoadWide {
        /// Destination.
        dst: Reg,
        /// What is loaded.
        value: Wide,
    },
    /// An unconditional jump.
    Jump {
        /// Distance in slots.
        offset: i16,
    },
    /// An unconditional jump with a 32-bit distance (`gotol`).
    JumpLong {
        /// Distance in slots.
        offset: i32,
    },
    /// A jump if `dst cond src`.
    Branch {
        /// Comparison width.
        width: Width,
        /// The condition.
        cond: Cond,
        /// First operand.
        dst: Reg,
        /// Second operand.
        src: Source,
        /// Distance in slots.
        offset: i16,
    },
    /// A call; R1 to R5 are arguments, R0 the result.
    Call(Callee),
    /// Return R0.
    Exit,
}

impl Insn {
    /// The slot that it jumps to, calls or takes the address of, itself being at `slot`. `None` if it does nothing of the
    /// kind, or leads to before the first slot; the result may be after the last.
    pub fn target(&self, slot: usize) -> Option<usize> {
        let distance = match *self {
            Insn::Jump { offset } | Insn::Branch { offset, .. } => i64::from(offset),
            Insn::JumpLong { offset: distance }
            | Insn::Call(Callee::Local(distance))
            | Insn::LoadWide { value: Wide::Function(distance), .. } => i64::from(distance),
            _ => return None,
        };
        usize::try_from(slot as i64 + 1 + distance).ok()
    }

    /// How many 8-byte slots it takes: two for a wide load, else one.
    pub fn slots(&self) -> usize {
        match self {
            Insn::LoadWide { .. } => 2,
            _ => 1,
        }
    }
}
