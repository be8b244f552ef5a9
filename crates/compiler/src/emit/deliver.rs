//! From the winning binding to the verdict: counts it, and selects a socket of its label.
//!
//! What comes in: [`BINDING`] its number, [`VERDICT`] what to return when no socket is selected.
//!
//! The first member of a label is tried on a straight path with as few stack stores as can be: without CAP_PERFMON the
//! verifier puts a barrier after each. The others are tried off that path.

use sklookup_bpf::{AluOp, AtomicOp, Builder, Cond, Label, Reg, Size, abi, abi::errno, abi::helper};

use super::ending::{LabelMap, inner_map, stack_address};
use super::{BINDING, CTX, VERDICT, hide_constant};
use crate::counters::{Counters, FAULTS, Fault, HitsLayout};
use crate::label_map::MEMBERS;
use crate::rules::Domain;

/// The index of the map of hits in the program's list.
pub(crate) const HITS_MAP: u32 = 0;
/// The index of the map of faults.
pub(crate) const FAULTS_MAP: u32 = 1;

/// Offsets from the frame pointer.
mod stack {
    pub(super) use super::super::ending::stack::{LABEL, SLOT};

    /// u32: number of the binding. Not at a multiple of 8, where the verifier would follow the constant and check
    /// everything after it once for each binding.
    pub(super) const BINDING: i16 = -12;
    /// u32: which value of the map of hits has the binding's, where a value has several.
    pub(super) const VALUE: i16 = -16;
    /// u64: verdict when no socket is selected.
    pub(super) const VERDICT: i16 = -24;
    /// u64: the first error of `bpf_sk_assign`, or 0.
    pub(super) const ERROR: i16 = -32;
}

/// Code that all labels of a domain share.
pub(crate) struct Tail {
    /// Tries the members after the first: R8 the label's map, [`stack::ERROR`] set, [`VERDICT`] still in its register.
    others: Label,
    /// Counts what is in [`stack::ERROR`] and returns [`stack::VERDICT`].
    none_left: Label,
    /// An earlier program selected a socket.
    already: Label,
    /// The first slot of the domain's members.
    first_slot: u32,
}

/// Counts a hit of [`BINDING`]; R0 to R5 are overwritten.
pub(crate) fn count_hit(b: &mut Builder, counters: &Counters) {
    let counted = b.label();
    b.store(Size::B4, Reg::R10, stack::BINDING, BINDING);
    match counters.hits {
        HitsLayout::PerCpu => {
            let each = counters.hits_in_a_value();
            let key = if each == 1 { stack::BINDING } else { stack::VALUE };
            if each > 1 {
                b.mov(Reg::R1, BINDING);
                b.alu(AluOp::Rsh, Reg::R1, each.ilog2() as i32);
                b.store(Size::B4, Reg::R10, key, Reg::R1);
            }
            b.map(Reg::R1, HITS_MAP);
            stack_address(b, Reg::R2, key);
            b.call(helper::MAP_LOOKUP_ELEM);
            b.branch(Cond::Eq, Reg::R0, 0, counted);
            if each > 1 {
                b.mov(Reg::R1, BINDING);
                b.alu(AluOp::And, Reg::R1, each as i32 - 1);
                b.alu(AluOp::Lsh, Reg::R1, 3);
                b.alu(AluOp::Add, Reg::R0, Reg::R1);
            }
            // Not atomic: the hook runs in softirq, and only a lookup asked for by a process can be interrupted here.
            b.load(Size::B8, Reg::R1, Reg::R0, 0);
            b.alu(AluOp::Add, Reg::R1, 1);
            b.store(Size::B8, Reg::R0, 0, Reg::R1);
        }
        HitsLayout::Shards(shards) => {
            let bindings = counters.bindings as i32;
            b.call(helper::GET_SMP_PROCESSOR_ID);
            b.branch(Cond::Ge, BINDING, bindings, counted);
            b.alu32(AluOp::And, Reg::R0, shards as i32 - 1);
            b.alu(AluOp::Mul, Reg::R0, bindings);
            b.alu(AluOp::Add, Reg::R0, BINDING);
            b.alu(AluOp::Lsh, Reg::R0, 3);
            b.map_value(Reg::R1, HITS_MAP, 0);
            b.alu(AluOp::Add, Reg::R1, Reg::R0);
            b.mov(Reg::R0, 1);
            b.atomic(Size::B8, AtomicOp::Add { fetch: false }, Reg::R1, 0, Reg::R0);
        }
    }
    b.place(counted);
}

/// Returns [`VERDICT`].
pub(crate) fn return_verdict(b: &mut Builder) {
    b.mov(Reg::R0, VERDICT);
    b.exit();
}

/// Selects a socket of a label whose first member is in `tail`'s first slot, and returns.
pub(crate) fn select(b: &mut Builder, map: LabelMap, tail: &Tail) {
    let (empty, failed, more) = (b.label(), b.label(), b.label());
    match map {
        LabelMap::Named(index) => {
            b.store(Size::B4, Reg::R10, stack::SLOT, tail.first_slot as i32);
            b.map(Reg::R1, index);
        }
        LabelMap::InArray(outer) => {
            b.store(Size::B4, Reg::R10, stack::LABEL, Reg::R8);
            inner_map(b, outer, empty);
            b.store(Size::B4, Reg::R10, stack::SLOT, tail.first_slot as i32);
            b.mov(Reg::R1, Reg::R0);
        }
    }
    stack_address(b, Reg::R2, stack::SLOT);
    b.call(helper::MAP_LOOKUP_ELEM);
    b.branch(Cond::Eq, Reg::R0, 0, empty);
    b.mov(Reg::R8, Reg::R0);
    assign(b);
    b.branch(Cond::Ne, Reg::R0, 0, failed);
    b.mov(Reg::R1, Reg::R8);
    b.call(helper::SK_RELEASE);
    b.mov(Reg::R0, abi::SK_PASS);
    b.exit();

    b.place(failed);
    b.store(Size::B8, Reg::R10, stack::ERROR, Reg::R0);
    b.mov(Reg::R1, Reg::R8);
    b.call(helper::SK_RELEASE);
    b.load(Size::B8, Reg::R0, Reg::R10, stack::ERROR);
    b.branch(Cond::Eq, Reg::R0, -errno::EEXIST, tail.already);
    b.jump(more);

    b.place(empty);
    b.store(Size::B8, Reg::R10, stack::ERROR, 0);
    b.place(more);
    b.store(Size::B8, Reg::R10, stack::VERDICT, VERDICT);
    match map {
        LabelMap::Named(index) => b.map(Reg::R8, index),
        LabelMap::InArray(outer) => {
            inner_map(b, outer, tail.none_left);
            b.mov(Reg::R8, Reg::R0);
        }
    }
    b.jump(tail.others);
}

impl Tail {
    /// Labels for the code that [`Tail::emit`] writes.
    pub(crate) fn new(b: &mut Builder, domain: &Domain) -> Tail {
        let first_slot = domain.first_slot();
        Tail { others: b.label(), none_left: b.label(), already: b.label(), first_slot }
    }

    /// Writes the code that the labels share.
    pub(crate) fn emit(self, b: &mut Builder, counters: &Counters) {
        let (selected, count, counted) = (b.label(), b.label(), b.label());
        // Unrolled: without CAP_PERFMON the verifier also follows what a CPU may speculate, and
        // there a loop has no end.
        // From here on R9 is the socket, then the error.
        b.note("the other members");
        b.place(self.others);
        for member in 1..MEMBERS {
            let next = b.label();
            b.store(Size::B4, Reg::R10, stack::SLOT, (self.first_slot + member) as i32);
            b.mov(Reg::R1, Reg::R8);
            stack_address(b, Reg::R2, stack::SLOT);
            b.call(helper::MAP_LOOKUP_ELEM);
            b.branch(Cond::Eq, Reg::R0, 0, next);
            b.mov(Reg::R9, Reg::R0);
            assign(b);
            b.mov(Reg::R1, Reg::R9);
            b.mov(Reg::R9, Reg::R0);
            b.call(helper::SK_RELEASE);
            b.branch(Cond::Eq, Reg::R9, 0, selected);
            b.branch(Cond::Eq, Reg::R9, -errno::EEXIST, self.already);
            b.load(Size::B8, Reg::R1, Reg::R10, stack::ERROR);
            b.branch(Cond::Ne, Reg::R1, 0, next);
            b.store(Size::B8, Reg::R10, stack::ERROR, Reg::R9);
            b.place(next);
        }

        b.note("no member can be selected: count why");
        b.place(self.none_left);
        b.load(Size::B8, Reg::R1, Reg::R10, stack::ERROR);
        for (error, fault) in [
            (0, Fault::NoSocket),
            (-errno::EPROTOTYPE, Fault::WrongProtocol),
            (-errno::EAFNOSUPPORT, Fault::WrongFamily),
        ] {
            b.mov(Reg::R2, fault as i32);
            b.branch(Cond::Eq, Reg::R1, error, count);
        }
        b.mov(Reg::R2, Fault::Unsupported as i32);
        b.jump(count);

        b.note("an earlier program selected a socket: leave it so");
        b.place(self.already);
        b.store(Size::B8, Reg::R10, stack::VERDICT, abi::SK_PASS);
        b.mov(Reg::R2, Fault::AlreadySelected as i32);

        b.place(count);
        b.alu(AluOp::Mul, BINDING, FAULTS as i32);
        b.alu(AluOp::Add, BINDING, Reg::R2);
        hide_constant(b, BINDING);
        b.branch(Cond::Ge, BINDING, (counters.bindings * FAULTS) as i32, counted);
        b.alu(AluOp::Lsh, BINDING, 3);
        b.map_value(Reg::R1, FAULTS_MAP, 0);
        b.alu(AluOp::Add, Reg::R1, BINDING);
        b.mov(Reg::R2, 1);
        b.atomic(Size::B8, AtomicOp::Add { fetch: false }, Reg::R1, 0, Reg::R2);
        b.place(counted);
        b.load(Size::B8, Reg::R0, Reg::R10, stack::VERDICT);
        b.exit();

        b.place(selected);
        b.mov(Reg::R0, abi::SK_PASS);
        b.exit();
    }
}

/// `R0 = bpf_sk_assign(ctx, R0, 0)`.
fn assign(b: &mut Builder) {
    b.mov(Reg::R1, CTX);
    b.mov(Reg::R2, Reg::R0);
    b.mov(Reg::R3, 0);
    b.call(helper::SK_ASSIGN);
}
