//! Lines to a program: slots counted, labels and maps looked up.

use std::collections::HashMap;

use super::cursor::{Cursor, quoted};
use super::operand::{Name, is_name, name};
use super::statement::{Statement, statement};
use super::{ParseError, Parsed};
use crate::encode::slots;
use crate::helpers::helper_number;
use crate::insn::{Callee, Insn, MapRef, Wide};

/// The most slots a program has, and the most labels we keep: what the kernel loads.
const MAX_SLOTS: usize = 1_000_000;
/// The most maps that the kernel lets one program use.
pub(crate) const MAX_MAPS: usize = 64;

pub(super) fn parse(text: &str) -> Result<Parsed, ParseError> {
    let mut program = Program::default();
    for (index, line) in text.lines().enumerate() {
        program.line(line, index + 1)?;
    }
    program.finish()
}

/// What was read so far.
#[derive(Default)]
struct Program<'a> {
    insns: Vec<Insn>,
    slot: usize,
    /// Slot of each label.
    labels: HashMap<&'a str, usize>,
    jumps: Vec<Reference<'a>>,
    maps: Vec<&'a str>,
    /// Some instruction has a map by its number.
    numbered: bool,
}

/// An instruction that names a label.
struct Reference<'a> {
    /// Which instruction, and its slot.
    index: usize,
    slot: usize,
    label: &'a str,
    /// Where the name stands: line, its number from 1, place in it.
    line: &'a str,
    number: usize,
    mark: usize,
}

impl<'a> Program<'a> {
    fn line(&mut self, line: &'a str, number: usize) -> Result<(), ParseError> {
        let mut cursor = Cursor::new(line, number);
        let opcode = loop {
            let start = cursor.mark();
            match cursor.peek() {
                None => return Ok(()),
                Some('(') => break Some((start, opcode(&mut cursor)?)),
                _ => {}
            }
            let word = cursor.word();
            if word == ".map" {
                let name = name(&mut cursor, "the name of a map")?;
                self.declare(&cursor, name)?;
                return cursor.end();
            }
            if word.is_empty() || !cursor.take(":") {
                cursor.back_to(start);
                break None;
            }
            self.mark(&cursor, Name { mark: start, text: word })?;
        };
        let start = cursor.mark();
        let mut statement = statement(&mut cursor)?;
        cursor.end()?;
        if let Some((mark, opcode)) = opcode {
            check_opcode(&cursor, mark, opcode, &statement.insn)?;
        }
        self.resolve_map(&cursor, start, &mut statement)?;
        let slot = self.slot;
        self.push(&cursor, start, &statement.insn)?;
        if let Some(Name { text, mark }) = statement.label {
            let index = self.insns.len() - 1;
            self.jumps.push(Reference { index, slot, label: text, line, number, mark });
        }
        Ok(())
    }

    /// A word before a colon: a label, or the number of the slot.
    fn mark(&mut self, cursor: &Cursor<'a>, name: Name<'a>) -> Result<(), ParseError> {
        let Name { text, mark } = name;
        if text.bytes().all(|b| b.is_ascii_digit()) {
            if text.parse() == Ok(self.slot) {
                return Ok(());
            }
            let what = format!("slot {} is marked {}", self.slot, quoted(text));
            return Err(cursor.error_at(mark, what, format!("write {}: or nothing", self.slot)));
        }
        if !is_name(text) || text == "pc" {
            return Err(cursor.error_at(mark, format!("{} can't be a label", quoted(text)), LABEL));
        }
        if helper_number(text).is_some() {
            return Err(cursor.error_at(
                mark,
                format!("{} is the name of a helper", quoted(text)),
                "choose another label",
            ));
        }
        if self.labels.len() == MAX_SLOTS {
            return Err(cursor.error_at(mark, "too many labels", format!("a program has at most {MAX_SLOTS}")));
        }
        match self.labels.insert(text, self.slot) {
            None => Ok(()),
            Some(slot) => {
                let what = format!("label {} is placed twice, first at slot {slot}", quoted(text));
                Err(cursor.error_at(mark, what, "choose another label"))
            }
        }
    }

    /// The number of the map of this name, the next one if it is new.
    fn declare(&mut self, cursor: &Cursor<'a>, name: Name<'a>) -> Result<u32, ParseError> {
        let Name { text, mark } = name;
        if self.numbered {
            return Err(cursor.error_at(mark, "maps above have numbers", "name all maps or number all"));
        }
        let index = match self.maps.iter().position(|map| *map == text) {
            Some(index) => index,
            None if self.maps.len() == MAX_MAPS => {
                let what = format!("{} would be map {}", quoted(text), MAX_MAPS + 1);
                return Err(cursor.error_at(mark, what, format!("a program has at most {MAX_MAPS} maps")));
            }
            None => {
                self.maps.push(text);
                self.maps.len() - 1
            }
        };
        Ok(u32::try_from(index).expect("at most 64 maps"))
    }

    fn resolve_map(
        &mut self,
        cursor: &Cursor<'a>,
        start: usize,
        statement: &mut Statement<'a>,
    ) -> Result<(), ParseError> {
        let Insn::LoadWide { value: Wide::Map(map) | Wide::MapValue { map, .. }, .. } = &mut statement.insn else {
            return Ok(());
        };
        match (&*map, statement.map) {
            (_, Some(name)) => *map = MapRef::Index(self.declare(cursor, name)?),
            (MapRef::Index(_), None) if !self.maps.is_empty() => {
                return Err(cursor.error_at(start, "maps above have names", "name all maps or number all"));
            }
            (MapRef::Index(_), None) => self.numbered = true,
            (MapRef::Fd(_), None) => {}
        }
        Ok(())
    }

    fn push(&mut self, cursor: &Cursor<'a>, start: usize, insn: &Insn) -> Result<(), ParseError> {
        self.slot += insn.slots();
        if self.slot > MAX_SLOTS {
            return Err(cursor.error_at(
                start,
                "the program is too long",
                format!("a program has at most {MAX_SLOTS} slots"),
            ));
        }
        self.insns.push(*insn);
        Ok(())
    }

    fn finish(mut self) -> Result<Parsed, ParseError> {
        for jump in &self.jumps {
            let cursor = Cursor::new(jump.line, jump.number);
            let Some(&to) = self.labels.get(jump.label) else {
                let what = format!("label {} is never placed", quoted(jump.label));
                return Err(cursor.error_at(jump.mark, what, format!("write {}: where it leads", jump.label)));
            };
            let far = i32::try_from(to as i64 - (jump.slot as i64 + 1)).expect("a program has at most a million slots");
            match &mut self.insns[jump.index] {
                Insn::Jump { offset } | Insn::Branch { offset, .. } => {
                    *offset = i16::try_from(far).map_err(|_| {
                        let what = format!("label {} is {far} slots away", quoted(jump.label));
                        cursor.error_at(jump.mark, what, "goto and if reach -32768 to 32767 slots, gotol further")
                    })?;
                }
                Insn::JumpLong { offset: distance }
                | Insn::Call(Callee::Local(distance))
                | Insn::LoadWide { value: Wide::Function(distance), .. } => *distance = far,
                other => unreachable!("{other:?} has no label"),
            }
        }
        Ok(Parsed { insns: self.insns, maps: self.maps.into_iter().map(str::to_owned).collect() })
    }
}

const LABEL: &str = "write letters, digits, _ and ., first no digit";

/// `(b7)`, as logs show it before an instruction.
fn opcode(cursor: &mut Cursor<'_>) -> Result<u8, ParseError> {
    cursor.expect("(")?;
    let start = cursor.mark();
    let word = cursor.word();
    match u8::from_str_radix(word, 16) {
        Ok(opcode) if word.len() == 2 => {
            cursor.expect(")")?;
            Ok(opcode)
        }
        _ => {
            cursor.back_to(start);
            Err(cursor.expected("an opcode of two hexadecimal digits"))
        }
    }
}

/// A log may mean another instruction than its text says to us: it prints wide loads without `ll`.
fn check_opcode(cursor: &Cursor<'_>, mark: usize, given: u8, insn: &Insn) -> Result<(), ParseError> {
    let read = slots(insn).next().map(|slot| slot.opcode);
    if read == Some(given) {
        return Ok(());
    }
    let what = format!("opcode {given:#04x} is given, the text reads as {:#04x}", read.unwrap_or_default());
    let valid = if given == 0x18 { "write ll after the value of a wide load" } else { "leave the opcode out" };
    Err(cursor.error_at(mark, what, valid))
}
