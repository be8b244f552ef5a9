//! The policy that was applied last, kept on disk for after a reboot, when bpffs is gone, and some that were applied before
//! it, to go back to.
//!
//! It is history and never the truth about what is in effect. It is written after a commit, in the order in which the
//! lock of the directory is had, and each time what is in effect is looked at again under that lock: of commands that run
//! at once none leaves what another one has replaced. Who was killed before writing left the page before; the next
//! command that changes something writes what is in effect then.

mod earlier;
mod name;
mod page;

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use sklookup_kernel::bpffs;
use sklookup_kernel::disk::{Directory, DiskError};
use sklookup_policy::{MAX_FILE_BYTES, Policy};
use thiserror::Error;

pub use self::earlier::EARLIER;
pub use self::name::Name;
pub use self::page::{Fate, Page, User};
use crate::error;
use crate::state::{PATIENCE, State};
use crate::wait::Deadline;

/// The most bytes of a page: a policy file, and what we write above it.
const LONGEST: usize = MAX_FILE_BYTES + (64 << 10);

/// A directory with a page for each network namespace that has a name for good.
#[derive(Debug)]
pub struct History {
    dir: PathBuf,
}

/// A generation whose policy the caller has at hand.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// Program id of the generation.
    pub generation: u32,
    /// Its policy.
    pub policy: &'a Policy,
}

/// What became of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It was written.
    Written,
    /// It says so already, or there is nothing to say.
    Unchanged,
    /// The namespace has no name that would mean it after a reboot: nothing is kept.
    Nameless,
}

/// A policy that was in effect.
#[derive(Debug)]
pub struct Earlier {
    /// How many came after it: 0 is the last one.
    pub number: usize,
    /// Its file.
    pub path: PathBuf,
    /// Its page, unless something is wrong with it.
    pub page: Result<Page, HistoryError>,
}

/// Why the history could not be written or read.
#[derive(Debug, Error)]
pub enum HistoryError {
    /// The directory or the file.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The page was written, and the one before it is not kept.
    #[error(transparent)]
    Earlier(DiskError),
    /// What is in effect could not be read, or somebody holds the lock of the directory.
    #[error(transparent)]
    State(#[from] error::Error),
    /// The file is none that sklookup keeps.
    #[error("{}: {expected}", path.display())]
    NotAPage {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        expected: &'static str,
    },
}

impl History {
    /// The history in a directory. Nothing is made or opened yet.
    pub fn at(dir: &Path) -> History {
        History { dir: dir.to_owned() }
    }

    /// The file of a namespace of this name, whether it is there or not.
    pub fn file(&self, name: &Name) -> PathBuf {
        self.dir.join(name.file())
    }

    /// Writes what is in effect, unless that is on disk already; that steering was taken away where nothing is.
    ///
    /// `known` spares reading the policy back; what was in effect last, where nothing is any more. `command` is what was
    /// typed.
    ///
    /// # Errors
    /// What is on disk is as it was then.
    pub fn keep(&self, state: &State, known: Option<Known<'_>>, command: &str) -> Result<Kept, HistoryError> {
        let Some(name) = Name::of(state.netns()) else { return Ok(Kept::Nameless) };
        if known.is_none() && state.live_id()?.is_none() && Directory::open(&self.dir)?.is_none() {
            return Ok(Kept::Unchanged); // and nothing is made for nothing
        }
        let dir = self.locked()?;
        let generation = state.live_id()?;
        let (fate, policy) = match (generation, known) {
            (Some(id), Some(known)) if known.generation == id => (Fate::Applied, Some(lasting(known.policy))),
            (Some(_), _) => match state.generation()? {
                Some(now) => (Fate::Applied, Some(lasting(&now.record.policy))),
                None => (Fate::TakenAway, None),
            },
            (None, known) => (Fate::TakenAway, known.map(|known| lasting(known.policy))),
        };
        let before = match read(&dir, &name.file()) {
            // What is no page of ours is in our place all the same.
            Err(HistoryError::NotAPage { .. }) => None,
            before => before?,
        };
        let page = match (&policy, &before) {
            (Some(policy), _) => Page::now(&name, fate, command, policy),
            (None, Some(before)) => before.again(&name, fate, command),
            (None, None) => return Ok(Kept::Unchanged),
        };
        let mut earlier = Ok(());
        if let Some(before) = before {
            if before.bindings() != page.bindings() {
                earlier = earlier::add(&dir, &name);
            } else if before.fate == fate {
                return Ok(Kept::Unchanged);
            }
        }
        dir.replace(&name.file(), page.text.as_bytes()).map_err(DiskError::from)?;
        // The last policy is worth more than those before it: it comes back after a reboot.
        earlier.map(|()| Kept::Written).map_err(HistoryError::Earlier)
    }

    /// What was in effect last in a namespace of this name; `None` where nothing was kept.
    ///
    /// # Errors
    /// It may not be read, or should not be believed.
    pub fn last(&self, name: &Name) -> Result<Option<Page>, HistoryError> {
        Directory::open(&self.dir)?.map_or(Ok(None), |dir| read(&dir, &name.file()))
    }

    /// Every policy that is kept of a namespace of this name, the last one first; those before it are at most [`EARLIER`].
    ///
    /// # Errors
    /// The directory may not be read, or should not be believed, or somebody holds its lock.
    pub fn all(&self, name: &Name) -> Result<Vec<Earlier>, HistoryError> {
        if Directory::open(&self.dir)?.is_none() {
            return Ok(Vec::new());
        }
        // Else one could be seen twice while they move on.
        let dir = self.locked()?;
        let kept = |number| {
            let file = earlier::file(name, number);
            let page = read(&dir, &file).transpose()?;
            Some(Earlier { number, path: dir.path().join(file), page })
        };
        Ok((0..=EARLIER).filter_map(kept).collect())
    }

    fn locked(&self) -> Result<Directory, HistoryError> {
        let dir = Directory::make(&self.dir)?;
        let mut deadline = Deadline::after(PATIENCE);
        while !dir.try_lock().map_err(DiskError::from)? {
            if deadline.passed() {
                let holder = bpffs::lock_holder(dir.as_fd()).unwrap_or_default();
                let (path, seconds) = (dir.path().to_owned(), deadline.seconds());
                return Err(error::Error::Locked { path, seconds, holder }.into());
            }
        }
        Ok(dir)
    }
}

fn read(dir: &Directory, file: &str) -> Result<Option<Page>, HistoryError> {
    let Some(bytes) = dir.read(file, LONGEST)? else { return Ok(None) };
    let not_a_page = |expected| HistoryError::NotAPage { path: dir.path().join(file), expected };
    let text = String::from_utf8(bytes).map_err(|_| not_a_page("not UTF-8 text"))?;
    Page::parse(text).map(Some).map_err(not_a_page)
}

/// What stays when every `run` has ended.
fn lasting(policy: &Policy) -> Policy {
    policy.filtered(|entry| entry.owner.is_none())
}
