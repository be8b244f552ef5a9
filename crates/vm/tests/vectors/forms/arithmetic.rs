//! Arithmetic, moves and byte swaps: RFC 9669, sections 4.1 and 4.2.

use sklookup_bpf::{AluOp, Insn, Order, Reg, Size, Source, Width};

use super::{Form, MIXED, SINGLES, State, states_of_pairs, states_of_singles};

const OPS: [AluOp; 14] = [
    AluOp::Add,
    AluOp::Sub,
    AluOp::Mul,
    AluOp::Div,
    AluOp::SDiv,
    AluOp::Or,
    AluOp::And,
    AluOp::Lsh,
    AluOp::Rsh,
    AluOp::Mod,
    AluOp::SMod,
    AluOp::Xor,
    AluOp::Mov,
    AluOp::Arsh,
];

const IMMS: [i32; 7] = [0, 1, -1, 7, -3, i32::MAX, i32::MIN];

pub(super) fn forms() -> Vec<(Form, Vec<State>)> {
    let mut forms = Vec::new();
    for width in [Width::W32, Width::W64] {
        for op in OPS {
            let shifts = matches!(op, AluOp::Lsh | AluOp::Rsh | AluOp::Arsh);
            let insn = |src| Insn::Alu { width, op, dst: Reg::R0, src };
            let states = if shifts { shifted() } else { states_of_pairs() };
            forms.push((Form::of(insn(Source::Reg(Reg::R1)).to_string()), states));
            let imms: &[i32] = if shifts { &[0, 1, 7, 31, 32, 63, 64, -1] } else { &IMMS };
            for &imm in imms {
                let code = insn(Source::Imm(imm)).to_string();
                let asked = || format!("r2 = {imm}; {}", insn(Source::Reg(Reg::R2)));
                let bits = if width == Width::W64 { 64 } else { 32 };
                let form = match op {
                    _ if shifts && !(0..bits).contains(&imm) => {
                        Form::refused(code, format!("invalid shift {imm}"), asked())
                    }
                    AluOp::Div | AluOp::SDiv | AluOp::Mod | AluOp::SMod if imm == 0 => {
                        Form::refused(code, "div by zero", asked())
                    }
                    _ => Form::of(code),
                };
                forms.push((form, states_of_singles()));
            }
        }
        forms.push((Form::of(Insn::Neg { width, dst: Reg::R0 }.to_string()), states_of_singles()));
        for from in [Size::B1, Size::B2, Size::B4] {
            if width == Width::W64 || from != Size::B4 {
                let insn = Insn::MovSigned { width, from, dst: Reg::R0, src: Reg::R1 };
                forms.push((Form::of(insn.to_string()), extended()));
            }
        }
    }
    for order in [Order::Little, Order::Big, Order::Swap] {
        for size in [Size::B2, Size::B4, Size::B8] {
            let states = [MIXED, !MIXED, 0xff, u64::MAX].map(|r0| [r0, 0, 0]).into();
            forms.push((Form::of(Insn::Swap { order, size, dst: Reg::R0 }.to_string()), states));
        }
    }
    forms
}

/// Shifts by nothing, by up to the width of both widths, and beyond.
fn shifted() -> Vec<State> {
    let by = [0, 1, 7, 31, 32, 33, 63, 64, 65, u64::MAX, 0x1_0000_0001];
    let of = [MIXED, 0x8000_0000_8000_0001];
    of.iter().flat_map(|of| by.map(|by| [*of, by, 0])).collect()
}

/// Signs in the byte, the half word and the word that is extended, or only above it.
fn extended() -> Vec<State> {
    let more = [0x7f, 0x80, 0x7fff, 0x8000, 0x7fff_ffff, 0xff00, 0xdead_beef_0000_0080];
    SINGLES.into_iter().chain(more).map(|r1| [0x5555, r1, 0]).collect()
}
