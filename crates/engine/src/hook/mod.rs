//! The hook: the programs attached to a namespace, one after the other.

pub(crate) mod assign;
pub(crate) mod context;
pub(crate) mod fields;
pub(crate) mod host;
pub(crate) mod reuseport;

use sklookup_bpf::abi::{SK_DROP, SK_PASS};
use sklookup_vm::{Fault, SocketId};

use crate::machine::Machine;
use crate::program::Program;
use crate::trace::{HookResult, Sink, Step};
use crate::world::World;
use context::LookupContext;
use host::LookupHost;

/// What a chain has come to so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chain {
    selected: Option<SocketId>,
    no_reuseport: bool,
    all_pass: bool,
    /// Instructions of the last program.
    pub(crate) instructions: u64,
}

impl Chain {
    pub(crate) fn new() -> Chain {
        Chain { selected: None, no_reuseport: false, all_pass: true, instructions: 0 }
    }

    /// Runs one more program. Every program starts from what the chain has selected; its own selection counts only if it
    /// passes, and clearing one doesn't.
    pub(crate) fn run<S: Sink>(
        &mut self,
        program: &Program,
        machine: &Machine,
        world: &World,
        context: &LookupContext,
        cpu: u32,
        sink: &mut S,
    ) -> Result<(), Fault> {
        let (selected, no_reuseport) = (self.selected, self.no_reuseport);
        let mut host = LookupHost { machine, world, context, cpu, selected, no_reuseport, printed: 0, sink };
        let outcome = machine.run(program.code(), &mut host)?;
        if outcome.value == SK_PASS as u64 && host.selected.is_some() {
            (self.selected, self.no_reuseport) = (host.selected, host.no_reuseport);
        } else if outcome.value == SK_DROP as u64 {
            self.all_pass = false;
        }
        self.instructions = outcome.instructions;
        let (selected, instructions) = (self.selected, outcome.instructions);
        sink.record(|| Step::Returned { value: outcome.value, selected, instructions });
        Ok(())
    }

    /// A selection beats every drop, earlier or later.
    pub(crate) fn result(&self) -> HookResult {
        match self.selected {
            Some(socket) => HookResult::Selected { socket, no_reuseport: self.no_reuseport },
            None if self.all_pass => HookResult::Continue,
            None => HookResult::Drop,
        }
    }
}
