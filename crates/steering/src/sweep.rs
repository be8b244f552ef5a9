//! Taking away what nobody needs: generations that are neither live nor the parent of the live one, and what a `run`
//! left that was killed.
//!
//! A directory belongs to whoever holds its lock. What can be locked and is not needed was left by somebody who died, or
//! was replaced; it stays litter, because only its owner could have made it live.

use std::path::Path;

use sklookup_kernel::bpffs::{self, Kind};
use sklookup_kernel::{Errno, Link, effective_uid};
use std::os::fd::AsFd;

use crate::error::Error;
use crate::leaving::{self, Leaving};
use crate::lock::{self, Attempt};
use crate::registration::occupied;
use crate::state::{State, generation_id, names};
use crate::trust;

impl State {
    /// Sweeps this state and those of namespaces that are no more. What fails is left for the next command.
    pub(crate) fn sweep(&self) {
        let _ = self.sweep_own();
        let _ = self.mend_hint();
        for name in names_in(&self.root).unwrap_or_default() {
            let other = self.root.join(&name);
            let number = name.bytes().all(|byte| byte.is_ascii_digit());
            if number && other != self.dir && is_dead(&other) {
                let _ = clear_dead(&other);
            }
        }
    }

    fn sweep_own(&self) -> Result<(), Error> {
        for name in names_in(&self.dir)? {
            if !trust::is_ours(&self.dir.join(&name)) {
                continue;
            }
            if name.starts_with(names::RUN) {
                remove_presence(&self.dir.join(&name))?;
            }
            let Some(id) = generation_id(&name) else { continue };
            let path = self.dir.join(&name);
            if self.needed(id)? {
                let _ = leaving::forget(&path);
                continue;
            }
            let Attempt::Got(_locked) = lock::attempt(&path)? else { continue };
            // Its owner may have made it live before we had the lock.
            if !self.needed(id)? {
                remove_generation(&path);
            }
        }
        Ok(())
    }

    /// Points `current` at the live generation where who committed it died, or could not.
    fn mend_hint(&self) -> Result<(), Error> {
        let says = |live: u32| {
            let target = bpffs::read_link(&self.dir.join(names::CURRENT));
            target.is_ok_and(|target| target.to_str().and_then(generation_id) == Some(live))
                && bpffs::status(&self.dir.join(names::NEXT)).is_err()
        };
        if self.live()?.is_none_or(|live| says(live.id)) {
            return Ok(());
        }
        // Whoever has the lock is about to commit, and points it anew.
        let Attempt::Got(_locked) = lock::attempt(&self.dir)? else { return Ok(()) };
        if let Some(live) = self.live()? {
            self.hint(live.id);
        }
        Ok(())
    }

    /// Whether a generation is live or the parent of the live one; so is everything while nothing can be known.
    fn needed(&self, id: u32) -> Result<bool, Error> {
        let live = self.read(|live| Ok((live.id, self.parent(&live)?)))?;
        Ok(live.is_none_or(|(live, parent)| id == live || id == parent))
    }

    /// Takes steering away from the namespace. False where there was none.
    ///
    /// Detaching commits: closing or unlinking alone would leave the program running while any reader holds the link.
    ///
    /// # Errors
    /// A call that failed, or [`Error::Locked`].
    pub fn unload(&self) -> Result<bool, Error> {
        self.unload_if(|_| Ok(Some(None)))
    }

    /// Takes steering away if there is nothing left to steer: no binding, no living socket.
    ///
    /// # Errors
    /// As [`State::unload`].
    pub fn unload_if_idle(&self) -> Result<bool, Error> {
        // Read before the lock is taken: a policy may take its time.
        let Some(generation) = self.generation()? else { return Ok(false) };
        if !generation.record.policy.is_empty() {
            return Ok(false);
        }
        self.unload_if(|state| {
            if state.live()?.is_none_or(|live| live.id != generation.live.id) {
                return Ok(None); // somebody has use for it
            }
            let leaving = Leaving::announce(&generation.live.dir)?;
            for label in &generation.record.labels {
                if generation.live.label(label)?.map_or(Ok(false), |map| occupied(&map))? {
                    return Ok(None);
                }
            }
            Ok(Some(leaving))
        })
    }

    /// `wanted` is asked under the lock; what it answers lives until the link is dead.
    fn unload_if(&self, wanted: impl FnOnce(&State) -> Result<Option<Option<Leaving>>, Error>) -> Result<bool, Error> {
        if bpffs::status(&self.dir).is_err() {
            // Perhaps the last thing that an unload did not come to.
            if matches!(trust::directory(&self.root), Ok(true)) {
                let _ = bpffs::rmdir(&self.root);
            }
            return Ok(false);
        }
        self.make()?; // refuses what is not ours
        let Some(_locked) = self.lock()? else { return Ok(false) };
        let Some(leaving) = wanted(self)? else { return Ok(false) };
        // Litter of a writer that died; and a file system that takes no changes says so before anything is taken away.
        gone(bpffs::unlink(&self.dir.join(names::NEXT)))?;
        let live = match Link::open(&self.dir.join(names::LINK)) {
            Ok(link) => {
                let alive = link.info()?.netns_inode == self.netns.inode();
                link.detach()?;
                alive
            }
            Err(error) if error.errno() == Errno::NOENT => false,
            Err(error) => return Err(error.into()),
        };
        // Nobody registers in what is dead; and what is to be cleared away takes as few fds as it took to come here.
        drop(leaving);
        match self.clear_away() {
            Ok(()) => Ok(live),
            Err(error) if live => Err(error.begun()),
            Err(error) => Err(error),
        }
    }

    /// Removes what is left of this state once its link is dead.
    fn clear_away(&self) -> Result<(), Error> {
        clear(&self.dir)?;
        match bpffs::rmdir(&self.root) {
            // Other namespaces are steered, or somebody begins to.
            Err(error) if matches!(error.errno(), Errno::NOTEMPTY | Errno::EXIST) => Ok(()),
            result => gone(result),
        }
    }
}

/// Whether nothing is attached by the state in a directory: its namespace is gone, or its writer died on the way.
///
/// A writer that is at work there is not harmed: it holds the lock of its own generation, or finds the directory gone
/// and starts over.
fn is_dead(dir: &Path) -> bool {
    if !bpffs::status(dir).is_ok_and(|status| status.kind == Kind::Directory && status.uid == effective_uid()) {
        return false;
    }
    match Link::open(&dir.join(names::LINK)) {
        Ok(link) => link.info().is_ok_and(|info| info.netns_inode == 0),
        Err(error) => error.errno() == Errno::NOENT,
    }
}

fn clear_dead(dir: &Path) -> Result<(), Error> {
    let Attempt::Got(_locked) = lock::attempt(dir)? else { return Ok(()) };
    // The inode may belong to a new namespace, whose first command was faster.
    if is_dead(dir) {
        clear(dir)?;
    }
    Ok(())
}

/// Empties a state directory that is locked and whose link is dead, and removes it unless a writer is at work in it.
fn clear(dir: &Path) -> Result<(), Error> {
    for name in names_in(dir)? {
        let path = dir.join(&name);
        if !trust::is_ours(&path) {
            continue;
        }
        if name.starts_with(names::RUN) {
            // Whether its `run` lives or not, nothing here belongs to it any more. One that is about to begin looks again.
            gone(bpffs::rmdir(&path))?;
        } else if generation_id(&name).is_some()
            && let Attempt::Got(_locked) = lock::attempt(&path)?
        {
            remove_generation(&path);
        }
    }
    // The link last: while it is there, a command that finds us killed knows what this is.
    for name in [names::CURRENT, names::NEXT, names::LINK] {
        gone(bpffs::unlink(&dir.join(name)))?;
    }
    match bpffs::rmdir(dir) {
        Err(error) if matches!(error.errno(), Errno::NOTEMPTY | Errno::EXIST) => Ok(()),
        result => gone(result),
    }
}

/// Removes the directory of a `run` that is no more.
fn remove_presence(dir: &Path) -> Result<(), Error> {
    let Attempt::Got(_locked) = lock::attempt(dir)? else { return Ok(()) };
    gone(bpffs::rmdir(dir))
}

/// Removes a generation's directory: what sklookup pins, and nothing else.
pub(crate) fn remove_generation(dir: &Path) {
    let labels = dir.join(names::LABELS);
    for name in names_in(&labels).unwrap_or_default() {
        let _ = bpffs::unlink(&labels.join(name));
    }
    let _ = bpffs::rmdir(&labels);
    let _ = bpffs::rmdir(&dir.join(names::LEAVING));
    for name in [names::PROGRAM, names::POLICY, names::HITS, names::FAULTS, names::BASE] {
        let _ = bpffs::unlink(&dir.join(name));
    }
    let _ = bpffs::rmdir(dir);
}

pub(crate) fn gone(result: Result<(), sklookup_kernel::Error>) -> Result<(), Error> {
    match result {
        Err(error) if error.errno() == Errno::NOENT => Ok(()),
        result => Ok(result?),
    }
}

/// The names in a directory; none where there is no such directory.
pub(crate) fn names_in(dir: &Path) -> Result<Vec<String>, Error> {
    match bpffs::open_dir(dir).and_then(|fd| bpffs::list(fd.as_fd())) {
        Err(error) if matches!(error.errno(), Errno::NOENT | Errno::NOTDIR) => Ok(Vec::new()),
        names => Ok(names?),
    }
}
