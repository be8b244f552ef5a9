//! How much a file may become: tables multiply what is written once, a line of a policy can be a million bindings, and a
//! step can be repeated.

use sklookup_bpf::Insn;
use sklookup_policy::Entry;

use super::tree::{Read, Wrong};
use crate::case::{Action, Case, Program};

/// The most bytes that the cases of a file may take.
const MAX_BYTES: usize = 64 << 20;

/// The most packets, questions and test runs of the cases of a file.
const MAX_RUNS: u64 = 1_000_000;

/// The most instructions on the engine: of the cases of a file together, and of one.
const MAX_INSTRUCTIONS: u64 = 10_000_000_000;
const MAX_INSTRUCTIONS_OF_A_CASE: u64 = 100_000_000;

/// What is left of it.
pub(super) struct Room {
    /// `None`: more was asked for, and nothing more is read.
    bytes: Option<usize>,
    runs: Option<u64>,
    cases: u64,
}

impl Room {
    pub(super) fn of_a_file() -> Room {
        Room { bytes: Some(MAX_BYTES), runs: Some(MAX_RUNS), cases: 1 }
    }

    /// So many cases share it.
    pub(super) fn share(&mut self, cases: usize) {
        self.cases = (cases as u64).max(1);
    }

    /// What a case may run on the engine.
    pub(super) fn instructions(&self) -> u64 {
        MAX_INSTRUCTIONS_OF_A_CASE.min(MAX_INSTRUCTIONS / self.cases)
    }

    /// Takes so many bytes for what stands in this line.
    pub(super) fn take(&mut self, bytes: usize, line: u32) -> Read<()> {
        self.bytes = self.bytes.and_then(|left| left.checked_sub(bytes));
        if self.bytes.is_some() {
            return Ok(());
        }
        let message = format!("with this, the cases of the file take more than {} MiB", MAX_BYTES >> 20);
        Err(Wrong::new(line, message, "make its tables, programs and policies smaller, or split the file"))
    }

    /// Whether there was not enough of it.
    pub(super) fn is_spent(&self) -> bool {
        self.bytes.is_none() || self.runs.is_none()
    }

    /// Takes what a case has of its own and its text is not a measure of.
    pub(super) fn take_case(&mut self, case: &Case) -> Read<()> {
        let programs = case.world.programs.iter().map(|(_, program)| match program {
            Program::Text(spec) => spec.insns.len() * size_of::<Insn>(),
            Program::Object(program) => program.spec.insns.len() * size_of::<Insn>(),
            Program::Policy(compiled) => compiled.policy.len() * size_of::<Entry>(),
        });
        let runs = case.steps.iter().map(|step| match &step.action {
            Action::Packet(send) => 1 + u64::from(send.again),
            Action::TestRun(run) => u64::from(run.repeat.max(1)),
            Action::Ask { .. } => 1,
            _ => 0,
        });
        self.runs = self.runs.and_then(|left| left.checked_sub(runs.sum()));
        if self.runs.is_none() {
            let message =
                format!("with this, the cases of the file send packets and run programs more than {MAX_RUNS} times");
            return Err(Wrong::new(case.line, message, "take less of again and repeat, or split the file"));
        }
        let contexts = case.steps.iter().map(|step| match &step.action {
            Action::TestRun(run) => run.context.len(),
            _ => 0,
        });
        self.take(programs.chain(contexts).sum(), case.line)
    }
}
