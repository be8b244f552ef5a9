//! What a program does once it has found the binding: the one that steers delivers, the one that watches looks at what the
//! other did.

use sklookup_bpf::{AluOp, Builder, Cond, Label, Reg, abi::helper};

use super::deliver;
use super::observe::{self, Watching};
use crate::counters::Counters;
use crate::rules::Domain;

/// Where the map of a label comes from.
#[derive(Clone, Copy)]
pub(crate) enum LabelMap {
    /// This map of the program's list.
    Named(u32),
    /// The ARRAY_OF_MAPS of this index, by the label's index in R8.
    InArray(u32),
}

/// What a program does with the binding that it has found. Either has two maps of its own, before all others in the program's
/// list.
#[derive(Clone, Copy)]
pub(crate) enum Ending<'a> {
    /// It counts and selects.
    Deliver(&'a Counters),
    /// It changes nothing, and tells what happened.
    Observe(&'a Watching),
}

/// Code that all labels of a domain share.
pub(crate) enum Tail<'a> {
    Deliver(deliver::Tail, &'a Counters),
    Observe(observe::Tail, &'a Watching),
}

impl<'a> Ending<'a> {
    /// Labels for the code that [`Tail::emit`] writes.
    pub(crate) fn tail(self, b: &mut Builder, domain: &Domain) -> Tail<'a> {
        match self {
            Ending::Deliver(counters) => Tail::Deliver(deliver::Tail::new(b, domain), counters),
            Ending::Observe(watching) => Tail::Observe(observe::Tail::new(b, domain), watching),
        }
    }

    /// The binding is found.
    pub(crate) fn found(self, b: &mut Builder) {
        match self {
            Ending::Deliver(counters) => deliver::count_hit(b, counters),
            Ending::Observe(_) => {}
        }
    }

    /// The binding steers nowhere: what it says is in [`super::VERDICT`].
    pub(crate) fn verdict(self, b: &mut Builder, domain: &Domain) {
        match self {
            Ending::Deliver(_) => deliver::return_verdict(b),
            Ending::Observe(watching) => observe::refusal(b, domain, watching),
        }
    }
}

impl Tail<'_> {
    /// The binding steers to a label.
    pub(crate) fn select(&self, b: &mut Builder, map: LabelMap) {
        match self {
            Tail::Deliver(tail, _) => deliver::select(b, map, tail),
            Tail::Observe(tail, _) => observe::select(b, map, tail),
        }
    }

    /// Writes the code that the labels share.
    pub(crate) fn emit(self, b: &mut Builder) {
        match self {
            Tail::Deliver(tail, counters) => tail.emit(b, counters),
            Tail::Observe(tail, watching) => tail.emit(b, watching),
        }
    }
}

/// Offsets from the frame pointer that both programs use.
pub(super) mod stack {
    /// u32: slot of the label's map.
    pub(in crate::emit) const SLOT: i16 = -4;
    /// u32: index of the label, where maps are found by it.
    pub(in crate::emit) const LABEL: i16 = -8;
}

/// `R0 =` the map in `outer` of the label in [`stack::LABEL`]; goes to `missing` if there is none.
pub(super) fn inner_map(b: &mut Builder, outer: u32, missing: Label) {
    b.map(Reg::R1, outer);
    stack_address(b, Reg::R2, stack::LABEL);
    b.call(helper::MAP_LOOKUP_ELEM);
    b.branch(Cond::Eq, Reg::R0, 0, missing);
}

/// `dst =` the address of a stack slot.
pub(super) fn stack_address(b: &mut Builder, dst: Reg, offset: i16) {
    b.mov(dst, Reg::R10);
    b.alu(AluOp::Add, dst, i32::from(offset));
}
