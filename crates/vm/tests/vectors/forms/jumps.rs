//! Jumps: RFC 9669, section 4.3.

use sklookup_bpf::{Cond, Insn, Reg, Source, Width};

use super::{Form, State, states_of_pairs, states_of_singles};

const CONDS: [Cond; 11] =
    [Cond::Eq, Cond::Ne, Cond::Gt, Cond::Ge, Cond::Lt, Cond::Le, Cond::Set, Cond::SGt, Cond::SGe, Cond::SLt, Cond::SLe];

pub(super) fn forms() -> Vec<(Form, Vec<State>)> {
    let mut forms = Vec::new();
    for (width, cond) in [Width::W32, Width::W64].into_iter().flat_map(|width| CONDS.map(|cond| (width, cond))) {
        forms.push((branch(width, cond, Source::Reg(Reg::R1)), states_of_pairs()));
        for imm in [0, 1, -1, i32::MAX, i32::MIN] {
            forms.push((branch(width, cond, Source::Imm(imm)), states_of_singles()));
        }
    }
    let (zero_or_not, sums) = (vec![[0, 0, 0], [1, 1, 0]], vec![[0, 5, 0], [10, u64::MAX, 0]]);
    for jump in ["goto", "gotol"] {
        let forward = format!("if r0 == 0 goto other; {jump} over; other: r0 = 7; over: r0 += 1");
        let back = format!("{jump} start; back: r0 += 3; {jump} done; start: if r1 == 0 goto back; r0 = 9");
        let to_next = format!("{jump} +0; r0 += 2");
        forms.extend([forward, back, to_next].map(|code| (Form::of(code), zero_or_not.clone())));
    }
    forms.push((Form::of("r2 = 3; again: r0 += r1; r2 -= 1; if r2 != 0 goto again"), sums.clone()));
    forms.push((Form::of("w2 = 3; again: r0 += r1; w2 -= 1; if w2 s> 0 goto again"), sums));
    forms
}

/// Leaves 1 in R0 if it jumps, else 0.
fn branch(width: Width, cond: Cond, src: Source) -> Form {
    let insn = Insn::Branch { width, cond, dst: Reg::R0, src, offset: 0 }.to_string();
    let condition = insn.strip_suffix(" goto pc+0").expect("a branch ends in its distance");
    Form::of(format!("{condition} goto taken; r0 = 0; goto done; taken: r0 = 1"))
}
