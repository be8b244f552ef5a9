//! Programs ready to run: what doesn't depend on a packet is checked once, when they are loaded.

use sklookup_bpf::{Callee, Insn, MapRef, MapType, Reg, Size, Source, Wide};
use thiserror::Error;

use crate::context;
use crate::errno::Errno;
use crate::map::Map;
use crate::run::{HELPERS, named};

/// A program with its maps, ready to run.
#[derive(Clone, Debug)]
pub struct Program {
    pub(crate) code: Vec<Op>,
    pub(crate) maps: Vec<Map>,
}

/// An instruction that knows where it leads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Op {
    pub(crate) insn: Insn,
    /// Index of the instruction that it jumps to or calls; 0 if it does neither.
    pub(crate) target: usize,
}

/// What programs of a type may do.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// The helpers that Linux lets them call, by number.
    pub helpers: &'static [u32],
    /// Whether Linux lets them read so many bytes at this offset of the context.
    pub context: fn(offset: i64, size: Size) -> bool,
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
            check(&insn, maps, rules).map_err(refuse)?;
            let target = match insn.target(slot) {
                Some(to) => starts.binary_search(&to).ok(),
                None if is_jump(&insn) => None,
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
        let program = Program { code, maps: maps.to_vec() };
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

    /// The slot of an instruction.
    pub(crate) fn slot(&self, at: usize) -> usize {
        self.code[..at].iter().map(|op| op.insn.slots()).sum()
    }
}

type Checked = Result<(), (Errno, String)>;

/// What can be said of one instruction by itself.
fn check(insn: &Insn, maps: &[Map], rules: &Rules) -> Checked {
    if written(insn) == Some(Reg::R10) {
        return Err((Errno::ACCES, "writes to the frame pointer, which can only be read".to_owned()));
    }
    match *insn {
        Insn::Call(Callee::Helper(number)) => check_helper(number, rules),
        Insn::Call(Callee::Kfunc { .. }) => refuse("calls a kernel function; none is implemented"),
        Insn::LoadWide { value, .. } => check_wide(value, maps),
        Insn::Alu { op: sklookup_bpf::AluOp::Div | sklookup_bpf::AluOp::Mod, src: Source::Imm(0), .. } => {
            refuse("divides by the constant 0")
        }
        _ => Ok(()),
    }
}

fn check_helper(number: u32, rules: &Rules) -> Checked {
    if !rules.helpers.contains(&number) {
        return Err((
            Errno::INVAL,
            format!("calls a helper that a program of this type cannot use, {}", named(number)),
        ));
    }
    if !HELPERS.contains(&number) {
        return Err((Errno::INVAL, format!("calls {}, which is not implemented", named(number))));
    }
    Ok(())
}

fn check_wide(value: Wide, maps: &[Map]) -> Checked {
    let map = |map: MapRef| match map {
        MapRef::Index(index) => maps
            .get(index as usize)
            .ok_or_else(|| (Errno::INVAL, format!("names map {index}, and only {} were given", maps.len()))),
        MapRef::Fd(_) => Err((Errno::BADF, "names a map by a file descriptor of another process".to_owned())),
    };
    match value {
        Wide::Imm(_) => Ok(()),
        Wide::Map(of) => map(of).map(drop),
        Wide::MapValue { map: of, offset } => {
            let spec = map(of)?.spec();
            if spec.kind != MapType::Array || spec.max_entries != 1 {
                return refuse("takes the address of a value; only arrays of one element have a fixed one");
            }
            if offset >= spec.value_size {
                return refuse("takes an address behind the end of the value");
            }
            Ok(())
        }
        Wide::Variable(_) => refuse("takes the address of a variable of the kernel; none is implemented"),
        Wide::Function(_) => refuse("takes the address of a subprogram; helpers that call back aren't implemented"),
    }
}

fn refuse(what: &str) -> Checked {
    Err((Errno::INVAL, what.to_owned()))
}

fn is_jump(insn: &Insn) -> bool {
    matches!(insn, Insn::Jump { .. } | Insn::JumpLong { .. } | Insn::Branch { .. } | Insn::Call(Callee::Local(_)))
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
            sklookup_bpf::AtomicOp::Add { fetch }
            | sklookup_bpf::AtomicOp::Or { fetch }
            | sklookup_bpf::AtomicOp::And { fetch }
            | sklookup_bpf::AtomicOp::Xor { fetch } => fetch.then_some(src),
            sklookup_bpf::AtomicOp::Xchg => Some(src),
            sklookup_bpf::AtomicOp::Cmpxchg => Some(Reg::R0),
        },
        _ => None,
    }
}
