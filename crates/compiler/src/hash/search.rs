//! Code that follows a reference through lists.
//!
//! A list is searched by halving, without a branch on what is found: that is faster than branches which can't be
//! predicted, and the verifier has one path to follow instead of one for each outcome. Steps are unrolled because
//! without CAP_PERFMON the verifier refuses an addition to a pointer in a loop.

use sklookup_bpf::{AluOp, Builder, Cond, Label, Reg, Size};

use super::refs::{self, Kind};
use super::reg;
use super::table::{Layout, Uses};
use crate::emit::packet;
use crate::family::Family;
use crate::rules::Domain;

/// Follows [`reg::FOUND`] to `outcome`, or falls through if the lists have nothing for the packet. `miss` is the place
/// that is fallen through to. R0 to R5 are overwritten, the destination too if [`clobbers_destination`].
pub(super) fn emit(
    b: &mut Builder,
    domain: &Domain,
    mut lists: Uses,
    layout: &Layout,
    table: u32,
    outcome: Label,
    miss: Label,
) {
    for kind in [Kind::Ports, Kind::Sources, Kind::Interfaces] {
        let entries = *lists.of(kind);
        if entries == 0 {
            continue;
        }
        let other_kind = b.label();
        b.mov(Reg::R0, reg::FOUND);
        b.alu(AluOp::Rsh, Reg::R0, refs::KIND_SHIFT);
        b.branch(Cond::Ne, Reg::R0, kind.tag(), other_kind);
        let number = match kind {
            Kind::Ports => Number::Narrow(reg::PORT),
            Kind::Sources => {
                packet::load_source(b, domain.family, reg::HIGH, reg::LOW, Reg::R1);
                match domain.family {
                    Family::V4 => Number::Narrow(reg::HIGH),
                    Family::V6 => Number::Wide,
                }
            }
            Kind::Interfaces => {
                packet::load_interface(b, reg::HIGH);
                Number::Narrow(reg::HIGH)
            }
        };
        let steps = entries.next_power_of_two().ilog2();
        search(b, number, steps, layout, table, miss);
        b.branch(Cond::SLt, reg::FOUND, 0, outcome);
        b.place(other_kind);
    }
}

/// Whether following lists overwrites the destination address in its registers.
pub(super) fn clobbers_destination(lists: Uses) -> bool {
    lists.sources > 0 || lists.interfaces > 0
}

/// What is searched for.
#[derive(Clone, Copy)]
enum Number {
    /// Up to 32 bits, in this register.
    Narrow(Reg),
    /// 128 bits in [`reg::HIGH`] and [`reg::LOW`].
    Wide,
}

impl Number {
    /// Bytes of an entry: the number and the reference.
    fn entry_bytes(self) -> i32 {
        match self {
            Number::Narrow(_) => 16,
            Number::Wide => 24,
        }
    }
}

/// `FOUND =` the reference of the last entry that does not start above the number, in the list that FOUND names.
fn search(b: &mut Builder, number: Number, steps: u32, layout: &Layout, table: u32, miss: Label) {
    let (place, entries, half, probed) = (Reg::R3, Reg::R4, Reg::R5, Reg::R0);
    let entry_bytes = number.entry_bytes();
    let last_place = layout.lists_bytes as i32 - entry_bytes;
    // Both are offsets in bytes from the start of all lists. No list reaches over their end, but the verifier can't
    // know.
    let point = |b: &mut Builder, offset: Reg| {
        b.branch(Cond::Gt, offset, last_place, miss);
        b.map_value(Reg::R1, table, layout.lists);
        b.alu(AluOp::Add, Reg::R1, offset);
    };
    b.mov32(place, reg::FOUND);
    b.alu(AluOp::Lsh, place, 3);
    b.mov(entries, reg::FOUND);
    b.alu(AluOp::Rsh, entries, 32);
    b.alu32(AluOp::And, entries, refs::LABEL_MASK as i32);
    for _ in 0..steps {
        b.mov(half, entries);
        b.alu(AluOp::Rsh, half, 1);
        b.alu(AluOp::Sub, entries, half);
        b.alu(AluOp::Mul, half, entry_bytes);
        b.mov(probed, place);
        b.alu(AluOp::Add, probed, half);
        point(b, probed);
        match number {
            Number::Narrow(number) => {
                // All ones if the entry does not start above the number, else 0: neither has more than 32 bits.
                b.load(Size::B8, Reg::R1, Reg::R1, 0);
                b.alu(AluOp::Sub, Reg::R1, number);
                b.alu(AluOp::Sub, Reg::R1, 1);
                b.alu(AluOp::Arsh, Reg::R1, 63);
                b.alu(AluOp::And, half, Reg::R1);
                b.alu(AluOp::Add, place, half);
            }
            Number::Wide => {
                let (upper, lower) = (b.label(), b.label());
                b.load(Size::B8, Reg::R0, Reg::R1, 0);
                b.branch(Cond::Gt, Reg::R0, reg::HIGH, lower);
                b.branch(Cond::Lt, Reg::R0, reg::HIGH, upper);
                b.load(Size::B8, Reg::R0, Reg::R1, 8);
                b.branch(Cond::Gt, Reg::R0, reg::LOW, lower);
                b.place(upper);
                b.alu(AluOp::Add, place, half);
                b.place(lower);
            }
        }
    }
    point(b, place);
    b.load(Size::B8, reg::FOUND, Reg::R1, (entry_bytes - 8) as i16);
}
