//! What runs cases, and what it says of one.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::case::Case;

/// One implementation of sk_lookup.
pub trait Executor: Sync {
    /// Shown beside a case: `a-case @ kernel`.
    fn name(&self) -> &'static str;
    /// Plays a case from nothing.
    fn run(&self, case: &Case) -> Verdict;
}

/// What an executor says of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All was as expected.
    Passed,
    /// It can't be told here.
    Skipped(String),
    /// Something was not as expected.
    Failed {
        /// The line of the step; `None`: before the first one.
        line: Option<u32>,
        /// What was expected and what came.
        why: String,
    },
}

/// Runs a case; a panic inside is a failure of this case and of no other.
pub fn run(executor: &dyn Executor, case: &Case) -> Verdict {
    catch_unwind(AssertUnwindSafe(|| executor.run(case))).unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        Verdict::Failed { line: None, why: format!("{} panicked: {}", executor.name(), said.unwrap_or("no message")) }
    })
}
