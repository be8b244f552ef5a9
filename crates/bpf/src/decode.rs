//! Bytes to instructions: the inverse of [`encode`](crate::encode), with the same tables.
//!
//! Everything that RFC 9669 leaves undefined is an error, but for calls by register: an unused opcode, a field that must be zero and is not, a
//! register above r10, a wide instruction cut short. So whatever decodes, encodes to the same bytes.

use thiserror::Error;

use crate::encode::{ALU_OPS, ATOMIC_OPS, CONDS, SIZES, Slot, X, alu, callee, class, jump, mode, wide};
use crate::insn::{AluOp, Callee, Insn, MapRef, Order, Reg, Size, Source, Wide, Width};

/// Bytes that are no instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("slot {slot}: {kind}")]
pub struct DecodeError {
    /// Slot of the instruction, from 0; the first one of a wide instruction.
    pub slot: usize,
    /// What is there.
    pub kind: DecodeErrorKind,
}

/// What was found where an instruction was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DecodeErrorKind {
    /// The bytes end inside a slot.
    #[error("the last slot has {bytes} of its 8 bytes")]
    PartialSlot {
        /// How many there are.
        bytes: usize,
    },
    /// A wide instruction without its second slot.
    #[error("a wide load needs two slots and the program ends after the first")]
    CutShort,
    /// A second slot of a wide instruction with more than an `imm`.
    #[error("the second slot of the wide load has {field} {value}, must be 0")]
    SecondSlot {
        /// The field.
        field: &'static str,
        /// What it holds.
        value: i64,
    },
    /// `LD ABS` or `LD IND`, which only socket filters of old may use.
    #[error("opcode {opcode:#04x} is LD {mode}, legacy packet access; use loads from the context")]
    PacketAccess {
        /// The opcode.
        opcode: u8,
        /// `ABS` or `IND`.
        mode: &'static str,
    },
    /// An opcode that RFC 9669 doesn't define.
    #[error("opcode {opcode:#04x} is not defined by RFC 9669")]
    Opcode {
        /// The opcode.
        opcode: u8,
    },
    /// A register above r10.
    #[error("{field} is register {number}, registers are 0 to 10")]
    Register {
        /// `dst_reg` or `src_reg`.
        field: &'static str,
        /// The number.
        number: u8,
    },
    /// A field with a value that means nothing with this opcode.
    #[error("opcode {opcode:#04x} has {field} {value}, must be {valid}")]
    Field {
        /// The opcode.
        opcode: u8,
        /// The field, by its name in RFC 9669.
        field: &'static str,
        /// What it holds.
        value: i64,
        /// What it could hold.
        valid: &'static str,
    },
}

/// The instructions in these bytes, 8 a slot, in the host's byte order.
///
/// # Errors
/// The first slot that is no instruction.
pub fn decode(bytes: &[u8]) -> Result<Vec<Insn>, DecodeError> {
    let (whole, rest) = bytes.as_chunks::<8>();
    let slots: Vec<Slot> = whole.iter().map(|bytes| Slot::from_bytes(*bytes)).collect();
    let insns = decode_slots(&slots)?;
    if !rest.is_empty() {
        return Err(DecodeError { slot: slots.len(), kind: DecodeErrorKind::PartialSlot { bytes: rest.len() } });
    }
    Ok(insns)
}

/// The instructions in these slots.
///
/// # Errors
/// The first slot that is no instruction.
pub fn decode_slots(slots: &[Slot]) -> Result<Vec<Insn>, DecodeError> {
    let mut insns = Vec::with_capacity(slots.len());
    let mut at = 0;
    while let Some(&first) = slots.get(at) {
        let insn = instruction(first, slots.get(at + 1)).map_err(|kind| DecodeError { slot: at, kind })?;
        at += insn.slots();
        insns.push(insn);
    }
    Ok(insns)
}

type Decoded<T = Insn> = Result<T, DecodeErrorKind>;

fn instruction(slot: Slot, next: Option<&Slot>) -> Decoded {
    let in_class = slot.opcode & 0x07;
    match in_class {
        class::LD => load_wide(slot, next),
        class::LDX => load(slot),
        class::ST | class::STX => store(slot),
        class::ALU => arithmetic(slot, Width::W32),
        class::ALU64 => arithmetic(slot, Width::W64),
        class::JMP => jump_or_call(slot, Width::W64),
        class::JMP32 => jump_or_call(slot, Width::W32),
        _ => unreachable!("three bits have eight values"),
    }
}

fn load_wide(slot: Slot, next: Option<&Slot>) -> Decoded {
    match (slot.opcode & 0xe0, size(slot)) {
        (mode::IMM, Size::B8) => {}
        (mode::ABS, Size::B1 | Size::B2 | Size::B4) => {
            return Err(DecodeErrorKind::PacketAccess { opcode: slot.opcode, mode: "ABS" });
        }
        (mode::IND, Size::B1 | Size::B2 | Size::B4) => {
            return Err(DecodeErrorKind::PacketAccess { opcode: slot.opcode, mode: "IND" });
        }
        _ => return Err(undefined(slot)),
    }
    let second = next.ok_or(DecodeErrorKind::CutShort)?;
    for (field, value) in [
        ("opcode", i64::from(second.opcode)),
        ("dst_reg", i64::from(second.dst)),
        ("src_reg", i64::from(second.src)),
        ("offset", i64::from(second.offset)),
    ] {
        if value != 0 {
            return Err(DecodeErrorKind::SecondSlot { field, value });
        }
    }
    uses(slot, DST | SRC | IMM)?;
    let (low, high) = (slot.imm, second.imm);
    let value = match slot.src {
        wide::IMM => Wide::Imm(u64::from(high as u32) << 32 | u64::from(low as u32)),
        wide::MAP_VALUE_FD => Wide::MapValue { map: MapRef::Fd(low), offset: high as u32 },
        wide::MAP_VALUE_INDEX => Wide::MapValue { map: MapRef::Index(low as u32), offset: high as u32 },
        wide::MAP_FD | wide::MAP_INDEX | wide::VARIABLE | wide::FUNCTION if high != 0 => {
            return Err(DecodeErrorKind::SecondSlot { field: "imm", value: i64::from(high) });
        }
        wide::MAP_FD => Wide::Map(MapRef::Fd(low)),
        wide::MAP_INDEX => Wide::Map(MapRef::Index(low as u32)),
        wide::VARIABLE => Wide::Variable(low as u32),
        wide::FUNCTION => Wide::Function(low),
        other => return Err(field(slot, "src_reg", i64::from(other), "0 to 6")),
    };
    Ok(Insn::LoadWide { dst: dst(slot)?, value })
}

fn load(slot: Slot) -> Decoded {
    let size = size(slot);
    let signed = match slot.opcode & 0xe0 {
        mode::MEM => false,
        mode::MEMSX if size != Size::B8 => true,
        _ => return Err(undefined(slot)),
    };
    uses(slot, DST | SRC | OFFSET)?;
    let (dst, base, offset) = (dst(slot)?, src(slot)?, slot.offset);
    Ok(if signed { Insn::LoadSigned { size, dst, base, offset } } else { Insn::Load { size, dst, base, offset } })
}

fn store(slot: Slot) -> Decoded {
    let (size, base, offset) = (size(slot), dst(slot), slot.offset);
    match (slot.opcode & 0x07, slot.opcode & 0xe0) {
        (class::ST, mode::MEM) => {
            uses(slot, DST | OFFSET | IMM)?;
            Ok(Insn::Store { size, base: base?, offset, src: Source::Imm(slot.imm) })
        }
        (class::STX, mode::MEM) => {
            uses(slot, DST | SRC | OFFSET)?;
            Ok(Insn::Store { size, base: base?, offset, src: Source::Reg(src(slot)?) })
        }
        (class::STX, mode::ATOMIC) if matches!(size, Size::B4 | Size::B8) => {
            let row = ATOMIC_OPS.iter().find(|row| row.1 == slot.imm);
            let (op, _) = *row.ok_or_else(|| field(slot, "imm", i64::from(slot.imm), "an atomic operation"))?;
            Ok(Insn::Atomic { size, op, base: base?, offset, src: src(slot)? })
        }
        _ => Err(undefined(slot)),
    }
}

fn arithmetic(slot: Slot, width: Width) -> Decoded {
    let code = slot.opcode & 0xf0;
    let from_register = slot.opcode & X != 0;
    match code {
        alu::NEG if from_register => Err(undefined(slot)),
        alu::NEG => {
            uses(slot, DST)?;
            Ok(Insn::Neg { width, dst: dst(slot)? })
        }
        alu::END => swap(slot, width),
        alu::MOV if from_register && slot.offset != 0 => {
            uses(slot, DST | SRC | OFFSET)?;
            let from = match (slot.offset, width) {
                (8, _) => Size::B1,
                (16, _) => Size::B2,
                (32, Width::W64) => Size::B4,
                (other, Width::W32) => return Err(field(slot, "offset", i64::from(other), "0, 8 or 16")),
                (other, Width::W64) => return Err(field(slot, "offset", i64::from(other), "0, 8, 16 or 32")),
            };
            Ok(Insn::MovSigned { width, from, dst: dst(slot)?, src: src(slot)? })
        }
        _ => {
            let op = two_operands(slot)?;
            Ok(Insn::Alu { width, op, dst: dst(slot)?, src: source(slot)? })
        }
    }
}

fn two_operands(slot: Slot) -> Decoded<AluOp> {
    let of_code = || ALU_OPS.iter().filter(|row| row.1 == slot.opcode & 0xf0);
    let valid = match of_code().count() {
        0 => return Err(undefined(slot)),
        1 => "0",
        _ => "0, or 1 for signed",
    };
    let row = of_code().find(|row| row.2 == slot.offset);
    row.map(|row| row.0).ok_or_else(|| field(slot, "offset", i64::from(slot.offset), valid))
}

fn swap(slot: Slot, width: Width) -> Decoded {
    let order = match (width, slot.opcode & X) {
        (Width::W32, 0) => Order::Little,
        (Width::W32, _) => Order::Big,
        (Width::W64, 0) => Order::Swap,
        (Width::W64, _) => return Err(undefined(slot)),
    };
    uses(slot, DST | IMM)?;
    let size = match slot.imm {
        16 => Size::B2,
        32 => Size::B4,
        64 => Size::B8,
        other => return Err(field(slot, "imm", i64::from(other), "16, 32 or 64")),
    };
    Ok(Insn::Swap { order, size, dst: dst(slot)? })
}

fn jump_or_call(slot: Slot, width: Width) -> Decoded {
    let plain = slot.opcode & X == 0;
    match (slot.opcode & 0xf0, width) {
        (jump::JA, Width::W64) if plain => {
            uses(slot, OFFSET)?;
            Ok(Insn::Jump { offset: slot.offset })
        }
        (jump::JA, Width::W32) if plain => {
            uses(slot, IMM)?;
            Ok(Insn::JumpLong { offset: slot.imm })
        }
        (jump::CALL, Width::W64) if plain => call(slot),
        (jump::CALL, Width::W64) => {
            uses(slot, DST)?;
            Ok(Insn::Call(Callee::Register(dst(slot)?)))
        }
        (jump::EXIT, Width::W64) if plain => {
            uses(slot, 0)?;
            Ok(Insn::Exit)
        }
        (code, _) => {
            let (cond, _) = *CONDS.iter().find(|row| row.1 == code).ok_or_else(|| undefined(slot))?;
            Ok(Insn::Branch { width, cond, dst: dst(slot)?, src: source(slot)?, offset: slot.offset })
        }
    }
}

fn call(slot: Slot) -> Decoded {
    uses(slot, if slot.src == callee::KFUNC { SRC | OFFSET | IMM } else { SRC | IMM })?;
    Ok(Insn::Call(match slot.src {
        callee::HELPER => Callee::Helper(slot.imm as u32),
        callee::LOCAL => Callee::Local(slot.imm),
        callee::KFUNC => Callee::Kfunc { id: slot.imm as u32, module: slot.offset },
        other => return Err(field(slot, "src_reg", i64::from(other), "0, 1 or 2")),
    }))
}

/// Fields that an instruction uses, for [`uses`].
const DST: u8 = 1;
const SRC: u8 = 2;
const OFFSET: u8 = 4;
const IMM: u8 = 8;

/// Every field that is not in the set `used` must be zero.
fn uses(slot: Slot, used: u8) -> Decoded<()> {
    for (bit, name, value) in [
        (DST, "dst_reg", i64::from(slot.dst)),
        (SRC, "src_reg", i64::from(slot.src)),
        (OFFSET, "offset", i64::from(slot.offset)),
        (IMM, "imm", i64::from(slot.imm)),
    ] {
        if used & bit == 0 && value != 0 {
            return Err(field(slot, name, value, "0"));
        }
    }
    Ok(())
}

/// The second operand, and that the field of the other kind of operand is zero.
fn source(slot: Slot) -> Decoded<Source> {
    if slot.opcode & X == 0 {
        uses(slot, DST | OFFSET | IMM)?;
        Ok(Source::Imm(slot.imm))
    } else {
        uses(slot, DST | SRC | OFFSET)?;
        Ok(Source::Reg(src(slot)?))
    }
}

fn dst(slot: Slot) -> Decoded<Reg> {
    Reg::from_number(slot.dst).ok_or(DecodeErrorKind::Register { field: "dst_reg", number: slot.dst })
}

fn src(slot: Slot) -> Decoded<Reg> {
    Reg::from_number(slot.src).ok_or(DecodeErrorKind::Register { field: "src_reg", number: slot.src })
}

fn size(slot: Slot) -> Size {
    let bits = slot.opcode & 0x18;
    SIZES.iter().find(|row| row.1 == bits).map(|row| row.0).expect("two bits have four rows")
}

fn undefined(slot: Slot) -> DecodeErrorKind {
    DecodeErrorKind::Opcode { opcode: slot.opcode }
}

fn field(slot: Slot, field: &'static str, value: i64, valid: &'static str) -> DecodeErrorKind {
    DecodeErrorKind::Field { opcode: slot.opcode, field, value, valid }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(slots: &[Slot]) -> String {
        decode_slots(slots).unwrap_err().to_string()
    }

    const WIDE: Slot = Slot { opcode: 0x18, dst: 1, src: 0, offset: 0, imm: 7 };

    #[test]
    fn a_wide_instruction_is_one_instruction_of_two_slots() {
        let upper = Slot { imm: 1, ..Slot::default() };
        assert_eq!(
            decode_slots(&[WIDE, upper]),
            Ok(vec![Insn::LoadWide { dst: Reg::R1, value: Wide::Imm(0x1_0000_0007) }])
        );
    }

    #[test]
    fn a_wide_instruction_cut_short_is_an_error() {
        let exit = Slot { opcode: 0x95, ..Slot::default() };
        assert_eq!(message(&[exit, WIDE]), "slot 1: a wide load needs two slots and the program ends after the first");
    }

    #[test]
    fn a_second_slot_holds_only_an_imm() {
        let exit = Slot { opcode: 0x95, ..Slot::default() };
        assert_eq!(message(&[WIDE, exit]), "slot 0: the second slot of the wide load has opcode 149, must be 0");
        let map = Slot { src: wide::MAP_FD, ..WIDE };
        let upper = Slot { imm: 1, ..Slot::default() };
        assert_eq!(message(&[map, upper]), "slot 0: the second slot of the wide load has imm 1, must be 0");
    }

    #[test]
    fn legacy_packet_access_is_refused_by_name() {
        let absolute = Slot { opcode: 0x30, imm: 12, ..Slot::default() };
        assert_eq!(
            message(&[absolute]),
            "slot 0: opcode 0x30 is LD ABS, legacy packet access; use loads from the context"
        );
        let indirect = Slot { opcode: 0x40, src: 2, ..Slot::default() };
        assert!(message(&[indirect]).contains("LD IND"));
    }

    #[test]
    fn reserved_fields_are_zero() {
        let add = Slot { opcode: 0x07, dst: 1, src: 0, offset: 3, imm: 5 };
        assert_eq!(message(&[add]), "slot 0: opcode 0x07 has offset 3, must be 0");
        let add = Slot { offset: 0, src: 4, ..add };
        assert_eq!(message(&[add]), "slot 0: opcode 0x07 has src_reg 4, must be 0");
        let exit = Slot { opcode: 0x95, imm: -1, ..Slot::default() };
        assert_eq!(message(&[exit]), "slot 0: opcode 0x95 has imm -1, must be 0");
    }

    #[test]
    fn registers_end_at_r10() {
        let mov = Slot { opcode: 0xbf, dst: 1, src: 11, offset: 0, imm: 0 };
        assert_eq!(message(&[mov]), "slot 0: src_reg is register 11, registers are 0 to 10");
    }

    #[test]
    fn bytes_that_end_inside_a_slot_are_an_error() {
        let mut bytes = Slot { opcode: 0x95, ..Slot::default() }.to_bytes().to_vec();
        bytes.extend([0x95, 0, 0]);
        assert_eq!(decode(&bytes).unwrap_err().to_string(), "slot 1: the last slot has 3 of its 8 bytes");
    }

    #[test]
    fn a_call_by_register_has_it_in_its_destination() {
        let callx = Slot { opcode: 0x8d, dst: 3, ..Slot::default() };
        assert_eq!(decode_slots(&[callx]), Ok(vec![Insn::Call(Callee::Register(Reg::R3))]));
        let of_old = Slot { dst: 0, imm: 3, ..callx };
        assert_eq!(message(&[of_old]), "slot 0: opcode 0x8d has imm 3, must be 0");
    }

    #[test]
    fn linux_extensions_beyond_the_rfc_are_refused() {
        for (opcode, what) in [(0xe5, "may_goto"), (0x0d, "goto by register")] {
            let slot = Slot { opcode, ..Slot::default() };
            assert_eq!(decode_slots(&[slot]).map_err(|e| e.kind), Err(DecodeErrorKind::Opcode { opcode }), "{what}");
        }
        let load_acquire = Slot { opcode: 0xdb, imm: 0x100, ..Slot::default() };
        assert_eq!(message(&[load_acquire]), "slot 0: opcode 0xdb has imm 256, must be an atomic operation");
    }
}
