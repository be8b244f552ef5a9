//! Waiting for others, with an end.

use std::time::{Duration, Instant};

/// Tries again until it is too late.
///
/// Sleeps grow from well under a millisecond to 10 ms, so that a lock that is held for a handful of system calls costs
/// little and one that is held for long is not hammered.
pub(crate) struct Deadline {
    end: Instant,
    limit: Duration,
    nap: Duration,
}

impl Deadline {
    /// From now on.
    pub(crate) fn after(limit: Duration) -> Deadline {
        Deadline { end: Instant::now() + limit, limit, nap: Duration::from_micros(100) }
    }

    /// Whether it is too late; sleeps a little if not.
    pub(crate) fn passed(&mut self) -> bool {
        let now = Instant::now();
        if now >= self.end {
            return true;
        }
        std::thread::sleep(self.nap.min(self.end - now));
        self.nap = (self.nap * 2).min(Duration::from_millis(10));
        false
    }

    /// How long it was, in seconds.
    pub(crate) fn seconds(&self) -> u64 {
        self.limit.as_secs()
    }
}
