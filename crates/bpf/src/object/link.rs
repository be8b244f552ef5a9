//! Programs made whole: a function with all that it calls behind it, and distances, maps and types put in.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::code::{Body, Function, FunctionId, Functions, Target};
use super::elf::Elf;
use super::error::{ObjectError, Result};
use super::layout::Layout;
use super::types::Types;
use crate::insn::{Callee, Insn, MapRef, Wide};
use crate::spec::{FunctionInfo, LineInfo, MapSpec, ProgramBtf, ProgramSpec, ProgramType};

/// Bytes of a slot.
const SLOT: usize = 8;

/// All that programs are made of.
pub(super) struct Parts<'f, 'a> {
    pub(super) elf: &'f Elf<'a>,
    pub(super) layout: &'f Layout,
    pub(super) types: Option<&'f Types<'a>>,
    pub(super) functions: &'f mut Functions<'a>,
    /// What each map is, by the number that targets have.
    pub(super) maps: &'f [Result<MapSpec>],
    pub(super) license: &'f str,
}

/// A function in the program that it was put into.
struct Placed<'a> {
    function: Function<'a>,
    body: Rc<Body>,
    /// Its first slot.
    slot: usize,
}

impl<'a> Parts<'_, 'a> {
    /// The program that begins with this function.
    pub(super) fn program(&mut self, main: FunctionId, kind: ProgramType) -> Result<ProgramSpec> {
        let placed = self.place(main)?;
        let mut maps = Vec::new();
        let slots: BTreeMap<FunctionId, usize> = placed.iter().map(|(id, placed)| (*id, placed.slot)).collect();
        let mut spec = ProgramSpec {
            name: self.functions.get(main).name.to_owned(),
            kind,
            license: self.license.to_owned(),
            insns: Vec::new(),
            maps: Vec::new(),
            notes: BTreeMap::new(),
            btf: self.btf(&placed),
        };
        for (id, placed) in &placed {
            if *id != main {
                spec.notes.insert(placed.slot, placed.function.name.to_owned());
            }
            let mut slot = placed.slot;
            for (index, insn) in placed.body.insns.iter().enumerate() {
                let insn = match placed.body.refers.get(&index) {
                    Some(target) => self.resolved(*insn, slot, *target, &slots, &mut maps)?,
                    None => *insn,
                };
                slot += insn.slots();
                spec.insns.push(insn);
            }
        }
        spec.maps = maps.into_iter().flat_map(|map| &self.maps[map]).map(|map| map.name.clone()).collect();
        Ok(spec)
    }

    /// The function and all that it calls, each once, in the order in which they are first named.
    fn place(&mut self, main: FunctionId) -> Result<Vec<(FunctionId, Placed<'a>)>> {
        let mut placed: Vec<(FunctionId, Placed<'a>)> = Vec::new();
        let mut named = vec![main];
        let mut known = BTreeSet::from([main]);
        let mut slot = 0;
        while let Some(&id) = named.get(placed.len()) {
            let body = self.functions.body(id, self.elf, self.layout, self.types)?;
            if !self.functions.allow(body.length) {
                let place = format!("function {}", self.functions.get(main).name);
                let what = "with it, the programs of the object have more than a million instructions";
                return Err(ObjectError::new(place, what, "split the object"));
            }
            for target in body.refers.values() {
                if let Target::Function(called) = target
                    && known.insert(*called)
                {
                    named.push(*called);
                }
            }
            let length = body.length;
            placed.push((id, Placed { function: self.functions.get(id), body, slot }));
            slot += length;
        }
        Ok(placed)
    }

    /// The instruction with what it refers to in it.
    fn resolved(
        &self,
        insn: Insn,
        slot: usize,
        target: Target,
        slots: &BTreeMap<FunctionId, usize>,
        maps: &mut Vec<usize>,
    ) -> Result<Insn> {
        let mut number = |map: usize| -> Result<MapRef> {
            self.maps[map].as_ref().map_err(Clone::clone)?;
            let known = maps.iter().position(|known| *known == map);
            let index = known.unwrap_or_else(|| {
                maps.push(map);
                maps.len() - 1
            });
            Ok(MapRef::Index(index as u32))
        };
        // Both count from the slot after the first; a program has a million slots at most.
        let distance = |to: FunctionId| (slots[&to] as i64 - slot as i64 - 1) as i32;
        Ok(match (insn, target) {
            (Insn::LoadWide { dst, .. }, Target::Map(map)) => Insn::LoadWide { dst, value: Wide::Map(number(map)?) },
            (Insn::LoadWide { dst, .. }, Target::Global { map, offset }) => {
                Insn::LoadWide { dst, value: Wide::MapValue { map: number(map)?, offset } }
            }
            (Insn::LoadWide { dst, .. }, Target::Function(to)) => {
                Insn::LoadWide { dst, value: Wide::Function(distance(to)) }
            }
            (_, Target::Function(to)) => Insn::Call(Callee::Local(distance(to))),
            (other, _) => unreachable!("`{other}` is no wide load, and only those refer to maps"),
        })
    }

    /// The types of the functions and the lines of their source. The kernel wants either of all functions or of none.
    fn btf(&self, placed: &[(FunctionId, Placed<'a>)]) -> Option<ProgramBtf> {
        let types = self.types?;
        let mut btf = ProgramBtf { types: types.for_kernel.clone(), functions: Vec::new(), lines: Vec::new() };
        let mut lines_of_all = true;
        for (_, placed) in placed {
            let about = types.about(placed.function.section.name)?;
            let (start, slot) = (placed.function.start, placed.slot as u32);
            btf.functions.push(FunctionInfo { slot, kind: *about.functions.get(&start)? });
            lines_of_all &= about.lines.contains_key(&start);
            let end = start + (placed.body.length * SLOT) as u64;
            for (offset, [file, text, position]) in about.lines.range(start..end) {
                let slot = slot + ((offset - start) / SLOT as u64) as u32;
                btf.lines.push(LineInfo { slot, file: *file, text: *text, position: *position });
            }
        }
        if !lines_of_all {
            btf.lines.clear();
        }
        Some(btf)
    }
}
