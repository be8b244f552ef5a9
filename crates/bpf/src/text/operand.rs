//! What instructions are about: registers, constants, distances, names.

use super::ParseError;
use super::cursor::{Cursor, Number};
use super::symbols::register_name;
use crate::insn::{Reg, Source, Width};

/// A name and where it stands.
#[derive(Clone, Copy)]
pub(super) struct Name<'a> {
    pub(super) text: &'a str,
    pub(super) mark: usize,
}

pub(super) const CONSTANT: &str = "a register or a constant";
const CONSTANT_RANGE: &str = "write -2147483648 to 2147483647, or load it into a register with `ll`";

/// A register of this width, which must be next.
pub(super) fn register(cursor: &mut Cursor<'_>, width: Width) -> Result<Reg, ParseError> {
    register_of_width(cursor, width)?.ok_or_else(|| {
        cursor.expected(match width {
            Width::W32 => "a register, w0 to w10",
            Width::W64 => "a register, r0 to r10",
        })
    })
}

/// A register of this width, if a register is next.
pub(super) fn register_of_width(cursor: &mut Cursor<'_>, width: Width) -> Result<Option<Reg>, ParseError> {
    let start = cursor.mark();
    match register_of(cursor.word()) {
        Some((of, reg)) if of == width => Ok(Some(reg)),
        other => {
            cursor.back_to(start);
            match other {
                Some(_) if width == Width::W64 => Err(cursor.expected("the whole register, r0 to r10")),
                Some(_) => Err(cursor.expected("the lower half of a register, w0 to w10")),
                None => Ok(None),
            }
        }
    }
}

/// The register that a word names, and how much of it.
pub(super) fn register_of(word: &str) -> Option<(Width, Reg)> {
    let (width, number) = match (word.strip_prefix('r'), word.strip_prefix('w')) {
        (Some(number), _) => (Width::W64, number),
        (None, Some(number)) => (Width::W32, number),
        (None, None) => return None,
    };
    let reg = Reg::from_number(number.parse().ok()?)?;
    let digits = if reg == Reg::R10 { 2 } else { 1 };
    (number.len() == digits).then_some((width, reg))
}

/// A register, or a constant that the instruction sign-extends.
pub(super) fn operand(
    cursor: &mut Cursor<'_>,
    width: Width,
    dst: Reg,
    pattern: impl Fn(Number) -> bool,
) -> Result<Source, ParseError> {
    let start = cursor.mark();
    match register_of(cursor.word()) {
        Some((of, src)) if of == width => return Ok(Source::Reg(src)),
        Some((_, src)) => {
            let first = register_name(width, dst);
            let what = format!("both operands are of one width, and the first is {first}");
            return Err(cursor.error_at(start, what, format!("write {}", register_name(width, src))));
        }
        None => cursor.back_to(start),
    }
    constant(cursor, pattern).map(Source::Imm)
}

/// A 32-bit constant. Where `pattern` says so it may be written as its 32 bits without a sign: where nothing
/// sign-extends them, and in hexadecimal comparisons, which the kernel prints that way.
pub(super) fn constant(cursor: &mut Cursor<'_>, pattern: impl Fn(Number) -> bool) -> Result<i32, ParseError> {
    let start = cursor.mark();
    let number = cursor.number(CONSTANT)?;
    if let Ok(imm) = i32::try_from(number.value) {
        return Ok(imm);
    }
    match u32::try_from(number.value) {
        Ok(bits) if pattern(number) => Ok(bits as i32),
        _ => {
            let what = format!("{number} does not fit a constant that is sign-extended from 32 bits");
            Err(cursor.error_at(start, what, CONSTANT_RANGE))
        }
    }
}

/// A distance, `pc+2` or `+2`, or the name of a label.
pub(super) fn target<'a, T: TryFrom<i128> + Default>(
    cursor: &mut Cursor<'a>,
    range: &str,
) -> Result<(T, Option<Name<'a>>), ParseError> {
    if cursor.peek() == Some('p') {
        let start = cursor.mark();
        if cursor.word() != "pc" {
            cursor.back_to(start);
        } else if !matches!(cursor.peek(), Some('+' | '-')) {
            return Err(cursor.expected("a distance with its sign"));
        }
    }
    match cursor.peek() {
        Some('+' | '-') => Ok((cursor.signed("a distance", range)?, None)),
        _ => Ok((T::default(), Some(name(cursor, "pc+N, pc-N or a label")?))),
    }
}

/// Whether a label or a map can be written as this: letters, digits, `_` and `.`, first no digit.
pub(crate) fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'.')
}

/// A name, which must be next; `what` says of what.
pub(super) fn name<'a>(cursor: &mut Cursor<'a>, what: &str) -> Result<Name<'a>, ParseError> {
    let mark = cursor.mark();
    let text = cursor.word();
    if !is_name(text) {
        cursor.back_to(mark);
        return Err(cursor.expected(what));
    }
    Ok(Name { text, mark })
}
