//! Calls of subprograms.

use sklookup_bpf::Reg;

use super::stack::Stack;
use super::{Next, Run};
use crate::fault::Did;
use crate::host::Host;
use crate::value::{Region, Value};

/// Calls within calls that a program may make, itself being one.
const MAX_FRAMES: usize = 8;

/// A call that has not returned.
pub(super) struct Frame {
    /// Where the caller goes on.
    back: usize,
    /// R6 to R9 of the caller, which a call leaves as they are.
    saved: [Option<Value>; 4],
    /// The stack of the called.
    pub(super) stack: Stack,
}

impl<H: Host> Run<'_, H> {
    /// The called gets R1 to R5 and a stack of its own.
    pub(super) fn call_local(&mut self, at: usize, target: usize) -> Did<Next> {
        if self.frames.len() + 1 == MAX_FRAMES {
            return Err(format!("is a call within {MAX_FRAMES} calls, the most there can be"));
        }
        let saved = [self.registers[6], self.registers[7], self.registers[8], self.registers[9]];
        self.frames.push(Frame { back: at + 1, saved, stack: Stack::new() });
        self.registers[0] = None;
        self.registers[6..=9].fill(None);
        self.registers[10] = Some(self.frame_pointer());
        Ok(Next::At(target))
    }

    /// Returns to the caller, or ends the program.
    pub(super) fn exit(&mut self) -> Did<Next> {
        let result = self.register(Reg::R0)?;
        let Some(frame) = self.frames.pop() else {
            return match result {
                Value::Scalar(value) => Ok(Next::End(value)),
                pointer => Err(format!("returns {pointer}")),
            };
        };
        self.registers[1..=5].fill(None);
        self.registers[6..=9].copy_from_slice(&frame.saved);
        self.registers[10] = Some(self.frame_pointer());
        Ok(Next::At(frame.back))
    }

    fn frame_pointer(&self) -> Value {
        Value::start_of(Region::Stack { frame: self.frames.len() })
    }
}
