//! Locks on directories: the kernel drops them when their holder dies.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use sklookup_kernel::{Errno, bpffs};

use crate::error::Error;
use crate::state::{DIRECTORY_MODE, PATIENCE, State};
use crate::wait::Deadline;

/// A directory that is there and locked, until this is dropped.
#[derive(Debug)]
pub(crate) struct Locked {
    // Close-on-exec: a child that inherited it would inherit the lock.
    fd: OwnedFd,
    pub(crate) path: PathBuf,
}

impl Locked {
    /// Whether the directory has not been removed. The lock on a removed one "works" and protects nothing.
    pub(crate) fn is_there(&self) -> Result<bool, Error> {
        Ok(bpffs::nlink(self.fd.as_fd())? != 0)
    }
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
    let locked = Locked { fd, path: path.to_owned() };
    Ok(if locked.is_there()? { Attempt::Got(locked) } else { Attempt::Gone })
}

/// Makes a directory of our own and locks it; `None` if the one it belongs in is gone.
///
/// Between the two a sweeper may take it for litter; then it is simply made again.
pub(crate) fn own(path: &Path) -> Result<Option<Locked>, Error> {
    let mut deadline = Deadline::after(PATIENCE);
    loop {
        match bpffs::create_dir(path, DIRECTORY_MODE) {
            Ok(()) => {}
            Err(error) if error.errno() == Errno::EXIST => {}
            Err(error) if error.errno() == Errno::NOENT => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        match attempt(path) {
            Ok(Attempt::Got(locked)) => return Ok(Some(locked)),
            Ok(Attempt::Busy(_) | Attempt::Gone) => {}
            Err(error) => {
                // Out of fds, perhaps: nobody else would use it.
                let _ = bpffs::rmdir(path);
                return Err(error);
            }
        }
        if deadline.passed() {
            return Err(Error::Locked { path: path.to_owned(), seconds: deadline.seconds(), holder: None });
        }
    }
}

/// Whether somebody has the lock of a directory. What can't be looked at may be locked; what is not there is not.
pub(crate) fn is_held(path: &Path) -> bool {
    match bpffs::open_dir(path).and_then(|fd| bpffs::is_locked(fd.as_fd())) {
        Ok(held) => held,
        Err(error) => !matches!(error.errno(), Errno::NOENT | Errno::NOTDIR),
    }
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
