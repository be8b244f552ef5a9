//! Loads, stores and atomic operations: RFC 9669, section 5.

use sklookup_bpf::{AtomicOp, Insn, Reg, Size, Source, Wide};

use super::{Form, MIN, MIXED, State};

const ATOMIC_OPS: [AtomicOp; 10] = [
    AtomicOp::Add { fetch: false },
    AtomicOp::Add { fetch: true },
    AtomicOp::Or { fetch: false },
    AtomicOp::Or { fetch: true },
    AtomicOp::And { fetch: false },
    AtomicOp::And { fetch: true },
    AtomicOp::Xor { fetch: false },
    AtomicOp::Xor { fetch: true },
    AtomicOp::Xchg,
    AtomicOp::Cmpxchg,
];

/// Sizes, and offsets into the word: first, last, and across what would be aligned.
const PLACES: [(Size, &[i16]); 4] =
    [(Size::B1, &[0, 3, 7]), (Size::B2, &[0, 1, 6]), (Size::B4, &[0, 2, 4]), (Size::B8, &[0])];

pub(super) fn forms() -> Vec<(Form, Vec<State>)> {
    let mut forms = Vec::new();
    let (dst, base, src) = (Reg::R0, Reg::R7, Reg::R1);
    for (size, offsets) in PLACES {
        for &offset in offsets {
            forms.push((Form::of(Insn::Load { size, dst, base, offset }.to_string()), loaded()));
            if size != Size::B8 {
                forms.push((Form::of(Insn::LoadSigned { size, dst, base, offset }.to_string()), loaded()));
            }
            let store = |src| Form::of(Insn::Store { size, base, offset, src }.to_string());
            forms.push((store(Source::Reg(src)), stored()));
            for imm in [-1, 0x1234_5678, i32::MIN] {
                forms.push((store(Source::Imm(imm)), vec![[0, 0, MIXED], [0, 0, u64::MAX]]));
            }
        }
    }
    forms.push((Form::of("r2 = r7; r2 += 8; r0 = *(s16 *)(r2 -8); *(u8 *)(r2 -1) = r0"), loaded()));
    for (size, offsets) in [(Size::B4, &[0, 4][..]), (Size::B8, &[0])] {
        for (op, &offset) in ATOMIC_OPS.iter().flat_map(|op| offsets.iter().map(move |offset| (*op, offset))) {
            forms.push((Form::of(Insn::Atomic { size, op, base, offset, src }.to_string()), changed()));
        }
    }
    for imm in [0, 1, u64::MAX, MIN, 0xffff_ffff, 0x8000_0000, 0xffff_ffff_0000_0000, MIXED] {
        let insn = Insn::LoadWide { dst, value: Wide::Imm(imm) };
        forms.push((Form::of(insn.to_string()), vec![[0x5555, 0, 0]]));
    }
    forms.push((Form::of("r2 = map[cells][0]+8 ll; r0 = *(u64 *)(r2 +0)"), vec![[1, MIXED, 0]]));
    forms
}

fn loaded() -> Vec<State> {
    [0x8182_8384_8586_8788, 0x7f00_80ff_017f_00fe, 0].map(|word| [0x5555, 0, word]).into()
}

fn stored() -> Vec<State> {
    [(MIXED, 0), (!MIXED, u64::MAX), (u64::MAX, MIXED)].map(|(r1, word)| [0, r1, word]).into()
}

/// What is compared, the operand, and what is there: equal in all, in the lower half only, in none; carries.
fn changed() -> Vec<State> {
    vec![
        [5, 3, 5],
        [5, 3, 6],
        [0, u64::MAX, u64::MAX],
        [u64::MAX, 1, u64::MAX],
        [0, MIXED, !MIXED],
        [0xffff_ffff_0000_0005, 0x1_0000_0003, 0x7_0000_0005],
        [0x0000_0000_0000_0005, 0xdead_beef_0000_0003, 0x0000_0005_ffff_ffff],
        [MIN, 1, MIN],
    ]
}
