//! The clock that programs read.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// How long the machine has run, sleep not counted: what `bpf_ktime_get_ns` answers (CLOCK_MONOTONIC).
pub fn since_boot() -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    Duration::try_from(now).expect("time since boot is not negative")
}
