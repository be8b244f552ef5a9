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

use sklookup_bpf::{AluOp, Callee, Insn, MapRef, Reg, Source, Wide};

use crate::fault::{Did, Fault};
use crate::host::Host;
use crate::map::Map;
use crate::program::Program;
use crate::value::{MapNumber, Pointer, Region, Value};
use call::Frame;
pub(crate) use helpers::{HELPERS, named};
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
        // What runs in the place of this program, after a tail call.
        let mut other: Option<Box<Loaded>> = None;
        let mut at = 0;
        for instructions in 1..=budget {
            let program = other.as_ref().map_or(self, |loaded| &loaded.program);
            match run.step(program, at) {
                Ok(Next::At(next)) => at = next,
                Ok(Next::In(loaded, next)) => (other, at) = (Some(loaded), next),
                Ok(Next::End(value)) => return Ok(Outcome { value, instructions }),
                Err(what) => return Err(run.fault(program, at, what)),
            }
        }
        let program = other.as_ref().map_or(self, |loaded| &loaded.program);
        Err(run.fault(program, at, format!("is reached after {budget} instructions, and no run may take more")))
    }
}

/// Where a run goes on.
enum Next {
    /// At this instruction.
    At(usize),
    /// At this instruction of another program.
    In(Box<Loaded>, usize),
    End(u64),
}

/// A program that runs.
struct Run<'a, H> {
    host: &'a mut H,
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
        Run { host, registers, stack, frames, maps, more_maps, first_map: 0, tail_calls: 0, records }
    }

    fn fault(&self, program: &Program, at: usize, what: String) -> Fault {
        Fault { tail_calls: self.tail_calls, slot: program.slot(at), insn: program.code[at].insn, what }
    }

    /// Runs the instruction at `at`, an index into the program's code.
    fn step(&mut self, program: &Program, at: usize) -> Did<Next> {
        let op = &program.code[at];
        match op.insn {
            Insn::Alu { width, op, dst, src } => {
                let operand = self.source(src)?;
                let old = if op == AluOp::Mov { Value::NULL } else { self.register(dst)? };
                self.write(dst, alu::arithmetic(width, op, old, operand)?);
            }
            Insn::MovSigned { width, from, dst, src } => {
                let extended = alu::sign_extend(self.number(src)?, from);
                self.write(dst, alu::arithmetic(width, AluOp::Mov, Value::NULL, Value::Scalar(extended))?);
            }
            Insn::Neg { width, dst } => {
                let operand = Value::Scalar(self.number(dst)?);
                self.write(dst, alu::arithmetic(width, AluOp::Sub, Value::NULL, operand)?);
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
                let value = self.source(src)?;
                self.store(self.address(base, offset)?, size, value)?;
            }
            Insn::Atomic { size, op, base, offset, src } => self.atomic(size, op, self.address(base, offset)?, src)?,
            Insn::LoadWide { dst, value } => {
                let value = self.wide(value, op.target)?;
                self.write(dst, value);
            }
            Insn::Jump { .. } | Insn::JumpLong { .. } => return Ok(Next::At(op.target)),
            Insn::Branch { width, cond, dst, src, .. } => {
                if alu::compare(width, cond, self.register(dst)?, self.source(src)?)? {
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
        self.registers[usize::from(reg.number())].ok_or_else(|| format!("reads {reg}, which nothing was written to"))
    }

    fn number(&self, reg: Reg) -> Did<u64> {
        match self.register(reg)? {
            Value::Scalar(number) => Ok(number),
            pointer => Err(format!("calculates with {pointer} in {reg}")),
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
