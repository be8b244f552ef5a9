//! Calls and returns: subprograms, and what a callback's return leads to.

use sklookup_bpf::Reg;

use super::callback::Round;
use super::stack::Stack;
use super::tail_call::Loaded;
use super::{Leave, Next, Run};
use crate::fault::Did;
use crate::host::Host;
use crate::program::Program;
use crate::value::{Pointer, Region, Value};

/// Calls within calls that a program may make, itself being one.
const MAX_FRAMES: usize = 8;

/// A call that has not returned.
pub(super) struct Frame {
    /// Where the caller goes on.
    back: usize,
    /// The program of the caller, where a tail call has left it.
    pub(super) left: Option<Box<Loaded>>,
    /// R6 to R9 of the caller, which a call leaves as they are.
    saved: [Option<Value>; 4],
    /// The stack of the called.
    pub(super) stack: Stack,
    /// What a helper called it for; `None`: the program called it.
    pub(super) round: Option<Round>,
}

impl<H: Host> Run<'_, H> {
    /// Calls what a register holds: a subprogram by its address, a helper by its number.
    pub(super) fn call_register(&mut self, program: &Program, at: usize, reg: Reg) -> Did<Next> {
        let callee = self.register(reg)?;
        match callee {
            Value::Pointer(Pointer { region: Region::Subprogram { at: target }, offset: 0 }) => {
                self.enter(at + 1, target)
            }
            Value::Scalar(number) => match u32::try_from(number) {
                Ok(number) if program.helpers.contains(&number) => self.call_helper(program, at, number),
                _ => Err(format!("calls helper {number}, which a program of this type cannot use")),
            },
            other => Err(format!("calls {other} in {reg}, where a subprogram or the number of a helper has to be")),
        }
    }

    /// Calls the subprogram at `target`, which gets R1 to R5 and a stack of its own; the caller goes on at `back`.
    pub(super) fn enter(&mut self, back: usize, target: usize) -> Did<Next> {
        if self.frames.len() + 1 == MAX_FRAMES {
            return Err(format!("is a call within {MAX_FRAMES} calls, the most there can be"));
        }
        let saved = [self.registers[6], self.registers[7], self.registers[8], self.registers[9]];
        self.frames.push(Frame { back, left: None, saved, stack: Stack::new(), round: None });
        self.registers[0] = None;
        self.registers[6..=9].fill(None);
        self.registers[10] = Some(self.frame_pointer());
        Ok(Next::At(target))
    }

    /// Returns to the caller, or ends the program.
    pub(super) fn exit(&mut self) -> Did<Next> {
        let result = self.register(Reg::R0)?;
        let Some(frame) = self.frames.last_mut() else {
            self.records.check_all_finished()?;
            return match result {
                Value::Scalar(value) => Ok(Next::Leave(Leave::End(value))),
                pointer => Err(format!("returns {pointer}")),
            };
        };
        if let Some(round) = frame.round.take() {
            return self.end_of(round, result);
        }
        Ok(self.leave())
    }

    /// Goes back to the caller, whose R0 is set already.
    pub(super) fn leave(&mut self) -> Next {
        let frame = self.frames.pop().expect("who leaves has entered");
        self.registers[1..=5].fill(None);
        self.registers[6..=9].copy_from_slice(&frame.saved);
        self.registers[10] = Some(self.frame_pointer());
        match frame.left {
            None => Next::At(frame.back),
            Some(caller) => self.go_to(caller, frame.back),
        }
    }

    pub(super) fn frame_pointer(&self) -> Value {
        Value::start_of(Region::Stack { frame: self.frames.len() })
    }
}
