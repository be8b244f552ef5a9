//! Functions: which there are, their instructions, and what those refer to.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::rc::Rc;

use super::elf::{At, Elf, Relocation, Section, Symbol};
use super::error::{ObjectError, Result};
use super::features;
use super::layout::{Layout, MapAt};
use super::types::Types;
use crate::decode::decode;
use crate::insn::{Callee, Insn, Wide};

/// `R_BPF_64_64`: an address, in a wide load.
const WIDE: u32 = 1;
/// `R_BPF_64_32`: the distance of a call.
const CALL: u32 = 10;
/// Bytes of a slot.
const SLOT: u64 = 8;
/// The kernel takes programs of so many instructions; so long is what all programs of an object may be together.
const MAX_SLOTS: usize = 1 << 20;

/// The number of a function: its place among all of an object.
pub(super) type FunctionId = usize;

/// A function, by its symbol.
#[derive(Clone, Copy, Debug)]
pub(super) struct Function<'a> {
    pub(super) name: &'a str,
    pub(super) section: Section<'a>,
    /// Where it begins, in bytes of the section.
    pub(super) start: u64,
    /// In bytes.
    size: u64,
    /// It is static.
    pub(super) is_local: bool,
}

/// The instructions of a function, with what they refer to.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) insns: Vec<Insn>,
    /// In slots.
    pub(super) length: usize,
    /// What an instruction refers to, by its index.
    pub(super) refers: BTreeMap<usize, Target>,
}

/// What an instruction refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// A function, which it calls or takes the address of.
    Function(FunctionId),
    /// A map, by its place among all of the object.
    Map(usize),
    /// A byte of the globals in a map.
    Global {
        map: usize,
        /// In bytes.
        offset: u32,
    },
}

/// All functions of an object.
pub(super) struct Functions<'a> {
    all: Vec<Function<'a>>,
    /// By section and start.
    at: BTreeMap<(usize, u64), FunctionId>,
    /// The bytes and relocations of each section of code.
    sections: BTreeMap<usize, (&'a [u8], Rc<[Relocation]>)>,
    /// The bodies that were read.
    bodies: BTreeMap<FunctionId, Rc<Body>>,
    /// Slots that programs may still have.
    allowance: Cell<usize>,
}

impl<'a> Functions<'a> {
    pub(super) fn find(elf: &Elf<'a>) -> Result<Functions<'a>> {
        let mut all: Vec<Function<'a>> = Vec::new();
        for symbol in elf.symbols() {
            let symbol = symbol?;
            if let (true, At::Section(index)) = (symbol.is_function, symbol.at) {
                all.push(function(symbol, elf.section(index)?)?);
            }
        }
        // Sorted, so that programs come in the order of the file.
        all.sort_by_key(|function| (function.section.index, function.start, function.is_local));
        let mut at = BTreeMap::new();
        let mut before: Option<&Function<'a>> = None;
        for (id, function) in all.iter().enumerate() {
            // Two names of one function are fine.
            if let Some(before) = before.filter(|before| before.section.index == function.section.index) {
                let same = before.start == function.start && before.size == function.size;
                if !same && function.start < before.start + before.size {
                    let what = format!("it begins inside of {}", before.name);
                    return Err(ObjectError::damaged(place(function), what));
                }
            }
            before = Some(function);
            at.entry((function.section.index, function.start)).or_insert(id);
        }
        Ok(Functions { all, at, sections: BTreeMap::new(), bodies: BTreeMap::new(), allowance: Cell::new(MAX_SLOTS) })
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (FunctionId, Function<'a>)> {
        self.all.iter().copied().enumerate()
    }

    pub(super) fn get(&self, id: FunctionId) -> Function<'a> {
        self.all[id]
    }

    /// Counts the slots of a program; `false` when all programs have had theirs.
    pub(super) fn allow(&self, slots: usize) -> bool {
        let left = self.allowance.get().checked_sub(slots);
        self.allowance.set(left.unwrap_or(0));
        left.is_some()
    }

    /// The instructions of a function, read once.
    pub(super) fn body(
        &mut self,
        id: FunctionId,
        elf: &Elf<'a>,
        layout: &Layout,
        types: Option<&Types<'a>>,
    ) -> Result<Rc<Body>> {
        if let Some(body) = self.bodies.get(&id) {
            return Ok(body.clone());
        }
        let function = self.all[id];
        let section = function.section;
        let (bytes, relocations) = match self.sections.entry(section.index) {
            Entry::Occupied(read) => read.get().clone(),
            Entry::Vacant(unread) => unread.insert((elf.data(section)?, elf.relocations(section)?.into())).clone(),
        };
        if let Some(types) = types {
            refuse_core(function, types)?;
        }
        let within = function.start as usize..(function.start + function.size) as usize;
        let bytes =
            bytes.get(within).ok_or_else(|| ObjectError::damaged(place(&function), "its section has no bytes"))?;
        let insns = decode(bytes).map_err(|error| {
            let help = "compile with -mcpu=v4 or less, and without instructions of newer kernels";
            ObjectError::new(place(&function), error.to_string(), help)
        })?;
        let first = relocations.partition_point(|relocation| relocation.offset < function.start);
        let here = relocations[first..].iter().take_while(|r| r.offset < function.start + function.size);
        let reader = Reader { function, functions: self, elf, layout };
        let body = Rc::new(reader.read(insns, &mut here.copied().peekable())?);
        self.bodies.insert(id, body.clone());
        Ok(body)
    }
}

fn function<'a>(symbol: Symbol<'a>, section: Section<'a>) -> Result<Function<'a>> {
    let Symbol { name, value: start, size, is_local, .. } = symbol;
    let function = Function { name, section, start, size, is_local };
    let wrong = |what: &str| Err(ObjectError::damaged(place(&function), what));
    if !section.executable {
        return wrong("its section holds no instructions");
    }
    if start.checked_add(size).is_none_or(|end| end > section.size) {
        return wrong("it ends after the end of its section");
    }
    if size == 0 || !start.is_multiple_of(SLOT) || !size.is_multiple_of(SLOT) {
        return wrong("it is no whole number of instructions");
    }
    Ok(function)
}

/// Whether nothing in a function waits for the types of a kernel.
fn refuse_core(function: Function<'_>, types: &Types<'_>) -> Result<()> {
    let end = function.start + function.size;
    let found = types.about(function.section.name).and_then(|about| about.core.range(function.start..end).next());
    let Some((offset, (number, _))) = found else { return Ok(()) };
    let slot = (offset - function.start) / SLOT;
    let name = types.btf.get(*number).and_then(|ty| types.btf.name(ty)).unwrap_or_default();
    let what = format!("slot {slot} reads a field of `{name}` wherever the kernel has it");
    Err(ObjectError::refused(&features::CORE, place(&function), what))
}

/// Reads one function.
struct Reader<'f, 'a> {
    function: Function<'a>,
    functions: &'f Functions<'a>,
    elf: &'f Elf<'a>,
    layout: &'f Layout,
}

impl Reader<'_, '_> {
    fn read(
        &self,
        insns: Vec<Insn>,
        relocations: &mut std::iter::Peekable<impl Iterator<Item = Relocation>>,
    ) -> Result<Body> {
        let length = (self.function.size / SLOT) as usize;
        let mut refers = BTreeMap::new();
        let mut slot = 0;
        for (index, insn) in insns.iter().enumerate() {
            let end = self.function.start + (slot + insn.slots()) as u64 * SLOT;
            let mut relocation = None;
            while let Some(next) = relocations.next_if(|next| next.offset < end) {
                let begins = next.offset == self.function.start + slot as u64 * SLOT;
                if !begins || relocation.replace(next).is_some() {
                    return Err(self.damaged(slot, "it is relocated in its middle, or twice"));
                }
            }
            if let Some(target) = self.target(insn, slot, relocation)? {
                refers.insert(index, target);
            }
            slot += insn.slots();
        }
        match insns.last() {
            Some(Insn::Exit | Insn::Jump { .. } | Insn::JumpLong { .. }) => Ok(Body { insns, length, refers }),
            _ => {
                let what = "it doesn't end with a return";
                Err(ObjectError::new(self.place(), what, "the compiler took its end to be out of reach: let it return"))
            }
        }
    }

    fn target(&self, insn: &Insn, slot: usize, relocation: Option<Relocation>) -> Result<Option<Target>> {
        match (*insn, relocation) {
            (Insn::LoadWide { value: Wide::Imm(_), .. } | Insn::Call(Callee::Helper(_)), None) => Ok(None),
            // The lower half has what is to be added, and is signed.
            (Insn::LoadWide { value: Wide::Imm(added), .. }, Some(r)) if r.kind == WIDE => {
                self.address(slot, r, i64::from(added as u32 as i32)).map(Some)
            }
            (Insn::Call(Callee::Local(distance)), Some(r)) if r.kind == CALL => {
                let symbol = self.symbol(slot, r)?;
                let At::Section(section) = symbol.at else { return Err(self.elsewhere(slot, symbol)) };
                let from = i64::try_from(symbol.value).unwrap_or(i64::MAX);
                let start = from.saturating_add((i64::from(distance) + 1) * SLOT as i64);
                self.function_at(slot, section, start).map(Some)
            }
            (Insn::Call(Callee::Local(distance)), None) => {
                let start = (slot as i64 + 1 + i64::from(distance)) * SLOT as i64 + self.function.start as i64;
                self.function_at(slot, self.function.section.index, start).map(Some)
            }
            (Insn::Call(Callee::Kfunc { .. }), None) => {
                let what = format!("slot {slot} calls a kernel function by its number");
                Err(ObjectError::refused(&features::KSYMS, self.place(), what))
            }
            (Insn::LoadWide { .. }, None) => {
                Err(self.damaged(slot, "it names a map, variable or function, and no relocation says which"))
            }
            (_, Some(r)) => Err(self.damaged(slot, &format!("`{insn}` can't be relocated by type {}", r.kind))),
            (_, None) => match insn.target(slot) {
                Some(to) if to >= (self.function.size / SLOT) as usize => {
                    Err(self.damaged(slot, &format!("`{insn}` leads out of the function")))
                }
                None if matches!(insn, Insn::Jump { .. } | Insn::JumpLong { .. } | Insn::Branch { .. }) => {
                    Err(self.damaged(slot, &format!("`{insn}` leads out of the function")))
                }
                _ => Ok(None),
            },
        }
    }

    /// What the address in a wide load is.
    fn address(&self, slot: usize, relocation: Relocation, added: i64) -> Result<Target> {
        let symbol = self.symbol(slot, relocation)?;
        let At::Section(index) = symbol.at else { return Err(self.elsewhere(slot, symbol)) };
        let section = self.elf.section(index)?;
        let at = i64::try_from(symbol.value).unwrap_or(i64::MAX).saturating_add(added);
        if section.executable {
            return self.function_at(slot, index, at);
        }
        let offset = u64::try_from(at).ok();
        match self.layout.map_at(index, offset) {
            MapAt::Map(map) => return Ok(Target::Map(map)),
            MapAt::None => {
                return Err(self.damaged(slot, &format!("no map begins at byte {at} of section {}", section.name)));
            }
            MapAt::OtherSection => {}
        }
        if let Some(map) = self.layout.globals_of(index) {
            if self.elf.has_relocations(section) {
                let what = format!("slot {slot} uses section {}, which holds addresses", section.name);
                return Err(ObjectError::refused(&features::DATA_ADDRESSES, self.place(), what));
            }
            let offset = offset.filter(|offset| *offset < section.size);
            let offset = offset.ok_or_else(|| {
                self.damaged(slot, &format!("byte {at} of {} is none of its {}", section.name, section.size))
            })?;
            // Sections of globals have at most some MiB.
            return Ok(Target::Global { map, offset: offset as u32 });
        }
        let name = if symbol.name.is_empty() { "a variable" } else { symbol.name };
        let what = format!("slot {slot} uses {name}, in section {}", section.name);
        Err(ObjectError::refused(&features::OTHER_DATA, self.place(), what))
    }

    fn function_at(&self, slot: usize, section: usize, start: i64) -> Result<Target> {
        let found = u64::try_from(start).ok().and_then(|start| self.functions.at.get(&(section, start)));
        let found = found.ok_or_else(|| {
            self.damaged(slot, &format!("no function begins at byte {start} of section {section}, which it refers to"))
        })?;
        Ok(Target::Function(*found))
    }

    fn symbol(&self, slot: usize, relocation: Relocation) -> Result<Symbol<'_>> {
        self.elf.symbol(relocation.symbol).map_err(|error| self.damaged(slot, &error.to_string()))
    }

    /// The refusal of a symbol that is in no section.
    fn elsewhere(&self, slot: usize, symbol: Symbol<'_>) -> ObjectError {
        let what = format!("slot {slot} uses {}", symbol.name);
        let feature = match symbol.at {
            At::Nowhere => self.layout.extern_kind(symbol.name),
            _ => &features::OTHER_DATA,
        };
        ObjectError::refused(feature, self.place(), what)
    }

    fn damaged(&self, slot: usize, what: &str) -> ObjectError {
        ObjectError::damaged(self.place(), format!("slot {slot}: {what}"))
    }

    fn place(&self) -> String {
        place(&self.function)
    }
}

fn place(function: &Function<'_>) -> String {
    format!("section {}, function {}", function.section.name, function.name)
}
