//! Letting labels go without losing what is being registered under them.
//!
//! A socket is put into a label's map with nothing but that map, and a label without sockets and bindings goes with the
//! next commit. So each side first shows what it is about to do and then looks at the other's: who lets labels go makes the
//! directory `leaving` in the generation that still has them, and looks *then* whether they are empty; who registers puts
//! the socket in, and looks *then* whether labels are leaving. One of the two sees the other, in whatever order they come:
//! the label is found to be occupied and stays, or the registration becomes a commit of its own.
//!
//! The directory is locked, shared, by those who let go. Who dies leaves it behind unlocked, which costs the next
//! registration a commit and nothing else.

use std::path::Path;

use sklookup_kernel::{Errno, bpffs};

use crate::error::Error;
use crate::lock::{self, Attempt, Locked};
use crate::state::names;

/// While this lives, no registration in the generation is done without a commit.
#[derive(Debug)]
pub(crate) struct Leaving(Option<Locked>);

impl Leaving {
    /// Says so in the generation in this directory; `None` if it is gone.
    pub(crate) fn announce(generation: &Path) -> Result<Option<Leaving>, Error> {
        Ok(lock::own_shared(&generation.join(names::LEAVING))?.map(|locked| Leaving(Some(locked))))
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        if let Some(locked) = self.0.take() {
            let path = locked.path.clone();
            drop(locked);
            let _ = remove_if_unused(&path);
        }
    }
}

/// Whether labels may be about to leave the generation in this directory.
pub(crate) fn is_announced(generation: &Path) -> Result<bool, Error> {
    match bpffs::status(&generation.join(names::LEAVING)) {
        Ok(_) => Ok(true),
        Err(error) if error.errno() == Errno::NOENT => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Removes what somebody left who died.
pub(crate) fn forget(generation: &Path) -> Result<(), Error> {
    remove_if_unused(&generation.join(names::LEAVING))
}

fn remove_if_unused(path: &Path) -> Result<(), Error> {
    // Whoever shares it meanwhile finds it removed, and makes it again.
    if let Attempt::Got(_alone) = lock::attempt(path)? {
        bpffs::rmdir(path)?;
    }
    Ok(())
}
