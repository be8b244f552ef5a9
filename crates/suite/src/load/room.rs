//! How much a file may become: tables multiply what is written once, and a line of a policy can be a million bindings.

use sklookup_bpf::Insn;
use sklookup_policy::Entry;

use super::tree::{Read, Wrong};
use crate::case::{Action, Case, Program};

/// The most bytes that the cases of a file may take.
const MAX_BYTES: usize = 64 << 20;

/// What is left of it; `None`: more was asked for, and nothing more is read.
pub(super) struct Room(Option<usize>);

impl Room {
    pub(super) fn of_a_file() -> Room {
        Room(Some(MAX_BYTES))
    }

    /// Takes so many bytes for what stands in this line.
    pub(super) fn take(&mut self, bytes: usize, line: u32) -> Read<()> {
        self.0 = self.0.and_then(|left| left.checked_sub(bytes));
        if !self.is_spent() {
            return Ok(());
        }
        let message = format!("with this, the cases of the file take more than {} MiB", MAX_BYTES >> 20);
        Err(Wrong::new(line, message, "make its tables, programs and policies smaller, or split the file"))
    }

    /// Whether there was not enough of it.
    pub(super) fn is_spent(&self) -> bool {
        self.0.is_none()
    }

    /// Takes what a case has of its own and its text is not a measure of.
    pub(super) fn take_case(&mut self, case: &Case) -> Read<()> {
        let programs = case.world.programs.iter().map(|(_, program)| match program {
            Program::Text(spec) => spec.insns.len() * size_of::<Insn>(),
            Program::Object(program) => program.spec.insns.len() * size_of::<Insn>(),
            Program::Policy(compiled) => compiled.policy.len() * size_of::<Entry>(),
        });
        let contexts = case.steps.iter().map(|step| match &step.action {
            Action::TestRun(run) => run.context.len(),
            _ => 0,
        });
        self.take(programs.chain(contexts).sum(), case.line)
    }
}
