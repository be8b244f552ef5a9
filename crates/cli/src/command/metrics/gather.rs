//! What there is to tell, read once for all who ask at the same time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sklookup_steering::{Error, Observation, Sampler, digest};

/// What could be read at one moment.
pub struct Snapshot {
    /// What is in effect, if anything is; or why that could not be read.
    pub seen: Result<Option<Seen>, Error>,
    /// How long it took.
    pub took: Duration,
    /// When it was done.
    ended: Instant,
}

/// What is in effect.
pub struct Seen {
    /// What was counted, and what was found around it.
    pub observation: Observation,
    /// The digest of the policy.
    pub digest: String,
}

/// Makes snapshots.
pub struct Gatherer {
    sampler: Sampler,
    /// The digest of the policy seen last: it takes longer than the rest, and changes only with the generation.
    digest: Option<(u32, String)>,
    last: Option<Arc<Snapshot>>,
}

impl Gatherer {
    /// Of what this follows.
    pub fn new(sampler: Sampler) -> Gatherer {
        Gatherer { sampler, digest: None, last: None }
    }

    /// What there is to tell now, and whether it was read for this call.
    ///
    /// A snapshot serves for a tenth of a second or for four times as long as it took, but a second at most, after it was read: so however often
    /// somebody asks, reading takes a fifth of a CPU as long as it takes less than a fifth of a second, and nobody is told
    /// old news because a large policy was just opened.
    pub fn snapshot(&mut self) -> (Arc<Snapshot>, bool) {
        if let Some(last) = self.last.as_ref().filter(|last| last.serves()) {
            return (last.clone(), false);
        }
        let snapshot = Arc::new(self.fresh());
        self.last = Some(snapshot.clone());
        (snapshot, true)
    }

    /// What there is now.
    pub fn fresh(&mut self) -> Snapshot {
        let begun = Instant::now();
        let seen = self.seen();
        Snapshot { seen, took: begun.elapsed(), ended: Instant::now() }
    }

    fn seen(&mut self) -> Result<Option<Seen>, Error> {
        let Some(observation) = self.sampler.observe()? else { return Ok(None) };
        let generation = &observation.sample.generation;
        let digest = match self.digest.take().filter(|(id, _)| *id == generation.live.id) {
            Some((_, digest)) => digest,
            None => digest(&generation.record.policy),
        };
        self.digest = Some((generation.live.id, digest.clone()));
        Ok(Some(Seen { observation, digest }))
    }
}

impl Snapshot {
    fn serves(&self) -> bool {
        const LEAST: Duration = Duration::from_millis(100);
        const MOST: Duration = Duration::from_secs(1);
        // From its end on: else who asks while one is being read would never find it young.
        self.ended.elapsed() < (self.took * 4).clamp(LEAST, MOST)
    }
}
