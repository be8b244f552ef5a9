//! Counts again and again, for who shows rates or is scraped.
//!
//! A generation is opened once: its text, its counters, and what was counted before it, which never changes. After that
//! a sample asks the link which generation it runs and reads two maps.

use std::sync::Arc;

use sklookup_compiler::Counts;

use crate::counters::{Own, add_all, before};
use crate::error::Error;
use crate::state::{Generation, PATIENCE, State};
use crate::status::{Around, InterfaceStatus, LabelStatus, RunStatus, Unseen};
use crate::sums::Sum;
use crate::wait::Deadline;

/// Follows what is in effect in a namespace, across commits and unloads.
///
/// `top` and `metrics` are built on it: each wants the same counts every second or so, with the policy that they belong
/// to, and none wants to read a policy of 100,000 bindings for it.
#[derive(Debug)]
pub struct Sampler {
    state: State,
    opened: Option<Opened>,
}

/// What was counted until one moment.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The generation that was in effect. The same one is the same `Arc` in each sample.
    pub generation: Arc<Generation>,
    /// What was counted for each of its bindings, in the order of its policy, by it and all generations before it. Runs of
    /// the hook, not connections.
    pub counts: Vec<Counts>,
    /// Whether this is the first sample of this generation: its bindings need not be those of the sample before.
    pub fresh: bool,
}

/// A sample, with what was found around it.
#[derive(Debug)]
pub struct Observation {
    /// What was counted.
    pub sample: Sample,
    /// What all bindings counted.
    pub total: Sum,
    /// What the bindings that pass counted.
    pub pass: Sum,
    /// What the bindings that refuse counted.
    pub refuse: Sum,
    /// The labels with their sockets, sorted. Nobody was looked for who has a socket: `owners` are empty.
    pub labels: Vec<LabelStatus>,
    /// What the names of interfaces mean now.
    pub interfaces: Vec<InterfaceStatus>,
    /// The `run` commands that bindings belong to.
    pub runs: Vec<RunStatus>,
    /// What could not be seen.
    pub unseen: Vec<Unseen>,
}

#[derive(Debug)]
struct Opened {
    generation: Arc<Generation>,
    own: Own,
    /// What earlier generations counted.
    before: Vec<Counts>,
}

impl Sampler {
    /// Follows this state. Nothing is opened yet.
    pub fn new(state: State) -> Sampler {
        Sampler { state, opened: None }
    }

    /// The state that is followed.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// What has been counted until now; `None` where nothing is attached.
    ///
    /// A failure leaves the sampler as good as new: the next sample opens what it needs.
    ///
    /// # Errors
    /// As [`State::generation`].
    pub fn sample(&mut self) -> Result<Option<Sample>, Error> {
        let Some(id) = self.state.live_id()? else {
            self.opened = None;
            return Ok(None);
        };
        let known = self.opened.take().filter(|opened| opened.generation.live.id == id);
        let fresh = known.is_none();
        let opened = match known {
            Some(opened) => opened,
            None => match self.open()? {
                Some(opened) => opened,
                None => return Ok(None),
            },
        };
        let mut counts = opened.own.read()?;
        add_all(&mut counts, &opened.before);
        let sample = Sample { generation: opened.generation.clone(), counts, fresh };
        self.opened = Some(opened);
        Ok(Some(sample))
    }

    /// The same, with the sockets under the labels and whether they can be selected, interfaces and `run` commands.
    ///
    /// # Errors
    /// As [`Sampler::sample`].
    pub fn observe(&mut self) -> Result<Option<Observation>, Error> {
        let mut deadline = Deadline::after(PATIENCE);
        loop {
            let Some(sample) = self.sample()? else { return Ok(None) };
            let slots = sample.generation.slots();
            // Swept away meanwhile, its labels would look empty.
            if self.state.live_id()? == Some(sample.generation.live.id) {
                let mut unseen = Vec::new();
                let record = &sample.generation.record;
                let Around { total, pass, refuse, labels, interfaces, runs } =
                    self.state.around_without_owners(record, &sample.counts, slots?, &mut unseen);
                return Ok(Some(Observation { sample, total, pass, refuse, labels, interfaces, runs, unseen }));
            }
            if deadline.passed() {
                let netns = self.state.netns().describe().to_owned();
                return Err(Error::Contended { netns, seconds: deadline.seconds() });
            }
        }
    }

    fn open(&self) -> Result<Option<Opened>, Error> {
        self.state.read(|live| {
            let mut generation = live.open()?;
            // Held for long, it would keep steering what somebody removes by hand.
            generation.live.link = None;
            let own = Own::of(&generation)?;
            let before = before(&self.state, &generation)?;
            Ok(Opened { generation: Arc::new(generation), own, before })
        })
    }
}
