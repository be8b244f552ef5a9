//! Programs ready to run: what doesn't depend on a packet is checked once, when they are loaded.

mod check;

use std::sync::Arc;

use sklookup_bpf::{AtomicOp, Callee, Insn, Reg, Size, Wide};
use thiserror::Error;

use crate::context;
use crate::errno::Errno;
use crate::map::Map;

/// A program with its maps, ready to run. Clones are the same program.
#[derive(Clone, Debug)]
pub struct Program {
    pub(crate) code: Arc<[Op]>,
    pub(crate) maps: Arc<[Map]>,
    /// The helpers that it may call.
    pub(crate) helpers: &'static [u32],
}

/// An instruction that knows where it leads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Op {
    pub(crate) insn: Insn,
    /// Index of the instruction that it jumps to, calls or takes the address of; 0 if it does nothing of the kind.
    pub(crate) target: usize,
}

/// What programs of a type may do.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Which instructions they may have.
    pub instructions: Instructions,
    /// The helpers that Linux lets them call, by number.
    pub helpers: &'static [u32],
    /// Whether Linux lets them read so many bytes at this offset of the context.
    pub context: fn(offset: i64, size: Size) -> bool,
}

/// Which instructions a program may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instructions {
    /// Those that Linux loads. It refuses what RFC 9669 defines where it looks like a mistake: shifts by a constant beyond
    /// the width, division by the constant 0. It knows no call by register.
    Linux,
    /// All of RFC 9669, and calls by register.
    All,
}

/// Why a program was not loaded.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}{what}", .insn.map(|(slot, insn)| format!("slot {slot}: `{insn}` ")).unwrap_or_default())]
pub struct Refused {
    /// What Linux answers.
    pub errno: Errno,
    /// Slot of the instruction, and the instruction; `None`: the program as a whole.
    pub insn: Option<(usize, Insn)>,
    /// What is wrong.
    pub what: String,
}

impl Program {
    /// Prepares a program; `maps[i]` is the map that instructions call number `i`.
    ///
    /// # Errors
    /// What can be told without following values: jumps that lead nowhere, helpers and maps that are unknown or may not be
    /// used, reads of the context that Linux refuses.
    pub fn load(insns: &[Insn], maps: &[Map], rules: &Rules) -> Result<Program, Refused> {
        let whole = |what: &str| Refused { errno: Errno::INVAL, insn: None, what: what.to_owned() };
        let starts: Vec<usize> = insns
            .iter()
            .scan(0, |slot, insn| {
                let start = *slot;
                *slot += insn.slots();
                Some(start)
            })
            .collect();
        let mut code = Vec::with_capacity(insns.len());
        for (&insn, &slot) in insns.iter().zip(&starts) {
            let refuse = |(errno, what)| Refused { errno, insn: Some((slot, insn)), what };
            check::instruction(&insn, maps, rules).map_err(refuse)?;
            let target = match insn.target(slot) {
                Some(to) => starts.binary_search(&to).ok(),
                None if leads_somewhere(&insn) => None,
                None => Some(0),
            };
            let target =
                target.ok_or_else(|| refuse((Errno::INVAL, "leads to where no instruction begins".to_owned())))?;
            code.push(Op { insn, target });
        }
        match insns.last() {
            None => return Err(whole("the program is empty")),
            Some(Insn::Exit | Insn::Jump { .. } | Insn::JumpLong { .. }) => {}
            Some(_) => return Err(whole("the last instruction is neither an exit nor a jump")),
        }
        let program = Program { code: code.into(), maps: maps.into(), helpers: rules.helpers };
        context::check(&program.code, rules.context).map_err(|(at, what)| Refused {
            errno: Errno::ACCES,
            insn: Some((starts[at], insns[at])),
            what,
        })?;
        Ok(program)
    }

    /// The maps that it uses.
    pub fn maps(&self) -> &[Map] {
        &self.maps
    }

    /// Bytes of memory that it takes.
    pub fn bytes(&self) -> u64 {
        (self.code.len() * size_of::<Op>() + size_of_val(&*self.maps)) as u64
    }

    /// The slot of an instruction.
    pub(crate) fn slot(&self, at: usize) -> usize {
        self.code[..at].iter().map(|op| op.insn.slots()).sum()
    }
}

fn leads_somewhere(insn: &Insn) -> bool {
    matches!(
        insn,
        Insn::Jump { .. }
            | Insn::JumpLong { .. }
            | Insn::Branch { .. }
            | Insn::Call(Callee::Local(_))
            | Insn::LoadWide { value: Wide::Function(_), .. }
    )
}

/// The register that an instruction writes to by its destination field.
pub(crate) fn written(insn: &Insn) -> Option<Reg> {
    match *insn {
        Insn::Alu { dst, .. }
        | Insn::MovSigned { dst, .. }
        | Insn::Neg { dst, .. }
        | Insn::Swap { dst, .. }
        | Insn::Load { dst, .. }
        | Insn::LoadSigned { dst, .. }
        | Insn::LoadWide { dst, .. } => Some(dst),
        Insn::Atomic { op, src, .. } => match op {
            AtomicOp::Add { fetch } | AtomicOp::Or { fetch } | AtomicOp::And { fetch } | AtomicOp::Xor { fetch } => {
                fetch.then_some(src)
            }
            AtomicOp::Xchg => Some(src),
            AtomicOp::Cmpxchg => Some(Reg::R0),
        },
        _ => None,
    }
}
