//! The engine as an executor: each case on a simulated machine of its own, without any right.

mod connection;
mod deliver;
mod host;
mod sockets;
mod world;

use crate::case::Case;
use crate::executor::{Executor, Verdict};
use crate::play::{Stop, play};
use host::Simulated;

/// The engine, which is always there.
#[derive(Debug, Default)]
pub struct Engine;

impl Executor for Engine {
    fn name(&self) -> &'static str {
        "engine"
    }

    /// It answers as the newest kernel that cases were seen on: no case is too new for it.
    fn run(&self, case: &Case) -> Verdict {
        match play(case, &mut Simulated::new(case.instructions)) {
            Ok(()) => Verdict::Passed,
            Err(Stop::Skipped(reason)) => Verdict::Skipped(reason),
            Err(Stop::Failed { line, why }) => Verdict::Failed { line, why },
        }
    }
}
