//! Where the state of one network namespace lies, and how it is read without a lock.
//!
//! ```text
//! BPFFS/sklookup/<inode of the netns>/
//!   link                       the pinned link: the one thing that takes effect
//!   current -> gen-<id>        a hint for who may not open the link; no writer trusts it
//!   gen-<id>/                  <id> is the id of its program
//!     program policy hits faults [base] labels/<label> [leaving/]
//!   run-<pid>-<start>-<pidns>/ locked by a `run` while it lives
//! ```
//!
//! The link decides: its info names the program it runs, and `gen-<that id>` is the state. An id can't come back while a
//! pin holds its program, so a name never means two things.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sklookup_kernel::bpffs;
use sklookup_kernel::{Errno, Link, Map, Netns, Program, Sockmap};
use sklookup_policy::Label;

use crate::error::Error;
use crate::record::{Record, RecordError};
use crate::step::Step;
use crate::trust;
use crate::wait::Deadline;

/// Mode of every directory: who does not own the state can neither list nor lock it, but can open what is granted.
pub(crate) const DIRECTORY_MODE: u32 = 0o711;

/// How long a reader tries to see a state that holds still, and a writer to get a lock.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// Names inside a state directory and a generation.
pub(crate) mod names {
    pub(crate) const ROOT: &str = "sklookup";
    pub(crate) const LINK: &str = "link";
    pub(crate) const CURRENT: &str = "current";
    pub(crate) const NEXT: &str = "next";
    pub(crate) const PROGRAM: &str = "program";
    pub(crate) const POLICY: &str = "policy";
    pub(crate) const HITS: &str = "hits";
    pub(crate) const FAULTS: &str = "faults";
    pub(crate) const BASE: &str = "base";
    pub(crate) const LABELS: &str = "labels";
    pub(crate) const LEAVING: &str = "leaving";
    pub(crate) const GENERATION: &str = "gen-";
    pub(crate) const RUN: &str = "run-";
}

/// The state of one network namespace under one bpffs.
#[derive(Debug)]
pub struct State {
    pub(crate) netns: Netns,
    /// `BPFFS/sklookup`.
    pub(crate) root: PathBuf,
    /// `BPFFS/sklookup/<inode>`.
    pub(crate) dir: PathBuf,
    /// What generations said their parent is: that never changes, and asking means reading the whole text. An id names
    /// one generation in the life of a command, for the kernel hands out all others before it comes again.
    parents: Mutex<BTreeMap<u32, u32>>,
    /// Who is told what commands are at.
    pub(crate) watch: Option<fn(Step)>,
}

/// The generation that the link runs.
#[derive(Debug)]
pub struct Live {
    /// Id of its program.
    pub id: u32,
    /// Its directory.
    pub dir: PathBuf,
    /// The link, where it may be opened.
    pub(crate) link: Option<Link>,
}

/// A generation with its text read.
#[derive(Debug)]
pub struct Generation {
    /// Which.
    pub live: Live,
    /// Its program.
    pub program: Program,
    /// What it says about itself.
    pub record: Record,
}

impl State {
    /// The state of `netns` under the bpffs mounted at `bpffs`. Nothing is made.
    ///
    /// # Errors
    /// [`Error::NoBpffs`], or [`Error::Untrusted`] for a mount whose names another user could exchange.
    pub fn new(bpffs: &Path, netns: Netns) -> Result<State, Error> {
        let root = trust::bpffs(bpffs)?.join(names::ROOT);
        let dir = root.join(netns.inode().to_string());
        Ok(State { netns, root, dir, parents: Mutex::default(), watch: None })
    }

    /// The namespace.
    pub fn netns(&self) -> &Netns {
        &self.netns
    }

    /// The namespace, for who has no more use for the state.
    pub fn into_netns(self) -> Netns {
        self.netns
    }

    /// The directory of the state.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The generation that is in effect; `None` where nothing is attached.
    ///
    /// # Errors
    /// [`Error::Newer`], [`Error::Damaged`], or a call that failed.
    pub fn generation(&self) -> Result<Option<Generation>, Error> {
        self.at(Step::Reading);
        let generation = self.read(|live| live.open())?;
        if let Some(generation) = &generation {
            self.remember(generation.live.id, generation.record.parent);
        }
        Ok(generation)
    }

    /// The generation that this one replaced; 0 for the first.
    pub(crate) fn parent(&self, live: &Live) -> Result<u32, Error> {
        let known = self.parents.lock().unwrap_or_else(PoisonError::into_inner).get(&live.id).copied();
        match known {
            Some(parent) => Ok(parent),
            None => {
                let parent = read_parent(&live.dir)?;
                self.remember(live.id, parent);
                Ok(parent)
            }
        }
    }

    /// Keeps in mind which generation one replaced.
    pub(crate) fn remember(&self, id: u32, parent: u32) {
        self.parents.lock().unwrap_or_else(PoisonError::into_inner).insert(id, parent);
    }

    /// The program id of the generation that is in effect, whatever its layout; `None` where nothing is attached.
    ///
    /// # Errors
    /// A call that failed, or [`Error::Untrusted`].
    pub fn live_id(&self) -> Result<Option<u32>, Error> {
        Ok(self.live()?.map(|live| live.id))
    }

    /// Opens things of the live generation, and makes sure that it was live all the while.
    ///
    /// What `open` returns stays whole, whatever others sweep away afterwards.
    pub(crate) fn read<T>(&self, open: impl Fn(Live) -> Result<T, Error>) -> Result<Option<T>, Error> {
        let mut deadline = Deadline::after(PATIENCE);
        loop {
            let Some(live) = self.live()? else { return Ok(None) };
            let (id, dir) = (live.id, live.dir.clone());
            let opened = open(live);
            let still = self.live()?.is_some_and(|again| again.id == id);
            match opened {
                Ok(opened) if still => return Ok(Some(opened)),
                Err(error) if still && error.is_missing() => {
                    return Err(Error::Damaged { path: dir, what: error.to_string() });
                }
                Err(error) if still => return Err(error),
                // Replaced while we read: what was opened may belong to two generations.
                Ok(_) | Err(_) if deadline.passed() => {
                    return Err(Error::Contended {
                        netns: self.netns.describe().to_owned(),
                        seconds: deadline.seconds(),
                    });
                }
                Ok(_) | Err(_) => {}
            }
        }
    }

    /// Asks the link which generation it runs.
    pub(crate) fn live(&self) -> Result<Option<Live>, Error> {
        if !trust::directory(&self.root)? || !trust::directory(&self.dir)? {
            return Ok(None);
        }
        match Link::open(&self.dir.join(names::LINK)) {
            Ok(link) => {
                let info = link.info()?;
                // 0 when the namespace died or the link was detached; inode numbers are reused, the link's is not.
                let alive = info.is_alive_on(self.netns.inode());
                Ok(alive.then(|| self.live_at(info.program_id, Some(link))))
            }
            Err(error) if matches!(error.errno(), Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(error) if error.errno() == Errno::ACCESS => self.live_unopened().map_err(|_| error.into()),
            Err(error) => Err(error.into()),
        }
    }

    /// For who may not open the link: the attached program that has a directory, or what the hint says.
    fn live_unopened(&self) -> Result<Option<Live>, Error> {
        let attached = match Link::query(self.netns.as_fd()) {
            Ok(ids) => ids.into_iter().find(|id| bpffs::status(&self.generation_dir(*id)).is_ok()),
            Err(_) => {
                let target = bpffs::read_link(&self.dir.join(names::CURRENT))?;
                target.to_str().and_then(generation_id)
            }
        };
        Ok(attached.map(|id| self.live_at(id, None)))
    }

    fn live_at(&self, id: u32, link: Option<Link>) -> Live {
        Live { id, dir: self.generation_dir(id), link }
    }

    pub(crate) fn generation_dir(&self, id: u32) -> PathBuf {
        self.dir.join(format!("{}{id}", names::GENERATION))
    }

    /// Makes the directories of the state, or makes sure that those there are ours to write.
    pub(crate) fn make(&self) -> Result<(), Error> {
        [&self.root, &self.dir].into_iter().try_for_each(|dir| trust::make(dir))
    }
}

impl Live {
    /// Opens program and text.
    pub(crate) fn open(self) -> Result<Generation, Error> {
        let program = Program::open(&self.dir.join(names::PROGRAM))?;
        let record = read_record(&self.dir)?;
        Ok(Generation { live: self, program, record })
    }

    /// The map of a label; `None` where the generation has no such label.
    pub(crate) fn label(&self, label: &Label) -> Result<Option<Sockmap>, Error> {
        match Sockmap::open(&label_path(&self.dir, label)?) {
            Ok(map) => Ok(Some(map)),
            Err(error) if error.errno() == Errno::NOENT => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// Reads the text of the generation in a directory.
pub(crate) fn read_record(dir: &Path) -> Result<Record, Error> {
    Record::parse(&read_text(dir)?).map_err(|error| unreadable(dir, error))
}

/// Refuses the generation in a directory if a newer sklookup laid it out. Who may put sockets under a label and may not
/// read the text has to believe that who granted this knows.
pub(crate) fn check_layout(dir: &Path) -> Result<(), Error> {
    match read_text(dir) {
        Ok(text) => Record::check_layout(&text).map_err(|error| unreadable(dir, error)),
        Err(Error::Kernel(error)) if matches!(error.errno(), Errno::ACCESS | Errno::PERM) => Ok(()),
        Err(error) => Err(error),
    }
}

fn unreadable(dir: &Path, error: RecordError) -> Error {
    let path = dir.join(names::POLICY);
    match error {
        RecordError::Newer { version } => Error::Newer { path, version },
        RecordError::Damaged { line, expected } => {
            Error::Damaged { path, what: format!("line {line}: expected {expected}") }
        }
    }
}

/// The text itself, not yet understood.
pub(crate) fn read_text(dir: &Path) -> Result<String, Error> {
    let path = dir.join(names::POLICY);
    let value = Map::open_read_only(&path)?.value()?;
    String::from_utf8(value).map_err(|_| Error::Damaged { path, what: "not text".to_owned() })
}

/// The parent that the text of the generation in a directory says.
fn read_parent(dir: &Path) -> Result<u32, Error> {
    Record::parent_of(&read_text(dir)?)
        .ok_or_else(|| Error::Damaged { path: dir.join(names::POLICY), what: "no line says the parent".to_owned() })
}

/// Where the map of a label is pinned in a generation.
pub(crate) fn label_path(generation: &Path, label: &Label) -> Result<PathBuf, Error> {
    let name = bpffs::escape(label.as_ref()).ok_or_else(|| Error::LongLabel { label: label.clone() })?;
    Ok(generation.join(names::LABELS).join(name))
}

/// The id in the name of a generation's directory.
pub(crate) fn generation_id(name: &str) -> Option<u32> {
    let digits = name.strip_prefix(names::GENERATION)?;
    // Only the one spelling that we write.
    digits.parse().ok().filter(|id: &u32| id.to_string() == digits)
}
