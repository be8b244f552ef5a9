//! Helpers that call the program back.
//!
//! A callback is a subprogram that a helper calls, once a round. It returns 0 for the next round, 1 to end them.

use sklookup_bpf::Reg;
use sklookup_bpf::abi::helper;

use super::helpers::status;
use super::stack::Stack;
use super::{Next, Run};
use crate::errno::Errno;
use crate::fault::Did;
use crate::host::Host;
use crate::value::{MapNumber, Pointer, Region, Value};

/// The most rounds that `bpf_loop` makes (`BPF_MAX_LOOPS`).
const MAX_ROUNDS: u32 = 1 << 23;

/// Rounds of callbacks, and how far they are.
pub(super) struct Round {
    /// The callback.
    target: usize,
    /// What the program wants it to be given each time.
    context: Value,
    /// Rounds that have begun.
    begun: u32,
    over: Over,
}

/// What there is a round for.
enum Over {
    /// Each number below this.
    Numbers(u32),
    /// Each entry of a map.
    Entries {
        map: MapNumber,
        /// Of the entry that the last round was for.
        key: Option<Vec<u8>>,
    },
}

impl Round {
    /// The key of the entry that this round is for.
    pub(super) fn key(&self) -> &[u8] {
        match &self.over {
            Over::Entries { key: Some(key), .. } => key,
            _ => &[],
        }
    }
}

impl<H: Host> Run<'_, H> {
    /// `bpf_loop(count, callback, context, flags)`: the callback gets a number and the context.
    pub(super) fn call_loop(&mut self, at: usize) -> Did<Next> {
        let count = self.number(Reg::R1)? as u32;
        let (target, context) = (self.callback(Reg::R2)?, self.register(Reg::R3)?);
        if self.number(Reg::R4)? != 0 {
            return Ok(self.answered(at, status(Err(Errno::INVAL))));
        }
        if count > MAX_ROUNDS {
            return Ok(self.answered(at, status(Err(Errno::TOOBIG))));
        }
        self.enter(at + 1, target)?;
        self.go_on(Round { target, context, begun: 0, over: Over::Numbers(count) })
    }

    /// `bpf_for_each_map_elem(map, callback, context, flags)`: the callback gets the map, a key, its value and the context.
    pub(super) fn call_for_each(&mut self, at: usize) -> Did<Next> {
        self.map_for(helper::FOR_EACH_MAP_ELEM, Reg::R1)?;
        let map = self.map_number(Reg::R1)?;
        let (target, context) = (self.callback(Reg::R2)?, self.register(Reg::R3)?);
        if self.number(Reg::R4)? != 0 {
            return Ok(self.answered(at, status(Err(Errno::INVAL))));
        }
        self.enter(at + 1, target)?;
        self.go_on(Round { target, context, begun: 0, over: Over::Entries { map, key: None } })
    }

    /// What follows a callback's return.
    pub(super) fn end_of(&mut self, round: Round, result: Value) -> Did<Next> {
        match result {
            Value::Scalar(0) => self.go_on(round),
            Value::Scalar(1) => Ok(self.end_all(&round)),
            other => Err(format!("returns {other} to the helper that called it back, which takes 0 or 1")),
        }
    }

    /// The next round, in the frame that was entered for them all, with a stack as if it were new; or their end.
    fn go_on(&mut self, mut round: Round) -> Did<Next> {
        let (context, target) = (round.context, round.target);
        let arguments = match &mut round.over {
            Over::Numbers(count) if round.begun == *count => return Ok(self.end_all(&round)),
            Over::Numbers(_) => [Some(Value::Scalar(u64::from(round.begun))), Some(context), None, None],
            Over::Entries { map, key } => {
                let Some((next, place)) = self.map(*map).entry_behind(key.as_deref(), self.host.cpu()) else {
                    return Ok(self.end_all(&round));
                };
                *key = Some(next);
                let regions = [
                    Region::Map(*map),
                    Region::Key { frame: self.frames.len() },
                    Region::MapValue { map: *map, place },
                ];
                let [map, key, value] = regions.map(|region| Some(Value::start_of(region)));
                [map, key, value, Some(context)]
            }
        };
        round.begun += 1;
        self.registers = [None; 11];
        self.registers[1..=4].copy_from_slice(&arguments);
        self.registers[10] = Some(self.frame_pointer());
        let frame = self.frames.last_mut().expect("a frame was entered for the rounds");
        frame.stack = Stack::new();
        frame.round = Some(round);
        Ok(Next::At(target))
    }

    /// The helper returns how many rounds there were.
    fn end_all(&mut self, round: &Round) -> Next {
        self.write(Reg::R0, Value::Scalar(u64::from(round.begun)));
        self.leave()
    }

    fn callback(&self, reg: Reg) -> Did<usize> {
        match self.register(reg)? {
            Value::Pointer(Pointer { region: Region::Subprogram { at }, offset: 0 }) => Ok(at),
            other => Err(format!("gives {other} in {reg}, where a subprogram has to be")),
        }
    }
}
