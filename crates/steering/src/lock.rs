//! Locks on directories: the kernel drops them when their holder dies.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use sklookup_kernel::{Errno, bpffs};

use crate::error::Error;
use crate::state::{PATIENCE, State};
use crate::wait::Deadline;

/// A directory that is there and locked, until this is dropped.
#[derive(Debug)]
pub(crate) struct Locked {
    // Held, not used. Close-on-exec: a child that inherited it would inherit the lock.
    _fd: OwnedFd,
    pub(crate) path: PathBuf,
}

/// What became of an attempt to lock a directory.
pub(crate) enum Attempt {
    /// It is ours.
    Got(Locked),
    /// Somebody else has it.
    Busy(OwnedFd),
    /// It is not there, or was removed while we opened it.
    Gone,
}

/// Tries to lock a directory, without waiting.
pub(crate) fn attempt(path: &Path) -> Result<Attempt, Error> {
    let fd = match bpffs::open_dir(path) {
        Ok(fd) => fd,
        Err(error) if matches!(error.errno(), Errno::NOENT | Errno::NOTDIR) => return Ok(Attempt::Gone),
        Err(error) => return Err(error.into()),
    };
    if !bpffs::try_lock(fd.as_fd())? {
        return Ok(Attempt::Busy(fd));
    }
    // The lock on a removed directory "works" and protects nothing.
    if bpffs::nlink(fd.as_fd())? == 0 {
        return Ok(Attempt::Gone);
    }
    Ok(Attempt::Got(Locked { _fd: fd, path: path.to_owned() }))
}

impl State {
    /// Locks the state directory; `None` if it is gone.
    pub(crate) fn lock(&self) -> Result<Option<Locked>, Error> {
        wait_for(&self.dir)
    }
}

/// Locks a directory, waiting for whoever has it; `None` if it is gone.
pub(crate) fn wait_for(path: &Path) -> Result<Option<Locked>, Error> {
    let mut deadline = Deadline::after(PATIENCE);
    loop {
        match attempt(path)? {
            Attempt::Got(locked) => return Ok(Some(locked)),
            Attempt::Gone => return Ok(None),
            Attempt::Busy(fd) => {
                if deadline.passed() {
                    return Err(Error::Locked {
                        path: path.to_owned(),
                        seconds: deadline.seconds(),
                        holder: bpffs::lock_holder(fd.as_fd()).unwrap_or_default(),
                    });
                }
            }
        }
    }
}
