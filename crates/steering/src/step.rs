//! What a command is at, for whoever waits for it.

use std::fmt;

use crate::state::State;

/// A part of a command that takes the longer the more bindings there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// What is applied is read.
    Reading,
    /// It is edited, and the edit held against the machine.
    Checking,
    /// So many bindings become a program and its maps.
    Compiling(usize),
    /// These go into the kernel.
    Loading(usize),
    /// The new generation is put into effect.
    Switching,
    /// Generations that nobody needs any more are removed.
    Sweeping,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Reading => f.write_str("reading what is applied"),
            Step::Checking => f.write_str("checking"),
            Step::Compiling(bindings) => write!(f, "compiling {bindings} bindings"),
            Step::Loading(bindings) => write!(f, "loading {bindings} bindings"),
            Step::Switching => f.write_str("switching"),
            Step::Sweeping => f.write_str("sweeping"),
        }
    }
}

impl State {
    /// The same state, whose commands tell `watch` what they are at, as they come to it.
    #[must_use]
    pub fn watched(mut self, watch: fn(Step)) -> State {
        self.watch = Some(watch);
        self
    }

    /// Tells whoever watches.
    pub(crate) fn at(&self, step: Step) {
        if let Some(watch) = self.watch {
            watch(step);
        }
    }
}
