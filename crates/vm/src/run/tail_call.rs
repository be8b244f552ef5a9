//! Tail calls: another program goes on in the place of one that runs.

use sklookup_bpf::Reg;
use sklookup_bpf::abi::helper;

use super::stack::Stack;
use super::{Leave, Next, Run};
use crate::fault::Did;
use crate::host::Host;
use crate::program::Program;
use crate::value::{Region, Value};

/// The most tail calls of a run (`MAX_TAIL_CALL_CNT`).
const MAX_TAIL_CALLS: u32 = 33;

/// A program that a run has gone on to.
pub(super) struct Loaded {
    pub(super) program: Program,
    /// The number of its first map.
    first_map: usize,
}

impl<H: Host> Run<'_, H> {
    /// `bpf_tail_call(context, programs, index)`. The called program has the frame of its caller, as if that had just been
    /// called, and its stack is new; where there is none at the index, or no tail call is left, the caller goes on.
    pub(super) fn tail_call(&mut self, caller: &Program, at: usize) -> Did<Next> {
        self.context_in(Reg::R1)?;
        let programs = self.map_for(helper::TAIL_CALL, Reg::R2)?;
        let index = self.number(Reg::R3)? as u32;
        if self.frames.iter().any(|frame| frame.round.is_some()) {
            return Err("is a tail call from a callback, which Linux doesn't let be".to_owned());
        }
        let called = if self.tail_calls < MAX_TAIL_CALLS { programs.program(index) } else { None };
        let Some(program) = called else {
            self.registers[..=5].fill(None);
            return Ok(Next::At(at + 1));
        };
        self.records.check_all_finished()?;
        self.tail_calls += 1;
        let first_map = self.come_upon(&program.maps).0;
        // Whoever called the caller is returned to.
        match self.frames.last_mut() {
            None => self.stack = Stack::new(),
            Some(frame) => {
                let left = Loaded { program: caller.clone(), first_map: self.first_map };
                frame.left.get_or_insert_with(|| Box::new(left));
                frame.stack = Stack::new();
            }
        }
        self.registers = [None; 11];
        self.write(Reg::R1, Value::start_of(Region::Context));
        self.write(Reg::R10, self.frame_pointer());
        Ok(self.go_to(Box::new(Loaded { program, first_map }), 0))
    }

    /// Goes on at an instruction of another program.
    pub(super) fn go_to(&mut self, loaded: Box<Loaded>, at: usize) -> Next {
        self.first_map = loaded.first_map;
        Next::Leave(Leave::To(loaded, at))
    }
}
