//! Whether the `run` that bindings belong to is alive.
//!
//! A `run` holds the lock of a directory of its own, `run-<pid>-<start>-<pid namespace>`, for as long as it lives. The
//! kernel drops the lock when the process ends, however it ends: who finds the directory unlocked, or no directory,
//! knows that the `run` is over. A pid would not do: whoever commits from another pid namespace over the same bpffs sees
//! other processes under the same numbers.

use std::path::PathBuf;

use sklookup_kernel::bpffs;
use sklookup_kernel::process::{Process, ProcessError};
use sklookup_policy::Owner;

use crate::error::Error;
use crate::lock::{self, Locked};
use crate::state::{PATIENCE, State, names};
use crate::wait::Deadline;

/// A living `run`, for all who look. Dropped, it is over, and its directory goes with it.
#[derive(Debug)]
pub struct Presence {
    dir: Locked,
    /// What was made for it and may be empty without it: the state directory, and the one of all states.
    above: [PathBuf; 2],
}

impl State {
    /// Says that the process `owner` lives, before any binding says that it belongs to it.
    ///
    /// # Errors
    /// The state is not ours to write, or a call failed.
    pub fn announce(&self, owner: Owner) -> Result<Presence, Error> {
        let path = self.presence(owner);
        let mut deadline = Deadline::after(PATIENCE);
        loop {
            self.make()?;
            if let Some(dir) = lock::own(&path)? {
                return Ok(Presence { dir, above: [self.dir.clone(), self.root.clone()] });
            }
            // An unload was faster than we were with the directory.
            if deadline.passed() {
                let netns = self.netns.describe().to_owned();
                return Err(Error::Contended { netns, seconds: deadline.seconds() });
            }
        }
    }

    /// Whether the `run` that a binding belongs to is still there. What can't be looked at just now is.
    pub fn is_alive(&self, owner: Owner) -> bool {
        if owner.pid_namespace.is_some() {
            return lock::is_held(&self.presence(owner));
        }
        // Written by layout 1, which had no such directories.
        match Process::open(owner.pid).and_then(|process| process.start_time()) {
            Ok(start) => start == owner.start,
            Err(ProcessError::Gone { .. } | ProcessError::Thread { .. }) => false,
            Err(_) => true,
        }
    }

    fn presence(&self, owner: Owner) -> PathBuf {
        let Owner { pid, start, pid_namespace } = owner;
        self.dir.join(format!("{}{pid}-{start}-{}", names::RUN, pid_namespace.unwrap_or_default()))
    }
}

impl Presence {
    /// Whether it can still be seen. An unload takes it away, and with it all that a `run` has in effect: who adds
    /// bindings looks afterwards, and says that it lives once more.
    ///
    /// # Errors
    /// None that an open directory is known to give.
    pub fn is_there(&self) -> Result<bool, Error> {
        self.dir.is_there()
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        // Taken away, the path may be that of who said it once more.
        if matches!(self.dir.is_there(), Ok(true)) {
            let _ = bpffs::rmdir(&self.dir.path);
        }
        // Whoever uses them still has something in them.
        for dir in &self.above {
            let _ = bpffs::rmdir(dir);
        }
    }
}
