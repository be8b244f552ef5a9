//! What starts with a register: arithmetic, loads, and what else has a result.

use super::ParseError;
use super::cursor::Cursor;
use super::memory::{fetching, load};
use super::operand::{CONSTANT, name, operand, register, register_of};
use super::statement::{FAR_RANGE, Statement, U32_RANGE, plain};
use super::symbols::{ALU, ORDERS, SIGNED, meaning, register_name};
use crate::insn::{AluOp, Insn, MapRef, Order, Reg, Size, Wide, Width};

const I32_RANGE: &str = "write -2147483648 to 2147483647";
const I64_RANGE: &str = "write -9223372036854775808 to 0xffffffffffffffff";

/// Reads on after the register, which stands at `start`.
pub(super) fn assignment<'a>(
    cursor: &mut Cursor<'a>,
    start: usize,
    width: Width,
    dst: Reg,
) -> Result<Statement<'a>, ParseError> {
    let Some(op) = cursor.symbol(&ALU) else {
        return Err(cursor.expected("`=` or an operator like `+=`"));
    };
    if op != AluOp::Mov {
        return arithmetic(cursor, op, width, dst);
    }
    let value = cursor.mark();
    if cursor.take("(") {
        return sign_extension(cursor, width, dst);
    }
    if let Some(statement) = negation(cursor, width, dst)? {
        return Ok(statement);
    }
    if let Some(statement) = whole_register(cursor, dst)? {
        if width == Width::W32 {
            let what = format!("{} can only be the result of 32-bit arithmetic", register_name(width, dst));
            return Err(cursor.error_at(start, what, format!("write {dst}")));
        }
        return Ok(statement);
    }
    cursor.back_to(value);
    arithmetic(cursor, op, width, dst)
}

fn arithmetic<'a>(cursor: &mut Cursor<'a>, op: AluOp, width: Width, dst: Reg) -> Result<Statement<'a>, ParseError> {
    let src = operand(cursor, width, dst, |_| width == Width::W32)?;
    Ok(plain(Insn::Alu { width, op, dst, src }))
}

/// `s8)r2`, after the parenthesis.
fn sign_extension(cursor: &mut Cursor<'_>, width: Width, dst: Reg) -> Result<Statement<'static>, ParseError> {
    let start = cursor.mark();
    let from = meaning(&SIGNED, cursor.word());
    let Some(from) = from.filter(|&from| width == Width::W64 || from != Size::B4) else {
        cursor.back_to(start);
        return Err(cursor.expected(if width == Width::W64 { "s8, s16 or s32" } else { "s8 or s16" }));
    };
    cursor.expect(")")?;
    Ok(plain(Insn::MovSigned { width, from, dst, src: register(cursor, width)? }))
}

/// `-r1`; `None` if a constant follows the sign, or there is none.
fn negation(cursor: &mut Cursor<'_>, width: Width, dst: Reg) -> Result<Option<Statement<'static>>, ParseError> {
    let start = cursor.mark();
    if !cursor.take("-") || !cursor.peek().is_some_and(|c| c.is_ascii_alphabetic()) {
        cursor.back_to(start);
        return Ok(None);
    }
    itself(cursor, width, dst)?;
    Ok(Some(plain(Insn::Neg { width, dst })))
}

/// Values that always fill 64 bits; `None` if none of them is next.
fn whole_register<'a>(cursor: &mut Cursor<'a>, dst: Reg) -> Result<Option<Statement<'a>>, ParseError> {
    if cursor.take("*") {
        return load(cursor, dst).map(plain).map(Some);
    }
    let start = cursor.mark();
    if let Some('0'..='9' | '-' | '+') = cursor.peek() {
        let number = cursor.number(CONSTANT)?;
        if !cursor.take("ll") {
            return Ok(None);
        }
        let bits = u64::try_from(number.value).or_else(|_| i64::try_from(number.value).map(|value| value as u64));
        let bits = bits.map_err(|_| cursor.error_at(start, format!("{number} does not fit 64 bits"), I64_RANGE))?;
        return Ok(Some(plain(Insn::LoadWide { dst, value: Wide::Imm(bits) })));
    }
    let word = cursor.word();
    if word.starts_with("atomic") {
        return fetching(cursor, word, start, dst).map(plain).map(Some);
    }
    if let Some((order, size)) = swap_of(word) {
        itself(cursor, Width::W64, dst)?;
        return Ok(Some(plain(Insn::Swap { order, size, dst })));
    }
    match word {
        "map" => map_address(cursor, dst).map(Some),
        "subprog" => function_address(cursor, dst).map(Some),
        "variable" => {
            cursor.expect("[")?;
            let id = cursor.integer("the id of a variable", U32_RANGE)?;
            cursor.expect("]")?;
            cursor.expect("ll")?;
            Ok(Some(plain(Insn::LoadWide { dst, value: Wide::Variable(id) })))
        }
        _ => Ok(None),
    }
}

/// `[sockets] ll` or `[sockets][0]+8 ll`, after `map`.
fn map_address<'a>(cursor: &mut Cursor<'a>, dst: Reg) -> Result<Statement<'a>, ParseError> {
    cursor.expect("[")?;
    let mut named = None;
    let map = match cursor.peek() {
        Some('0'..='9') => MapRef::Index(cursor.integer("the number of a map", U32_RANGE)?),
        _ if cursor.take("fd:") => MapRef::Fd(cursor.integer("a file descriptor", I32_RANGE)?),
        _ => {
            named = Some(name(cursor, "a map by name or number, or fd: and a number")?);
            MapRef::Index(0)
        }
    };
    cursor.expect("]")?;
    let value = if cursor.take("[") {
        cursor.expect("0")?;
        cursor.expect("]")?;
        let offset = cursor.signed("an offset into the value", "write +0 to +4294967295")?;
        Wide::MapValue { map, offset }
    } else {
        Wide::Map(map)
    };
    cursor.expect("ll")?;
    Ok(Statement { insn: Insn::LoadWide { dst, value }, label: None, map: named })
}

/// `[+5] ll` or `[label] ll`, after `subprog`.
fn function_address<'a>(cursor: &mut Cursor<'a>, dst: Reg) -> Result<Statement<'a>, ParseError> {
    cursor.expect("[")?;
    let (distance, label) = match cursor.peek() {
        Some('+' | '-') => (cursor.signed("a distance", FAR_RANGE)?, None),
        _ => (0, Some(name(cursor, "a label, or a distance with its sign")?)),
    };
    cursor.expect("]")?;
    cursor.expect("ll")?;
    Ok(Statement { insn: Insn::LoadWide { dst, value: Wide::Function(distance) }, label, map: None })
}

/// The register of the result again, where the instruction has only one.
fn itself(cursor: &mut Cursor<'_>, width: Width, dst: Reg) -> Result<(), ParseError> {
    let start = cursor.mark();
    if register_of(cursor.word()) == Some((width, dst)) {
        return Ok(());
    }
    let valid = format!("write {}", register_name(width, dst));
    Err(cursor.error_at(start, "the operand is the register of the result", valid))
}

fn swap_of(word: &str) -> Option<(Order, Size)> {
    ORDERS.iter().find_map(|&(order, name)| {
        let size = match word.strip_prefix(name)? {
            "16" => Size::B2,
            "32" => Size::B4,
            "64" => Size::B8,
            _ => return None,
        };
        Some((order, size))
    })
}
