//! Which instructions read the context, and whether they may.
//!
//! A pass over the program before it runs follows where the context's address is kept: in which registers and stack
//! words, on every path. An access whose base is certainly the context as it came is checked here, once, and so a
//! program that Linux refuses for it is refused too. Where paths disagree, the run checks.

use sklookup_bpf::{AluOp, Insn, Reg, Size, Source, Width};

use crate::program::{Op, written};

/// What is known about a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holds {
    /// The context's address, as it came.
    Context,
    /// Something else, or it depends on the path.
    Other,
}

/// Words of the stack that are followed.
const STACK_WORDS: usize = 64;

/// What is known before an instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    registers: [Holds; 11],
    /// A bit for each word of the stack, counted from its upper end, that holds the context's address.
    stack: u64,
}

/// Checks every access to the context; answers the index of the first that isn't allowed, and what is wrong.
pub(crate) fn check(code: &[Op], allowed: fn(i64, Size) -> bool) -> Result<(), (usize, String)> {
    let mut before: Vec<Option<Known>> = vec![None; code.len()];
    let mut registers = [Holds::Other; 11];
    registers[1] = Holds::Context;
    before[0] = Some(Known { registers, stack: 0 });
    let mut pending = vec![0];
    while let Some(at) = pending.pop() {
        let Some(mut known) = before[at].clone() else { continue };
        let op = &code[at];
        known.apply(&op.insn);
        let (next, jump) = match op.insn {
            Insn::Exit => (None, None),
            Insn::Jump { .. } | Insn::JumpLong { .. } => (None, Some(op.target)),
            Insn::Branch { .. } => (Some(at + 1), Some(op.target)),
            _ => (Some(at + 1), None),
        };
        for to in [next, jump].into_iter().flatten().filter(|to| *to < code.len()) {
            if merge(&mut before[to], &known) {
                pending.push(to);
            }
        }
    }
    for (at, op) in code.iter().enumerate() {
        if let Some(known) = &before[at] {
            known.check(&op.insn, allowed).map_err(|what| (at, what))?;
        }
    }
    Ok(())
}

/// Keeps what holds on both paths; answers whether less is known than before.
fn merge(into: &mut Option<Known>, from: &Known) -> bool {
    let Some(known) = into else {
        *into = Some(from.clone());
        return true;
    };
    let old = known.clone();
    for (holds, also) in known.registers.iter_mut().zip(from.registers) {
        if *holds != also {
            *holds = Holds::Other;
        }
    }
    known.stack &= from.stack;
    *known != old
}

impl Known {
    fn apply(&mut self, insn: &Insn) {
        match *insn {
            Insn::Alu { width: Width::W64, op: AluOp::Mov, dst, src: Source::Reg(src) } => {
                self.registers[usize::from(dst.number())] = self.of(src);
            }
            Insn::Load { size: Size::B8, dst, base: Reg::R10, offset } => {
                let spilled = word(offset).is_some_and(|word| self.stack & 1 << word != 0);
                self.registers[usize::from(dst.number())] = if spilled { Holds::Context } else { Holds::Other };
            }
            Insn::Store { size: Size::B8, base: Reg::R10, offset, src: Source::Reg(src) } => {
                if let Some(word) = word(offset) {
                    self.stack &= !(1 << word);
                    self.stack |= u64::from(self.of(src) == Holds::Context) << word;
                }
            }
            // A store by another register than R10 may go anywhere on the stack.
            Insn::Store { .. } | Insn::Atomic { .. } => self.stack = 0,
            // What is called may be given an address on the stack and write there.
            Insn::Call(_) => {
                self.registers[..=5].fill(Holds::Other);
                self.stack = 0;
            }
            _ => {
                if let Some(dst) = written(insn) {
                    self.registers[usize::from(dst.number())] = Holds::Other;
                }
            }
        }
    }

    fn check(&self, insn: &Insn, allowed: fn(i64, Size) -> bool) -> Result<(), String> {
        let (base, offset, size, reads) = match *insn {
            Insn::Load { size, base, offset, .. } | Insn::LoadSigned { size, base, offset, .. } => {
                (base, offset, size, true)
            }
            Insn::Store { size, base, offset, .. } | Insn::Atomic { size, base, offset, .. } => {
                (base, offset, size, false)
            }
            _ => return Ok(()),
        };
        if self.of(base) == Holds::Other || reads && allowed(i64::from(offset), size) {
            return Ok(());
        }
        let does = if reads { "reads" } else { "writes" };
        let size = size.bytes();
        Err(format!(
            "{does} {size} bytes at offset {offset} of the context: invalid bpf_context access off={offset} size={size}"
        ))
    }

    fn of(&self, reg: Reg) -> Holds {
        self.registers[usize::from(reg.number())]
    }
}

/// The word of the stack at an offset from its upper end, if it is one.
fn word(offset: i16) -> Option<usize> {
    let below = usize::try_from(-i32::from(offset)).ok()?;
    (below % 8 == 0 && (1..=STACK_WORDS).contains(&(below / 8))).then(|| below / 8 - 1)
}
