//! The calls of a command at which something is done to it.

use sklookup_testbed::trace::Call;

use crate::world::{Step, World};

/// With this in the environment nothing is left out: no call among many that are alike, and each stopped command meets each
/// other one at each call, where else they take turns.
const ALL: &str = "SKLOOKUP_SWEEP_ALL";

/// Whether it is there.
pub fn all_are_asked_for() -> bool {
    std::env::var_os(ALL).is_some()
}

/// A way through the calls of a command: as they were when nothing disturbed it, and on from there for as long as there
/// are more.
pub struct Sites {
    step: Step,
    /// How many calls it made.
    calls: u32,
    /// Their numbers, from the last to the first.
    left: Vec<u32>,
    /// The next number beyond them; `None`: it has no more calls.
    beyond: Option<u32>,
    /// How many were done.
    done: usize,
}

impl Sites {
    /// Of a command that is run for this, and has to work.
    pub fn of(world: &mut World<'_>, step: &Step) -> Sites {
        let (ran, calls) = world.run(step, None);
        assert_eq!(ran.exit, 0, "{step:?}: {ran:?}");
        Sites::among(step.clone(), &calls)
    }

    /// Of a command that made these calls.
    pub fn among(step: Step, calls: &[Call]) -> Sites {
        let number = calls.len() as u32;
        let left = sites(calls).into_iter().rev().collect();
        Sites { step, calls: number, left, beyond: Some(number + 1), done: 0 }
    }

    pub fn step(&self) -> &Step {
        &self.step
    }

    /// The next call.
    pub fn next(&mut self) -> Option<u32> {
        let next = self.left.pop().or_else(|| self.beyond.inspect(|number| self.beyond = Some(number + 1)));
        self.done += usize::from(next.is_some());
        next
    }

    /// It made no such call.
    pub fn missed(&mut self, number: u32) {
        self.done -= 1;
        if number > self.calls {
            self.beyond = None;
        }
    }

    pub fn are_done(&self) -> bool {
        self.left.is_empty() && self.beyond.is_none()
    }

    /// What was covered.
    pub fn summary(all: &[Sites]) -> String {
        let one = |sites: &Sites| format!("{} at {} sites in {} calls", sites.step.name(), sites.done, sites.calls);
        all.iter().map(one).collect::<Vec<_>>().join(", ")
    }
}

/// All calls, but unless all are asked for those in the middle of many that are alike, as when the slots of a label are read
/// one by one.
fn sites(calls: &[Call]) -> Vec<u32> {
    let alike = |a: &Call, b: &Call| (&a.call, &a.on, &a.outcome) == (&b.call, &b.on, &b.outcome);
    let middle = |at: usize| {
        at > 0 && at + 1 < calls.len() && alike(&calls[at - 1], &calls[at]) && alike(&calls[at], &calls[at + 1])
    };
    let all = all_are_asked_for();
    (0..calls.len()).filter(|at| all || !middle(*at)).map(|at| calls[at].number).collect()
}
