//! The reference interpreter: one instruction after the other, every access checked.
//!
//! Written for reading, line by line beside RFC 9669. Whatever it meets that a verified program never does ends the run
//! with a [`Fault`].

mod alu;
mod call;
mod callback;
mod helpers;
mod memory;
mod records;
mod stack;
mod tail_call;

use sklookup_bpf::{AluOp, Callee, Insn, MapRef, Reg, Source, Wide, Width};

use crate::fault::{Did, Fault};
use crate::host::Host;
use crate::map::Map;
use crate::program::{Op, Program};
use crate::value::{MapNumber, Pointer, Region, Value};
use call::Frame;
pub use helpers::{Helper, helpers};
pub(crate) use helpers::{named, refusal};
use records::Records;
use stack::Stack;
use tail_call::Loaded;

/// What a run came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What the program returned in R0.
    pub value: u64,
    /// How many instructions it ran; a wide load counts once.
    pub instructions: u64,
}

impl Program {
    /// Runs it with R1 pointing to the host's context, for at most `budget` instructions.
    ///
    /// # Errors
    /// What no verified program does: an access outside what it may access, a register that was never written, a number
    /// where a pointer has to be, more instructions than `budget`.
    pub fn run(&self, host: &mut impl Host, budget: u64) -> Result<Outcome, Fault> {
        let mut run = Run::new(&self.maps, host);
        run.left = budget;
        // What runs in the place of this program, after a tail call.
        let mut other: Option<Box<Loaded>> = None;
        let mut at = 0;
        loop {
            let program = other.as_ref().map_or(self, |loaded| &loaded.program);
            match run.stay_in(program, at) {
                Ok(Leave::To(loaded, next)) => (other, at) = (Some(loaded), next),
                Ok(Leave::End(value)) => return Ok(Outcome { value, instructions: budget - run.left }),
                Err((at, what)) => {
                    let out_of_budget = what.is_none();
                    let what = what
                        .unwrap_or_else(|| format!("is reached after {budget} instructions, and no run may take more"));
                    let Op { insn, .. } = program.code[at];
                    return Err(Fault {
                        tail_calls: run.tail_calls,
                        slot: program.slot(at),
                        insn,
                        out_of_budget,
                        what,
                    });
                }
            }
        }
    }
}

/// Where a run goes on.
enum Next {
    /// At this instruction.
    At(usize),
    Leave(Leave),
}

/// Why the instructions of a program are left.
enum Leave {
    /// For an instruction of another program.
    To(Box<Loaded>, usize),
    /// With this in R0.
    End(u64),
}

/// A program that runs.
struct Run<'a, H> {
    host: &'a mut H,
    /// Instructions that it may still run.
    left: u64,
    /// `None`: never written, or overwritten by a call.
    registers: [Option<Value>; 11],
    /// Of the program itself; subprograms have theirs in [`Run::frames`].
    stack: Stack,
    /// Calls that have not returned.
    frames: Vec<Frame>,
    /// Those of the program that was started.
    maps: &'a [Map],
    /// Those that it has come upon since, numbered after its own.
    more_maps: Vec<Map>,
    /// The number of the first map of the program that runs now.
    first_map: usize,
    tail_calls: u32,
    records: Records,
}

impl<'a, H: Host> Run<'a, H> {
    fn new(maps: &'a [Map], host: &'a mut H) -> Run<'a, H> {
        let mut registers = [None; 11];
        registers[1] = Some(Value::start_of(Region::Context));
        registers[10] = Some(Value::start_of(Region::Stack { frame: 0 }));
        let (stack, frames, more_maps) = (Stack::new(), Vec::new(), Vec::new());
        let records = Records::default();
        Run { host, left: 0, registers, stack, frames, maps, more_maps, first_map: 0, tail_calls: 0, records }
    }

    /// Runs instructions of a program, from `at` on, until it is left. An error says which instruction did what; `None`: it
    /// would be one more than there may be.
    fn stay_in(&mut self, program: &Program, mut at: usize) -> Result<Leave, (usize, Option<String>)> {
        let code = &*program.code;
        loop {
            if self.left == 0 {
                return Err((at, None));
            }
            self.left -= 1;
            match self.step(program, &code[at], at) {
                Ok(Next::At(next)) => at = next,
                Ok(Next::Leave(leave)) => return Ok(leave),
                Err(what) => return Err((at, Some(what))),
            }
        }
    }

    /// Runs the instruction at `at`, which is an index into the program's code.
    // Else each would answer by way of memory.
    #[inline(always)]
    fn step(&mut self, program: &Program, op: &Op, at: usize) -> Did<Next> {
        match op.insn {
            Insn::Alu { width, op: AluOp::Mov, dst, src } => {
                if let Some(operand) = self.scalar(src) {
                    self.write(dst, Value::Scalar(alu::numbers(width, AluOp::Mov, 0, operand)));
                } else {
                    let pointer = self.source(src)?;
                    if width == Width::W32 {
                        return Err(format!("copies half of {pointer}"));
                    }
                    self.write(dst, pointer);
                }
            }
            Insn::Alu { width, op, dst, src } => {
                if let (Some(old), Some(operand)) = (self.scalar(Source::Reg(dst)), self.scalar(src)) {
                    self.write(dst, Value::Scalar(alu::numbers(width, op, old, operand)));
                } else {
                    let result = alu::with_pointers(width, op, self.register(dst)?, self.source(src)?)?;
                    self.write(dst, result);
                }
            }
            Insn::MovSigned { width, from, dst, src } => {
                let extended = alu::sign_extend(self.number(src)?, from);
                self.write(dst, Value::Scalar(alu::numbers(width, AluOp::Mov, 0, extended)));
            }
            Insn::Neg { width, dst } => {
                let negated = alu::numbers(width, AluOp::Sub, 0, self.number(dst)?);
                self.write(dst, Value::Scalar(negated));
            }
            Insn::Swap { order, size, dst } => {
                let swapped = alu::swap(order, size, self.number(dst)?);
                self.write(dst, Value::Scalar(swapped));
            }
            Insn::Load { size, dst, base, offset } => {
                let value = self.load(self.address(base, offset)?, size)?;
                self.write(dst, value);
            }
            Insn::LoadSigned { size, dst, base, offset } => {
                let value = match self.load(self.address(base, offset)?, size)? {
                    Value::Scalar(value) => Value::Scalar(alu::sign_extend(value, size)),
                    pointer => pointer,
                };
                self.write(dst, value);
            }
            Insn::Store { size, base, offset, src } => {
                let at = self.address(base, offset)?;
                match self.source(src)? {
                    Value::Scalar(number) => self.store(at, size, number)?,
                    Value::Pointer(pointer) => self.store_pointer(at, size, pointer)?,
                }
            }
            Insn::Atomic { size, op, base, offset, src } => self.atomic(size, op, self.address(base, offset)?, src)?,
            Insn::LoadWide { dst, value } => {
                let value = self.wide(value, op.target)?;
                self.write(dst, value);
            }
            Insn::Jump { .. } | Insn::JumpLong { .. } => return Ok(Next::At(op.target)),
            Insn::Branch { width, cond, dst, src, .. } => {
                let holds = match (self.scalar(Source::Reg(dst)), self.scalar(src)) {
                    (Some(dst), Some(src)) => alu::compare(width, cond, dst, src),
                    _ => alu::compare_pointers(width, cond, self.register(dst)?, self.source(src)?)?,
                };
                if holds {
                    return Ok(Next::At(op.target));
                }
            }
            Insn::Call(Callee::Helper(number)) => return self.call_helper(program, at, number),
            Insn::Call(Callee::Local(_)) => return self.enter(at + 1, op.target),
            Insn::Call(Callee::Register(reg)) => return self.call_register(program, at, reg),
            Insn::Call(Callee::Kfunc { .. }) => return Err("calls a kernel function".to_owned()),
            Insn::Exit => return self.exit(),
        }
        Ok(Next::At(at + 1))
    }

    fn register(&self, reg: Reg) -> Did<Value> {
        match self.registers[usize::from(reg.number())] {
            Some(value) => Ok(value),
            None => Err(unwritten(reg)),
        }
    }

    fn number(&self, reg: Reg) -> Did<u64> {
        match self.register(reg)? {
            Value::Scalar(number) => Ok(number),
            pointer => Err(format!("calculates with {pointer} in {reg}")),
        }
    }

    /// The number in an operand, if it is one: most are, and no value has to be made of it.
    fn scalar(&self, source: Source) -> Option<u64> {
        match source {
            Source::Imm(imm) => Some(imm as u64),
            Source::Reg(reg) => match &self.registers[usize::from(reg.number())] {
                Some(Value::Scalar(number)) => Some(*number),
                _ => None,
            },
        }
    }

    fn source(&self, source: Source) -> Did<Value> {
        match source {
            Source::Reg(reg) => self.register(reg),
            Source::Imm(imm) => Ok(Value::Scalar(imm as u64)),
        }
    }

    fn write(&mut self, reg: Reg, value: Value) {
        self.registers[usize::from(reg.number())] = Some(value);
    }

    fn map(&self, number: MapNumber) -> &Map {
        let MapNumber(number) = number;
        let own = self.maps.len();
        if number < own { &self.maps[number] } else { &self.more_maps[number - own] }
    }

    /// Numbers maps that the program it was started with doesn't have; answers the number of the first.
    fn come_upon(&mut self, maps: &[Map]) -> MapNumber {
        let first = self.maps.len() + self.more_maps.len();
        self.more_maps.extend_from_slice(maps);
        MapNumber(first)
    }

    /// What a wide load gives; what it names was checked when the program was loaded.
    fn wide(&self, value: Wide, target: usize) -> Did<Value> {
        let number = |index: u32| MapNumber(self.first_map + index as usize);
        match value {
            Wide::Imm(number) => Ok(Value::Scalar(number)),
            Wide::Map(MapRef::Index(index)) => Ok(Value::start_of(Region::Map(number(index)))),
            Wide::MapValue { map: MapRef::Index(index), offset } => {
                let region = Region::MapValue { map: number(index), place: 0 };
                Ok(Value::Pointer(Pointer { region, offset: i64::from(offset) }))
            }
            Wide::Function(_) => Ok(Value::start_of(Region::Subprogram { at: target })),
            other => Err(format!("loads {other:?}")),
        }
    }
}

#[cold]
fn unwritten(reg: Reg) -> String {
    format!("reads {reg}, which nothing was written to")
}
