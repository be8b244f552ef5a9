//! Waiting until every CPU has left what it was doing.

use rustix::io::Errno;
use rustix::thread::{MembarrierCommand, membarrier};

use crate::error::{Error, Result};

/// Waits until every program that was running on any CPU has ended: an RCU grace period, 8 to 15 ms on a small machine.
///
/// Since: Linux 4.3. Source: membarrier(2), `MEMBARRIER_CMD_GLOBAL`.
///
/// # Errors
/// ENOSYS on a kernel built without it; EINVAL where CPUs run without the tick (`nohz_full`).
#[doc(alias = "membarrier")]
pub fn membarrier_global() -> Result<()> {
    membarrier(MembarrierCommand::Global).map_err(|errno: Errno| Error::new("membarrier", "all CPUs", errno))
}
