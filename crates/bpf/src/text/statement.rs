//! One statement: text to one instruction, with names still to be looked up.

use super::ParseError;
use super::assignment::assignment;
use super::cursor::{Cursor, quoted};
use super::memory::{locked, store};
use super::operand::{Name, operand, register, register_of, target};
use super::symbols::CONDS;
use crate::helpers::{helper_name, helper_number};
use crate::insn::{Callee, Insn, Width};

/// An instruction whose label or map may still be a name.
pub(super) struct Statement<'a> {
    /// The instruction; its distance or map number is 0 where a name stands for it.
    pub(super) insn: Insn,
    /// The label it leads to.
    pub(super) label: Option<Name<'a>>,
    /// The map it loads.
    pub(super) map: Option<Name<'a>>,
}

const NEAR_RANGE: &str = "goto and if reach -32768 to 32767 slots, gotol further";
pub(super) const FAR_RANGE: &str = "distances in slots have 32 bits";
pub(super) const U32_RANGE: &str = "write 0 to 4294967295";
const INSTRUCTION: &str = "an instruction: a register, `*(`, lock, if, goto, gotol, call, callx or exit";

/// Reads the instruction that the cursor is at, up to the end of the line.
pub(super) fn statement<'a>(cursor: &mut Cursor<'a>) -> Result<Statement<'a>, ParseError> {
    let start = cursor.mark();
    if cursor.take("*") {
        return store(cursor).map(plain);
    }
    match cursor.word() {
        "exit" => Ok(plain(Insn::Exit)),
        "goto" => {
            let (offset, label) = target(cursor, NEAR_RANGE)?;
            Ok(Statement { insn: Insn::Jump { offset }, label, map: None })
        }
        "gotol" => {
            let (offset, label) = target(cursor, FAR_RANGE)?;
            Ok(Statement { insn: Insn::JumpLong { offset }, label, map: None })
        }
        "if" => branch(cursor),
        "call" => call(cursor),
        "callx" => Ok(plain(Insn::Call(Callee::Register(register(cursor, Width::W64)?)))),
        "lock" => locked(cursor).map(plain),
        word => match register_of(word) {
            Some((width, dst)) => assignment(cursor, start, width, dst),
            None => {
                cursor.back_to(start);
                Err(cursor.expected(INSTRUCTION))
            }
        },
    }
}

/// A statement without names.
pub(super) fn plain(insn: Insn) -> Statement<'static> {
    Statement { insn, label: None, map: None }
}

/// What follows `if`.
fn branch<'a>(cursor: &mut Cursor<'a>) -> Result<Statement<'a>, ParseError> {
    let start = cursor.mark();
    let Some((width, dst)) = register_of(cursor.word()) else {
        cursor.back_to(start);
        return Err(cursor.expected("a register, r0 to r10 or w0 to w10"));
    };
    let Some(cond) = cursor.symbol(&CONDS) else {
        return Err(cursor.expected("a comparison: ==, !=, >, >=, <, <=, &, s>, s>=, s< or s<="));
    };
    let src = operand(cursor, width, dst, |number| width == Width::W32 || number.hexadecimal)?;
    cursor.expect("goto")?;
    let (offset, label) = target(cursor, NEAR_RANGE)?;
    Ok(Statement { insn: Insn::Branch { width, cond, dst, src, offset }, label, map: None })
}

/// What follows `call`.
fn call<'a>(cursor: &mut Cursor<'a>) -> Result<Statement<'a>, ParseError> {
    const VALID: &str = "a helper as NAME, NUMBER or NAME#NUMBER, kfunc#ID, pc+N or a label";
    let start = cursor.mark();
    if let Some('+' | '-') = cursor.peek() {
        let distance = cursor.signed("a distance", FAR_RANGE)?;
        return Ok(plain(Insn::Call(Callee::Local(distance))));
    }
    if let Some('0'..='9') = cursor.peek() {
        return Ok(plain(Insn::Call(Callee::Helper(cursor.integer("the number of a helper", U32_RANGE)?))));
    }
    let word = cursor.word();
    if word.is_empty() {
        return Err(cursor.expected(VALID));
    }
    if !cursor.take("#") {
        if let Some(number) = helper_number(word) {
            return Ok(plain(Insn::Call(Callee::Helper(number))));
        }
        cursor.back_to(start);
        let (distance, label) = target(cursor, FAR_RANGE)?;
        return Ok(Statement { insn: Insn::Call(Callee::Local(distance)), label, map: None });
    }
    let number = cursor.integer("a number", U32_RANGE)?;
    if word == "kfunc" {
        let range = "write -32768 to 32767";
        let module = if cursor.take("@") { cursor.integer("the index of a module", range)? } else { 0 };
        return Ok(plain(Insn::Call(Callee::Kfunc { id: number, module })));
    }
    match helper_name(number) {
        Some(known) if known != word && word != "unknown" => {
            Err(cursor.error_at(start, format!("helper {number} is not {}", quoted(word)), format!("write {known}")))
        }
        _ => Ok(plain(Insn::Call(Callee::Helper(number)))),
    }
}
