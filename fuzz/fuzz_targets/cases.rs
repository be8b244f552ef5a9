//! Case files: what loads has names of its own and can be played, whatever it says, and comes out the same twice.

#![no_main]

use std::collections::HashSet;

use libfuzzer_sys::fuzz_target;
use sklookup_suite::case::{Action, Case};
use sklookup_suite::{Engine, Executor, load};

/// A file with more to do is only loaded: there are millions of smaller ones to try meanwhile.
const MAX_WORK: usize = 2_000;

fuzz_target!(|text: &str| {
    let cases = match load(text, "fuzzed.toml") {
        Ok(cases) => cases,
        Err(problems) => {
            assert!(!problems.is_empty());
            for problem in problems {
                assert!(problem.to_string().len() < 2_000, "{problem}");
            }
            return;
        }
    };
    let names: HashSet<&str> = cases.iter().map(|case| case.name.as_str()).collect();
    assert_eq!(names.len(), cases.len());

    let mut left = MAX_WORK;
    for case in &cases {
        let Some(after) = left.checked_sub(work(case)) else { break };
        left = after;
        // Not through `sklookup_suite::run`: it would make a failed case of a panic.
        assert_eq!(Engine.run(case), Engine.run(case), "{}", case.name);
    }
});

/// How many packets, runs and calls a case makes.
fn work(case: &Case) -> usize {
    let of_step = |action: &Action| match action {
        Action::Packet(send) => send.again as usize,
        Action::TestRun(run) => run.repeat as usize,
        _ => 0,
    };
    let world = &case.world;
    let made = world.sockets.len() + world.programs.len() + world.maps.len() + world.links.len();
    case.steps.iter().map(|step| 1 + of_step(&step.action)).sum::<usize>() + made
}
