//! The clocks that programs and the kernel's records of them read.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// How long ago the machine booted, the time in suspension too: what times of loading count from (CLOCK_BOOTTIME).
pub fn since_boot() -> Duration {
    now(ClockId::Boottime)
}

/// The same without the time in suspension: what `bpf_ktime_get_ns` answers (CLOCK_MONOTONIC).
pub fn awake_since_boot() -> Duration {
    now(ClockId::Monotonic)
}

fn now(clock: ClockId) -> Duration {
    Duration::try_from(clock_gettime(clock)).expect("time since boot is not negative")
}
