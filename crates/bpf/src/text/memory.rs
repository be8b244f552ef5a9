//! Loads, stores and atomic operations.

use super::ParseError;
use super::cursor::{Cursor, quoted};
use super::operand::{constant, register, register_of_width};
use super::symbols::{FETCHING, LOCKED, SIGNED, UNSIGNED, meaning};
use crate::insn::{AtomicOp, Insn, Reg, Size, Source, Width};

const OFFSET_RANGE: &str = "offsets in bytes go from -32768 to 32767";

/// `(u32 *)(r1 +60)`, after the star.
pub(super) fn load(cursor: &mut Cursor<'_>, dst: Reg) -> Result<Insn, ParseError> {
    cursor.expect("(")?;
    let start = cursor.mark();
    let word = cursor.word();
    let (size, signed) = match (meaning(&UNSIGNED, word), meaning(&SIGNED, word)) {
        (Some(size), _) => (size, false),
        (None, Some(size)) => (size, true),
        (None, None) => {
            cursor.back_to(start);
            return Err(cursor.expected("u8, u16, u32, u64, s8, s16 or s32"));
        }
    };
    let (base, offset) = place(cursor)?;
    Ok(if signed { Insn::LoadSigned { size, dst, base, offset } } else { Insn::Load { size, dst, base, offset } })
}

/// `(u32 *)(r1 +60) = r2`, after the star.
pub(super) fn store(cursor: &mut Cursor<'_>) -> Result<Insn, ParseError> {
    let (size, base, offset) = pointer(cursor)?;
    cursor.expect("=")?;
    let src = match register_of_width(cursor, Width::W64)? {
        Some(src) => Source::Reg(src),
        None => Source::Imm(constant(cursor, |_| size != Size::B8)?),
    };
    Ok(Insn::Store { size, base, offset, src })
}

/// `*(u64 *)(r1 +0) += r2`, after `lock`.
pub(super) fn locked(cursor: &mut Cursor<'_>) -> Result<Insn, ParseError> {
    cursor.expect("*")?;
    let start = cursor.mark();
    let (size, base, offset) = pointer(cursor)?;
    atomic_size(cursor, start, size)?;
    let Some(op) = cursor.symbol(&LOCKED) else {
        return Err(cursor.expected("`+=`, `|=`, `&=` or `^=`"));
    };
    Ok(Insn::Atomic { size, op, base, offset, src: register(cursor, Width::W64)? })
}

/// `((u64 *)(r1 +0), r2)`, after the name of the operation.
pub(super) fn fetching(cursor: &mut Cursor<'_>, name: &str, start: usize, dst: Reg) -> Result<Insn, ParseError> {
    let (named, rest) = match name.strip_prefix("atomic64_") {
        Some(rest) => (Size::B8, rest),
        None => (Size::B4, name.strip_prefix("atomic_").unwrap_or_default()),
    };
    let Some(op) = meaning(&FETCHING, rest) else {
        let valid = "expected atomic_ or atomic64_ with fetch_add, fetch_or, fetch_and, fetch_xor, xchg or cmpxchg";
        return Err(cursor.error_at(start, format!("no operation is named {}", quoted(name)), valid));
    };
    cursor.expect("(")?;
    let at = cursor.mark();
    let (size, base, offset) = pointer(cursor)?;
    if size != named {
        let valid = if named == Size::B8 { "write (u64 *), or atomic_" } else { "write (u32 *), or atomic64_" };
        return Err(cursor.error_at(at, format!("{name} is of another size than its operand"), valid));
    }
    cursor.expect(",")?;
    let result = if op == AtomicOp::Cmpxchg {
        let at = cursor.mark();
        if register(cursor, Width::W64)? != Reg::R0 {
            return Err(cursor.error_at(at, "what cmpxchg compares with is always in r0", "write r0"));
        }
        cursor.expect(",")?;
        None
    } else {
        Some(dst)
    };
    let at = cursor.mark();
    let src = register(cursor, Width::W64)?;
    match result {
        Some(dst) if dst != src => {
            return Err(cursor.error_at(
                at,
                format!("the old value goes to {src}, not to {dst}"),
                format!("write {dst}"),
            ));
        }
        None if dst != Reg::R0 => {
            return Err(cursor.error_at(
                at,
                format!("the old value of cmpxchg goes to r0, not to {dst}"),
                "write r0 =",
            ));
        }
        _ => {}
    }
    cursor.expect(")")?;
    Ok(Insn::Atomic { size, op, base, offset, src })
}

/// `(u32 *)(r1 +60)`.
fn pointer(cursor: &mut Cursor<'_>) -> Result<(Size, Reg, i16), ParseError> {
    cursor.expect("(")?;
    let start = cursor.mark();
    let Some(size) = meaning(&UNSIGNED, cursor.word()) else {
        cursor.back_to(start);
        return Err(cursor.expected("u8, u16, u32 or u64"));
    };
    let (base, offset) = place(cursor)?;
    Ok((size, base, offset))
}

/// `*)(r1 +60)`.
fn place(cursor: &mut Cursor<'_>) -> Result<(Reg, i16), ParseError> {
    cursor.expect("*")?;
    cursor.expect(")")?;
    cursor.expect("(")?;
    let base = register(cursor, Width::W64)?;
    let offset = cursor.signed("an offset in bytes", OFFSET_RANGE)?;
    cursor.expect(")")?;
    Ok((base, offset))
}

fn atomic_size(cursor: &Cursor<'_>, at: usize, size: Size) -> Result<(), ParseError> {
    match size {
        Size::B4 | Size::B8 => Ok(()),
        Size::B1 | Size::B2 => {
            Err(cursor.error_at(at, "atomic operations have 32 or 64 bits", "write (u32 *) or (u64 *)"))
        }
    }
}
