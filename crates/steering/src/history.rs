//! The policy that was applied last, kept on disk for after a reboot: bpffs is gone then.
//!
//! It is history and never the truth about what is in effect. It is written after a commit, in the order in which the
//! lock of the directory is had, and each time what is in effect is looked at again under that lock: of commands that run
//! at once none leaves what another one has replaced. Who was killed before writing left the page before; the next
//! command that changes something writes what is in effect then.

mod name;
mod page;

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use sklookup_kernel::disk::{Directory, DiskError};
use sklookup_kernel::{Netns, bpffs};
use sklookup_policy::{MAX_FILE_BYTES, Policy};
use thiserror::Error;

pub use self::name::Name;
pub use self::page::{Fate, Page};
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

/// Why the history could not be written or read.
#[derive(Debug, Error)]
pub enum HistoryError {
    /// The directory or the file.
    #[error(transparent)]
    Disk(#[from] DiskError),
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

    /// The file of a namespace, whether it is there or not; `None` for one without a name for good.
    pub fn file(&self, netns: &Netns) -> Option<PathBuf> {
        Some(self.dir.join(Name::of(netns)?.file()))
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
        let (fate, bindings) = match (generation, known) {
            (Some(id), Some(known)) if known.generation == id => (Fate::Applied, Some(lasting(known.policy))),
            (Some(_), _) => match state.generation()? {
                Some(now) => (Fate::Applied, Some(lasting(&now.record.policy))),
                None => (Fate::TakenAway, None),
            },
            (None, known) => (Fate::TakenAway, known.map(|known| lasting(known.policy))),
        };
        let before = match read(&dir, &name) {
            // What is no page of ours is in our place all the same.
            Err(HistoryError::NotAPage { .. }) => None,
            before => before?,
        };
        let before = before.as_ref();
        let Some(bindings) = bindings.as_deref().or(before.map(Page::bindings)) else { return Ok(Kept::Unchanged) };
        if before.is_some_and(|before| before.fate == fate && before.bindings() == bindings) {
            return Ok(Kept::Unchanged);
        }
        let page = Page::now(&name, fate, command, bindings);
        dir.replace(&name.file(), page.text.as_bytes()).map_err(DiskError::from)?;
        Ok(Kept::Written)
    }

    /// What was in effect last in a namespace of this name; `None` where nothing was kept.
    ///
    /// # Errors
    /// It may not be read, or should not be believed.
    pub fn last(&self, name: &Name) -> Result<Option<Page>, HistoryError> {
        Directory::open(&self.dir)?.map_or(Ok(None), |dir| read(&dir, name))
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

fn read(dir: &Directory, name: &Name) -> Result<Option<Page>, HistoryError> {
    let Some(bytes) = dir.read(&name.file(), LONGEST)? else { return Ok(None) };
    let not_a_page = |expected| HistoryError::NotAPage { path: dir.path().join(name.file()), expected };
    let text = String::from_utf8(bytes).map_err(|_| not_a_page("not UTF-8 text"))?;
    Page::parse(text).map(Some).map_err(not_a_page)
}

/// The policy file of what stays when every `run` has ended.
fn lasting(policy: &Policy) -> String {
    policy.filtered(|entry| entry.owner.is_none()).canonical()
}
