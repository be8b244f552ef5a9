//! Locks on directories: the kernel drops them when their holder dies.
//!
//! Who changes or removes what is in a directory has its lock alone. Who only needs it to stay shares it: the one that made a
//! generation, until it has swept, and each that lets labels of it go. None of them has to wait for another.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
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

/// A way to take the lock of an open directory: alone, or shared.
type Take = fn(BorrowedFd<'_>) -> sklookup_kernel::Result<bool>;

/// Tries to have a directory alone, without waiting.
pub(crate) fn attempt(path: &Path) -> Result<Attempt, Error> {
    attempt_to(bpffs::try_lock, path)
}

fn attempt_to(take: Take, path: &Path) -> Result<Attempt, Error> {
    let fd = match bpffs::open_dir(path) {
        Ok(fd) => fd,
        Err(error) if matches!(error.errno(), Errno::NOENT | Errno::NOTDIR) => return Ok(Attempt::Gone),
        Err(error) => return Err(error.into()),
    };
    if !take(fd.as_fd())? {
        return Ok(Attempt::Busy(fd));
    }
    let locked = Locked { fd, path: path.to_owned() };
    Ok(if locked.is_there()? { Attempt::Got(locked) } else { Attempt::Gone })
}

/// Makes a directory of our own and has it alone; `None` if the one it belongs in is gone.
///
/// Between the two a sweeper may take it for litter; then it is simply made again.
pub(crate) fn own(path: &Path) -> Result<Option<Locked>, Error> {
    make(path, bpffs::try_lock)
}

/// The same, shared with whoever needs it to stay.
pub(crate) fn own_shared(path: &Path) -> Result<Option<Locked>, Error> {
    make(path, bpffs::try_share)
}

fn make(path: &Path, take: Take) -> Result<Option<Locked>, Error> {
    let mut deadline = Deadline::after(PATIENCE);
    loop {
        match bpffs::create_dir(path, DIRECTORY_MODE) {
            Ok(()) => {}
            Err(error) if error.errno() == Errno::EXIST => {}
            Err(error) if error.errno() == Errno::NOENT => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        match attempt_to(take, path) {
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

/// Whether somebody has a directory alone. What can't be looked at may be locked; what is not there is not.
pub(crate) fn is_held(path: &Path) -> bool {
    match bpffs::open_dir(path).and_then(|fd| bpffs::is_locked(fd.as_fd())) {
        Ok(held) => held,
        Err(error) => !matches!(error.errno(), Errno::NOENT | Errno::NOTDIR),
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

impl State {
    /// Locks the state directory, waiting for whoever has it; `None` if it is gone.
    pub(crate) fn lock(&self) -> Result<Option<Locked>, Error> {
        wait_for(&self.dir)
    }
}
