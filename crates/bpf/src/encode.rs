//! Instructions to bytes.
//!
//! A slot, RFC 9669 section 3, in memory order on a little-endian machine:
//!
//! ```text
//!  byte 0    byte 1            bytes 2-3   bytes 4-7
//! +--------+-----------------+-----------+-----------+
//! | opcode | src:4   dst:4   |  offset   |    imm    |
//! +--------+-----------------+-----------+-----------+
//! opcode of load and store:      mode:3 size:2 class:3
//! opcode of arithmetic and jump: code:4 source:1 class:3
//! ```
//!
//! A wide instruction is two slots: the second has only an `imm`, the upper half of the constant.

use crate::insn::{AluOp, AtomicOp, Callee, Cond, Insn, MapRef, Order, Reg, Size, Source, Wide, Width};

/// Instruction classes.
pub(crate) mod class {
    pub(crate) const LD: u8 = 0;
    pub(crate) const LDX: u8 = 1;
    pub(crate) const ST: u8 = 2;
    pub(crate) const STX: u8 = 3;
    pub(crate) const ALU: u8 = 4;
    pub(crate) const JMP: u8 = 5;
    pub(crate) const JMP32: u8 = 6;
    pub(crate) const ALU64: u8 = 7;
}

/// Modes of load and store.
pub(crate) mod mode {
    pub(crate) const IMM: u8 = 0x00;
    /// Legacy packet access; decoded only to be refused by name.
    pub(crate) const ABS: u8 = 0x20;
    /// Legacy packet access, as [`ABS`].
    pub(crate) const IND: u8 = 0x40;
    pub(crate) const MEM: u8 = 0x60;
    pub(crate) const MEMSX: u8 = 0x80;
    pub(crate) const ATOMIC: u8 = 0xc0;
}

/// The source bit: set when the operand is a register.
pub(crate) const X: u8 = 0x08;

/// Codes of calls and jumps that are not comparisons.
pub(crate) mod jump {
    pub(crate) const JA: u8 = 0x00;
    pub(crate) const CALL: u8 = 0x80;
    pub(crate) const EXIT: u8 = 0x90;
}

/// Codes of arithmetic that [`AluOp`] has no row for.
pub(crate) mod alu {
    pub(crate) const NEG: u8 = 0x80;
    pub(crate) const MOV: u8 = 0xb0;
    pub(crate) const END: u8 = 0xd0;
}

/// Bit of an atomic operation that returns the old value.
pub(crate) const FETCH: i32 = 0x01;

/// Arithmetic: operation, code, offset field (1: signed division and modulo).
pub(crate) const ALU_OPS: [(AluOp, u8, i16); 14] = [
    (AluOp::Add, 0x00, 0),
    (AluOp::Sub, 0x10, 0),
    (AluOp::Mul, 0x20, 0),
    (AluOp::Div, 0x30, 0),
    (AluOp::SDiv, 0x30, 1),
    (AluOp::Or, 0x40, 0),
    (AluOp::And, 0x50, 0),
    (AluOp::Lsh, 0x60, 0),
    (AluOp::Rsh, 0x70, 0),
    (AluOp::Mod, 0x90, 0),
    (AluOp::SMod, 0x90, 1),
    (AluOp::Xor, 0xa0, 0),
    (AluOp::Mov, alu::MOV, 0),
    (AluOp::Arsh, 0xc0, 0),
];

/// Conditions: condition, code.
pub(crate) const CONDS: [(Cond, u8); 11] = [
    (Cond::Eq, 0x10),
    (Cond::Gt, 0x20),
    (Cond::Ge, 0x30),
    (Cond::Set, 0x40),
    (Cond::Ne, 0x50),
    (Cond::SGt, 0x60),
    (Cond::SGe, 0x70),
    (Cond::Lt, 0xa0),
    (Cond::Le, 0xb0),
    (Cond::SLt, 0xc0),
    (Cond::SLe, 0xd0),
];

/// Sizes: size, bits of the opcode.
pub(crate) const SIZES: [(Size, u8); 4] = [(Size::B4, 0x00), (Size::B2, 0x08), (Size::B1, 0x10), (Size::B8, 0x18)];

/// Atomic operations: operation, `imm`.
pub(crate) const ATOMIC_OPS: [(AtomicOp, i32); 10] = [
    (AtomicOp::Add { fetch: false }, 0x00),
    (AtomicOp::Add { fetch: true }, FETCH),
    (AtomicOp::Or { fetch: false }, 0x40),
    (AtomicOp::Or { fetch: true }, 0x40 | FETCH),
    (AtomicOp::And { fetch: false }, 0x50),
    (AtomicOp::And { fetch: true }, 0x50 | FETCH),
    (AtomicOp::Xor { fetch: false }, 0xa0),
    (AtomicOp::Xor { fetch: true }, 0xa0 | FETCH),
    (AtomicOp::Xchg, 0xe0 | FETCH),
    (AtomicOp::Cmpxchg, 0xf0 | FETCH),
];

/// What the source register field of a wide load says about its constant.
pub(crate) mod wide {
    pub(crate) const IMM: u8 = 0;
    pub(crate) const MAP_FD: u8 = 1;
    pub(crate) const MAP_VALUE_FD: u8 = 2;
    pub(crate) const VARIABLE: u8 = 3;
    pub(crate) const FUNCTION: u8 = 4;
    pub(crate) const MAP_INDEX: u8 = 5;
    pub(crate) const MAP_VALUE_INDEX: u8 = 6;
}

/// What the source register field of a call says about its `imm`.
pub(crate) mod callee {
    pub(crate) const HELPER: u8 = 0;
    pub(crate) const LOCAL: u8 = 1;
    pub(crate) const KFUNC: u8 = 2;
}

/// The five fields of an 8-byte slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Slot {
    /// Class, and operation or size and mode.
    pub opcode: u8,
    /// Destination register number, 4 bits.
    pub dst: u8,
    /// Source register number, 4 bits, or what a wide load or a call means by its constant.
    pub src: u8,
    /// Offset: bytes for memory, slots for jumps.
    pub offset: i16,
    /// Constant.
    pub imm: i32,
}

impl Slot {
    /// The 8 bytes of the slot in the host's byte order, as a loader hands them to the kernel.
    pub fn to_bytes(self) -> [u8; 8] {
        let registers =
            if cfg!(target_endian = "little") { self.src << 4 | self.dst } else { self.dst << 4 | self.src };
        let [o0, o1] = self.offset.to_ne_bytes();
        let [i0, i1, i2, i3] = self.imm.to_ne_bytes();
        [self.opcode, registers, o0, o1, i0, i1, i2, i3]
    }

    /// The slot in these 8 bytes, in the host's byte order.
    pub fn from_bytes(bytes: [u8; 8]) -> Slot {
        let [opcode, registers, o0, o1, i0, i1, i2, i3] = bytes;
        let (low, high) = (registers & 0xf, registers >> 4);
        let (dst, src) = if cfg!(target_endian = "little") { (low, high) } else { (high, low) };
        Slot { opcode, dst, src, offset: i16::from_ne_bytes([o0, o1]), imm: i32::from_ne_bytes([i0, i1, i2, i3]) }
    }
}

/// All instructions as bytes in the host's byte order, 8 a slot.
pub fn encode(insns: &[Insn]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(insns.len() * 8);
    for insn in insns {
        for slot in slots(insn) {
            bytes.extend_from_slice(&slot.to_bytes());
        }
    }
    bytes
}

/// The one or two slots of an instruction.
pub fn slots(insn: &Insn) -> impl Iterator<Item = Slot> + use<> {
    let (first, second) = slot_pair(insn);
    std::iter::once(first).chain(second)
}

fn slot_pair(insn: &Insn) -> (Slot, Option<Slot>) {
    let one = |slot| (slot, None);
    match *insn {
        Insn::Alu { width, op, dst, src } => {
            let (code, offset) = alu_code(op);
            one(with_source(code | alu_class(width), dst, src, offset))
        }
        Insn::MovSigned { width, from, dst, src } => {
            let opcode = alu::MOV | X | alu_class(width);
            one(Slot { opcode, dst: dst.number(), src: src.number(), offset: from.bytes() as i16 * 8, imm: 0 })
        }
        Insn::Neg { width, dst } => {
            one(Slot { opcode: alu::NEG | alu_class(width), dst: dst.number(), ..Slot::default() })
        }
        Insn::Swap { order, size, dst } => {
            let opcode = alu::END
                | match order {
                    Order::Little => class::ALU,
                    Order::Big => class::ALU | X,
                    Order::Swap => class::ALU64,
                };
            one(Slot { opcode, dst: dst.number(), imm: size.bytes() as i32 * 8, ..Slot::default() })
        }
        Insn::Load { size, dst, base, offset } => one(Slot {
            opcode: class::LDX | mode::MEM | size_bits(size),
            dst: dst.number(),
            src: base.number(),
            offset,
            imm: 0,
        }),
        Insn::LoadSigned { size, dst, base, offset } => one(Slot {
            opcode: class::LDX | mode::MEMSX | size_bits(size),
            dst: dst.number(),
            src: base.number(),
            offset,
            imm: 0,
        }),
        Insn::Store { size, base, offset, src } => one(match src {
            Source::Reg(reg) => Slot {
                opcode: class::STX | mode::MEM | size_bits(size),
                dst: base.number(),
                src: reg.number(),
                offset,
                imm: 0,
            },
            Source::Imm(imm) => {
                Slot { opcode: class::ST | mode::MEM | size_bits(size), dst: base.number(), src: 0, offset, imm }
            }
        }),
        Insn::Atomic { size, op, base, offset, src } => one(Slot {
            opcode: class::STX | mode::ATOMIC | size_bits(size),
            dst: base.number(),
            src: src.number(),
            offset,
            imm: atomic_code(op),
        }),
        Insn::LoadWide { dst, value } => load_wide(dst, value),
        Insn::Jump { offset } => one(Slot { opcode: class::JMP | jump::JA, offset, ..Slot::default() }),
        Insn::JumpLong { offset } => one(Slot { opcode: class::JMP32 | jump::JA, imm: offset, ..Slot::default() }),
        Insn::Branch { width, cond, dst, src, offset } => {
            let class = match width {
                Width::W32 => class::JMP32,
                Width::W64 => class::JMP,
            };
            one(with_source(cond_code(cond) | class, dst, src, offset))
        }
        Insn::Call(callee) => {
            let (src, offset, imm) = match callee {
                Callee::Helper(number) => (callee::HELPER, 0, number as i32),
                Callee::Local(distance) => (callee::LOCAL, 0, distance),
                Callee::Kfunc { id, module } => (callee::KFUNC, module, id as i32),
                Callee::Register(reg) => {
                    let opcode = class::JMP | jump::CALL | X;
                    return one(Slot { opcode, dst: reg.number(), ..Slot::default() });
                }
            };
            one(Slot { opcode: class::JMP | jump::CALL, dst: 0, src, offset, imm })
        }
        Insn::Exit => one(Slot { opcode: class::JMP | jump::EXIT, ..Slot::default() }),
    }
}

fn load_wide(dst: Reg, value: Wide) -> (Slot, Option<Slot>) {
    let (src, low, high) = match value {
        Wide::Imm(imm) => (wide::IMM, imm as i32, (imm >> 32) as i32),
        Wide::Map(MapRef::Fd(fd)) => (wide::MAP_FD, fd, 0),
        Wide::Map(MapRef::Index(index)) => (wide::MAP_INDEX, index as i32, 0),
        Wide::MapValue { map: MapRef::Fd(fd), offset } => (wide::MAP_VALUE_FD, fd, offset as i32),
        Wide::MapValue { map: MapRef::Index(index), offset } => (wide::MAP_VALUE_INDEX, index as i32, offset as i32),
        Wide::Variable(id) => (wide::VARIABLE, id as i32, 0),
        Wide::Function(distance) => (wide::FUNCTION, distance, 0),
    };
    let opcode = class::LD | mode::IMM | size_bits(Size::B8);
    (Slot { opcode, dst: dst.number(), src, offset: 0, imm: low }, Some(Slot { imm: high, ..Slot::default() }))
}

fn with_source(opcode: u8, dst: Reg, src: Source, offset: i16) -> Slot {
    match src {
        Source::Reg(reg) => Slot { opcode: opcode | X, dst: dst.number(), src: reg.number(), offset, imm: 0 },
        Source::Imm(imm) => Slot { opcode, dst: dst.number(), src: 0, offset, imm },
    }
}

fn alu_class(width: Width) -> u8 {
    match width {
        Width::W32 => class::ALU,
        Width::W64 => class::ALU64,
    }
}

fn alu_code(op: AluOp) -> (u8, i16) {
    ALU_OPS.iter().find(|row| row.0 == op).map(|row| (row.1, row.2)).expect("every operation has a row")
}

fn cond_code(cond: Cond) -> u8 {
    CONDS.iter().find(|row| row.0 == cond).map(|row| row.1).expect("every condition has a row")
}

fn size_bits(size: Size) -> u8 {
    SIZES.iter().find(|row| row.0 == size).map(|row| row.1).expect("every size has a row")
}

fn atomic_code(op: AtomicOp) -> i32 {
    ATOMIC_OPS.iter().find(|row| row.0 == op).map(|row| row.1).expect("every operation has a row")
}
