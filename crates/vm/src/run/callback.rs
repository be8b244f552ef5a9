//! Helpers that call the program back.
//!
//! A callback is a subprogram that a helper calls, once a round. It returns 0 for the next round, 1 to end them.

use sklookup_bpf::Reg;

use super::helpers::status;
use super::stack::Stack;
use super::{Next, Run};
use crate::errno::Errno;
use crate::fault::Did;
use crate::host::Host;
use crate::value::{Pointer, Region, Value};

/// The most rounds that `bpf_loop` makes (`BPF_MAX_LOOPS`).
const MAX_ROUNDS: u32 = 1 << 23;

/// A round of callbacks that is under way.
pub(super) struct Round {
    /// The callback.
    target: usize,
    /// What the program wants it to be given each time.
    context: Value,
    /// Rounds that have begun.
    begun: u32,
    /// Rounds to be made in all.
    count: u32,
}

impl<H: Host> Run<'_, H> {
    /// `bpf_loop(count, callback, context, flags)`.
    pub(super) fn call_loop(&mut self, at: usize) -> Did<Next> {
        let count = self.number(Reg::R1)? as u32;
        let (target, context) = (self.callback(Reg::R2)?, self.register(Reg::R3)?);
        let refused = if self.number(Reg::R4)? != 0 {
            Some(Errno::INVAL)
        } else if count > MAX_ROUNDS {
            Some(Errno::TOOBIG)
        } else {
            None
        };
        if let Some(errno) = refused {
            return Ok(self.answered(at, status(Err(errno))));
        }
        if count == 0 {
            return Ok(self.answered(at, Value::Scalar(0)));
        }
        self.enter(at + 1, target)?;
        Ok(self.begin(Round { target, context, begun: 0, count }))
    }

    /// What follows a callback's return.
    pub(super) fn end_of(&mut self, round: Round, result: Value) -> Did<Next> {
        match result {
            Value::Scalar(0) if round.begun < round.count => Ok(self.begin(round)),
            Value::Scalar(0 | 1) => {
                self.write(Reg::R0, Value::Scalar(u64::from(round.begun)));
                Ok(self.leave())
            }
            other => Err(format!("returns {other} to the helper that called it back, which takes 0 or 1")),
        }
    }

    /// Calls back, in the frame that was entered for it, with a stack as if it were new.
    fn begin(&mut self, mut round: Round) -> Next {
        self.registers = [None; 11];
        self.registers[10] = Some(self.frame_pointer());
        self.write(Reg::R1, Value::Scalar(u64::from(round.begun)));
        self.write(Reg::R2, round.context);
        let target = round.target;
        round.begun += 1;
        let frame = self.frames.last_mut().expect("a frame was entered for the rounds");
        frame.stack = Stack::new();
        frame.round = Some(round);
        Next::At(target)
    }

    fn callback(&self, reg: Reg) -> Did<usize> {
        match self.register(reg)? {
            Value::Pointer(Pointer { region: Region::Subprogram { at }, offset: 0 }) => Ok(at),
            other => Err(format!("gives {other} in {reg}, where a subprogram has to be")),
        }
    }
}
