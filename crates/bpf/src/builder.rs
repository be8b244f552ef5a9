//! Writes instructions with labels instead of distances.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::insn::{AluOp, AtomicOp, Callee, Cond, Insn, MapRef, Order, Reg, Size, Source, Wide, Width};

/// A place in the program that jumps can name before it exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Label(usize);

/// Why a program could not be finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BuildError {
    /// A jump names a label that was never placed.
    #[error("slot {slot} jumps to a label that was never placed")]
    Unplaced {
        /// Slot of the jump.
        slot: usize,
    },
    /// A jump is longer than the 16-bit offset field can say.
    #[error("slot {slot} jumps {distance} slots, more than the {limit} that fit the offset field", limit = i16::MAX)]
    TooFar {
        /// Slot of the jump.
        slot: usize,
        /// Distance in slots.
        distance: i64,
    },
}

/// Finished instructions, with notes for the listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Code {
    /// The instructions.
    pub insns: Vec<Insn>,
    /// Notes, by the slot they stand above.
    pub notes: BTreeMap<usize, String>,
}

/// Collects instructions; one method an instruction.
///
/// Methods without a width work on 64 bits; those ending in `32` on the lower 32 bits.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    insns: Vec<Insn>,
    slot: usize,
    /// Slot of each label, once placed.
    labels: Vec<Option<usize>>,
    /// Instructions whose offset is still to be filled in: index, slot after it, label.
    jumps: Vec<(usize, usize, Label)>,
    notes: BTreeMap<usize, String>,
}

impl Builder {
    /// An empty program.
    pub fn new() -> Builder {
        Builder::default()
    }

    /// A new label, to be placed once.
    pub fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }

    /// Places a label here, before the next instruction.
    ///
    /// # Panics
    /// If it was placed before.
    pub fn place(&mut self, label: Label) {
        let place = &mut self.labels[label.0];
        assert!(place.is_none(), "a label is placed once");
        *place = Some(self.slot);
    }

    /// The slot that the next instruction will take.
    pub fn slot(&self) -> usize {
        self.slot
    }

    /// A note that the listing shows above the next instruction.
    pub fn note(&mut self, text: impl AsRef<str>) {
        let note = self.notes.entry(self.slot).or_default();
        if !note.is_empty() {
            note.push_str("; ");
        }
        note.push_str(text.as_ref());
    }

    /// Appends an instruction as it is.
    pub fn push(&mut self, insn: Insn) {
        self.slot += insn.slots();
        self.insns.push(insn);
    }

    /// `dst = dst op src`, 64 bits.
    pub fn alu(&mut self, op: AluOp, dst: Reg, src: impl Into<Source>) {
        self.push(Insn::Alu { width: Width::W64, op, dst, src: src.into() });
    }

    /// `dst = dst op src`, 32 bits; the upper half becomes 0.
    pub fn alu32(&mut self, op: AluOp, dst: Reg, src: impl Into<Source>) {
        self.push(Insn::Alu { width: Width::W32, op, dst, src: src.into() });
    }

    /// `dst = src`, a constant being sign-extended.
    pub fn mov(&mut self, dst: Reg, src: impl Into<Source>) {
        self.alu(AluOp::Mov, dst, src);
    }

    /// `dst = src`, the upper half becoming 0.
    pub fn mov32(&mut self, dst: Reg, src: impl Into<Source>) {
        self.alu32(AluOp::Mov, dst, src);
    }

    /// Byte order conversion of the lower `size` bytes.
    pub fn swap(&mut self, order: Order, size: Size, dst: Reg) {
        self.push(Insn::Swap { order, size, dst });
    }

    /// `dst = *(size *)(base + offset)`.
    pub fn load(&mut self, size: Size, dst: Reg, base: Reg, offset: i16) {
        self.push(Insn::Load { size, dst, base, offset });
    }

    /// `*(size *)(base + offset) = src`.
    pub fn store(&mut self, size: Size, base: Reg, offset: i16, src: impl Into<Source>) {
        self.push(Insn::Store { size, base, offset, src: src.into() });
    }

    /// An atomic operation on `*(size *)(base + offset)`.
    pub fn atomic(&mut self, size: Size, op: AtomicOp, base: Reg, offset: i16, src: Reg) {
        self.push(Insn::Atomic { size, op, base, offset, src });
    }

    /// `dst = value`, all 64 bits; the shorter form where it does.
    pub fn constant(&mut self, dst: Reg, value: u64) {
        match u32::try_from(value) {
            Ok(low) => self.mov32(dst, low as i32),
            Err(_) => self.push(Insn::LoadWide { dst, value: Wide::Imm(value) }),
        }
    }

    /// `dst =` the map at this place of the program's list.
    pub fn map(&mut self, dst: Reg, index: u32) {
        self.push(Insn::LoadWide { dst, value: Wide::Map(MapRef::Index(index)) });
    }

    /// `dst =` the address of byte `offset` in the value of a one-element array.
    pub fn map_value(&mut self, dst: Reg, index: u32, offset: u32) {
        self.push(Insn::LoadWide { dst, value: Wide::MapValue { map: MapRef::Index(index), offset } });
    }

    /// Jumps to `to`.
    pub fn jump(&mut self, to: Label) {
        self.push(Insn::Jump { offset: 0 });
        self.jumps.push((self.insns.len() - 1, self.slot, to));
    }

    /// Jumps to `to` if `dst cond src`, compared as 64 bits.
    pub fn branch(&mut self, cond: Cond, dst: Reg, src: impl Into<Source>, to: Label) {
        self.branch_width(Width::W64, cond, dst, src.into(), to);
    }

    /// Jumps to `to` if `dst cond src`, compared as 32 bits.
    pub fn branch32(&mut self, cond: Cond, dst: Reg, src: impl Into<Source>, to: Label) {
        self.branch_width(Width::W32, cond, dst, src.into(), to);
    }

    /// Calls a helper by number.
    pub fn call(&mut self, helper: u32) {
        self.push(Insn::Call(Callee::Helper(helper)));
    }

    /// Returns R0.
    pub fn exit(&mut self) {
        self.push(Insn::Exit);
    }

    /// Fills in the distances.
    ///
    /// # Errors
    /// A label that was never placed, or one more than 32,767 slots away.
    pub fn finish(mut self) -> Result<Code, BuildError> {
        for &(index, after, label) in &self.jumps {
            let slot = after - 1;
            let to = self.labels[label.0].ok_or(BuildError::Unplaced { slot })?;
            let distance = to as i64 - after as i64;
            let field = i16::try_from(distance).map_err(|_| BuildError::TooFar { slot, distance })?;
            match &mut self.insns[index] {
                Insn::Jump { offset } | Insn::Branch { offset, .. } => *offset = field,
                other => unreachable!("{other:?} has no label"),
            }
        }
        Ok(Code { insns: self.insns, notes: self.notes })
    }

    fn branch_width(&mut self, width: Width, cond: Cond, dst: Reg, src: Source, to: Label) {
        self.push(Insn::Branch { width, cond, dst, src, offset: 0 });
        self.jumps.push((self.insns.len() - 1, self.slot, to));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_count_slots_and_wide_loads_take_two() {
        let mut b = Builder::new();
        let end = b.label();
        let start = b.label();
        b.place(start);
        b.branch(Cond::Eq, Reg::R1, 0, end);
        b.constant(Reg::R2, 1 << 40);
        b.jump(start);
        b.place(end);
        b.exit();
        let code = b.finish().unwrap();
        assert!(matches!(code.insns[0], Insn::Branch { offset: 3, .. }), "{:?}", code.insns[0]);
        assert!(matches!(code.insns[2], Insn::Jump { offset: -4 }), "{:?}", code.insns[2]);
    }

    #[test]
    fn a_label_that_was_never_placed_is_an_error() {
        let mut b = Builder::new();
        let nowhere = b.label();
        b.jump(nowhere);
        assert_eq!(b.finish(), Err(BuildError::Unplaced { slot: 0 }));
    }

    #[test]
    fn a_jump_over_more_slots_than_fit_is_an_error() {
        let mut b = Builder::new();
        let end = b.label();
        b.jump(end);
        for _ in 0..=i16::MAX {
            b.exit();
        }
        b.place(end);
        assert_eq!(b.finish(), Err(BuildError::TooFar { slot: 0, distance: 32768 }));
    }
}
