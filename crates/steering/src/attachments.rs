//! Programs of others that were attached through us: each under a name, held by a pinned link, and replaced under it.
//!
//! ```text
//! BPFFS/sklookup-programs/<inode of the netns>/      locked while anything in it changes
//!   <name>/
//!     link                       the pinned link: the one thing that takes effect
//!     v-<id>/                    <id> is the id of its program
//!       program about maps/<map>
//! ```
//!
//! As with generations the link decides: the version in effect is `v-<id of the program that the link runs>`, everything
//! else is litter that the next change sweeps up. It is simpler than that of a policy: a version is loaded before the lock
//! is taken, and has few pins, so that all the rest happens under one lock.

mod about;
mod chain;
mod pins;
mod version;

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use sklookup_bpf::object::Object;
use sklookup_kernel::bpffs;
use sklookup_kernel::{Collection, Errno, Link, Map, Netns, Program};

pub use self::about::{About, Source};
pub use self::chain::{Chain, OnHook, Whose};
use crate::error::Error;
use crate::hook;
use crate::lock::{self, Attempt};
use crate::state::PATIENCE;
use crate::sweep::{gone, names_in};
use crate::trust;
use crate::wait::Deadline;

pub(crate) mod names {
    pub(crate) const ROOT: &str = "sklookup-programs";
    pub(crate) const LINK: &str = "link";
    pub(crate) const VERSION: &str = "v-";
    pub(crate) const PROGRAM: &str = "program";
    pub(crate) const ABOUT: &str = "about";
    pub(crate) const MAPS: &str = "maps";
}

/// The programs that were attached to a network namespace through us.
#[derive(Debug)]
pub struct Attachments {
    netns: Netns,
    root: PathBuf,
    /// `BPFFS/sklookup-programs/<inode>`.
    dir: PathBuf,
}

/// What is to be attached.
#[derive(Debug)]
pub struct Wanted<'a> {
    /// Under which name.
    pub name: &'a str,
    /// The object.
    pub object: &'a Object,
    /// Which of its programs.
    pub program: &'a str,
    /// What it is, for who asks later.
    pub about: About,
    /// Sockets that its maps have from the beginning.
    pub seats: &'a [Seat<'a>],
    /// Whether it may take the place of one that is attached under the name.
    pub replace: bool,
}

/// A socket, and its place in a map.
#[derive(Debug)]
pub struct Seat<'a> {
    /// Name of the map.
    pub map: &'a str,
    /// The key, as a number of 4 bytes.
    pub key: u32,
    /// The socket.
    pub socket: BorrowedFd<'a>,
}

/// A program that is attached under a name.
#[derive(Debug)]
pub struct Attachment {
    /// The name.
    pub name: String,
    /// Id of the link.
    pub link: u32,
    /// Id of the program that it runs.
    pub program: u32,
    /// What it is; `None` for a program that somebody else put under the link.
    pub about: Option<About>,
    /// Where its link is pinned.
    pub pin: PathBuf,
    /// Where its maps are, each under its name as a file name.
    pub maps: PathBuf,
}

/// What has been attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// Id of the link.
    pub link: u32,
    /// Id of the program.
    pub program: u32,
    /// The program in whose place it is now.
    pub replaced: Option<u32>,
    /// Where its maps are pinned, each under its name as a file name.
    pub maps: PathBuf,
}

/// A link under a name, which is alive.
struct Live {
    link: Link,
    id: u32,
    program: u32,
}

impl Attachments {
    /// Those of `netns` under the bpffs mounted at `bpffs`. Nothing is made.
    ///
    /// # Errors
    /// [`Error::NoBpffs`], or [`Error::Untrusted`] for a mount whose names another user could exchange.
    pub fn new(bpffs: &Path, netns: Netns) -> Result<Attachments, Error> {
        let root = trust::bpffs(bpffs)?.join(names::ROOT);
        let dir = root.join(netns.inode().to_string());
        Ok(Attachments { netns, root, dir })
    }

    /// Loads a program and attaches it: behind all others, or in the place of the one under its name, at once for every
    /// packet.
    ///
    /// Only maps are pinned that it has, in our own directory, whatever the object asks for.
    ///
    /// # Errors
    /// [`Error::Occupied`], [`Error::Map`], what the kernel refuses; nothing has changed then.
    pub fn attach(&self, wanted: &Wanted<'_>) -> Result<Attached, Error> {
        let place = self.place(wanted.name)?;
        let mut deadline = Deadline::after(PATIENCE);
        loop {
            let base = self.live(&place)?.map(|live| live.program);
            if let Some(program) = base.filter(|_| !wanted.replace) {
                return Err(Error::Occupied { name: wanted.name.to_owned(), program });
            }
            let loaded = self.load(wanted)?;
            match self.attempt(&place, base, &loaded, wanted) {
                Ok(Some(attached)) => return Ok(attached),
                Ok(None) => self.clear_empty(&place),
                Err(error) => {
                    self.clear_empty(&place);
                    return Err(error);
                }
            }
            if deadline.passed() {
                let netns = self.netns.describe().to_owned();
                return Err(Error::Contended { netns, seconds: deadline.seconds() });
            }
        }
    }

    /// The same without attaching it: whether the kernel would take it.
    ///
    /// # Errors
    /// As [`Attachments::attach`].
    pub fn rehearse(&self, wanted: &Wanted<'_>) -> Result<(), Error> {
        let base = self.live(&self.place(wanted.name)?)?.map(|live| live.program);
        if let Some(program) = base.filter(|_| !wanted.replace) {
            return Err(Error::Occupied { name: wanted.name.to_owned(), program });
        }
        self.load(wanted).map(drop)
    }

    /// Detaches the program under a name, and takes away what we pinned of it. Answers the program.
    ///
    /// # Errors
    /// [`Error::NotAttached`]; a call that failed: nothing has changed then, or the error says so.
    pub fn detach(&self, name: &str) -> Result<u32, Error> {
        let place = self.place(name)?;
        let none = || Error::NotAttached { netns: self.netns.describe().to_owned(), name: name.to_owned() };
        if self.live(&place)?.is_none() {
            // Perhaps what a command that was killed did not come to.
            if let Ok(Attempt::Got(_locked)) = lock::attempt(&self.dir) {
                self.sweep();
            }
            self.clear_empty(&place);
            return Err(none());
        }
        trust::make(&self.dir)?; // refuses what is not ours
        let Some(_locked) = lock::wait_for(&self.dir)? else { return Err(none()) };
        let Some(live) = self.live(&place)? else { return Err(none()) };
        // Closing or unlinking alone would leave it running while anybody holds the link.
        live.link.detach()?;
        version::clear(&place).map_err(Error::begun)?;
        self.sweep();
        self.clear_empty(&place);
        Ok(live.program)
    }

    /// What is attached, by name; and what is left of commands that were killed.
    ///
    /// # Errors
    /// A call that failed, for want of rights too.
    pub fn list(&self) -> Result<(Vec<Attachment>, Vec<String>), Error> {
        let mut attachments = Vec::new();
        let mut litter = Vec::new();
        for file in self.names()? {
            let Some(name) = bpffs::unescape(&file) else { continue };
            match self.attachment(name, &self.dir.join(&file))? {
                Some(attachment) => attachments.push(attachment),
                None => litter.push(file),
            }
        }
        // Who is about to attach one has the lock, and it is no litter.
        if !litter.is_empty() && !matches!(lock::attempt(&self.dir), Ok(Attempt::Got(_))) {
            litter.clear();
        }
        Ok((attachments, litter))
    }

    fn attachment(&self, name: String, place: &Path) -> Result<Option<Attachment>, Error> {
        let mut before = None;
        loop {
            let Some(live) = self.live(place)? else { return Ok(None) };
            match version::read(place, live.program) {
                Ok(about) => {
                    let (pin, maps) = (place.join(names::LINK), version::path(place, live.program).join(names::MAPS));
                    return Ok(Some(Attachment { name, link: live.id, program: live.program, about, pin, maps }));
                }
                // Replaced while we read.
                Err(_) if before != Some(live.program) => before = Some(live.program),
                Err(error) => return Err(error),
            }
        }
    }

    /// Where what is attached under a name lies.
    fn place(&self, name: &str) -> Result<PathBuf, Error> {
        let file = bpffs::escape(name).ok_or_else(|| {
            let most = bpffs::NAME_MAX;
            Error::Refused(format!(
                "{name:?}: no name: one has at least a character, and at most {most} bytes as a file name"
            ))
        })?;
        Ok(self.dir.join(file))
    }

    /// The link under a name, while it is alive.
    fn live(&self, place: &Path) -> Result<Option<Live>, Error> {
        for dir in [&self.root, &self.dir, place] {
            if !trust::directory(dir)? {
                return Ok(None);
            }
        }
        match Link::open(&place.join(names::LINK)) {
            Ok(link) => {
                let info = link.info()?;
                let live = Live { link, id: info.id, program: info.program_id };
                Ok(info.is_alive_on(self.netns.inode()).then_some(live))
            }
            Err(error) if matches!(error.errno(), Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn load(&self, wanted: &Wanted<'_>) -> Result<Collection, Error> {
        let mut given = BTreeMap::new();
        for (name, source) in &wanted.about.maps {
            if let Some(map) = self.given(wanted, name, source)? {
                given.insert(name.clone(), map);
            }
        }
        for seat in wanted.seats {
            if given.contains_key(seat.map) {
                let found =
                    "it is there already, and so is what is in it: only a new map is given sockets here".to_owned();
                return Err(Error::Map { map: seat.map.to_owned(), found });
            }
        }
        let loaded = Collection::load_with(wanted.object, given)?;
        wanted.seats.iter().try_for_each(|seat| version::seat(&loaded, seat))?;
        Ok(loaded)
    }

    /// The map that is to take the place of one of the object.
    fn given(&self, wanted: &Wanted<'_>, name: &str, source: &Source) -> Result<Option<Map>, Error> {
        let wrong = |found: String| Error::Map { map: name.to_owned(), found };
        let map = match source {
            Source::Own => return Ok(None),
            Source::Id(id) => Map::by_id(*id)?,
            Source::Pinned(path) => {
                trust::pin(path)?;
                Map::open(path)?
            }
            Source::Kept => {
                let place = self.place(wanted.name)?;
                let live = self.live(&place)?.ok_or_else(|| {
                    wrong(format!("there is none to keep: no program is attached under the name {}", wanted.name))
                })?;
                let pin = version::map_pin(&place, live.program, name)?;
                Map::open(&pin).map_err(|error| match error.errno() {
                    Errno::NOENT => wrong(format!("program {} has none of this name to keep", live.program)),
                    _ => error.into(),
                })?
            }
        };
        let spec = wanted.object.map(name).expect("looked for when the command was read");
        version::same_shape(spec, map.info()).map_err(wrong)?;
        Ok(Some(map))
    }

    /// Puts what was loaded in the place of `base`; `None` if somebody else was faster: its maps may be those of a version
    /// that is gone.
    fn attempt(
        &self,
        place: &Path,
        base: Option<u32>,
        loaded: &Collection,
        wanted: &Wanted<'_>,
    ) -> Result<Option<Attached>, Error> {
        trust::make(&self.root)?;
        trust::make(&self.dir)?;
        let Some(_locked) = lock::wait_for(&self.dir)? else { return Ok(None) };
        self.sweep();
        let live = self.live(place)?;
        if live.as_ref().map(|live| live.program) != base {
            return Ok(None);
        }
        self.switch(place, live, loaded, wanted).map(Some)
    }

    /// Puts a program in effect: under the lock, and with nothing under its version yet.
    fn switch(
        &self,
        place: &Path,
        live: Option<Live>,
        loaded: &Collection,
        wanted: &Wanted<'_>,
    ) -> Result<Attached, Error> {
        let program = loaded.program(wanted.program).expect("looked for when the object was read");
        trust::make(place)?;
        let version = version::pin(place, loaded, program, &wanted.about)?;
        let switched = match &live {
            Some(live) => self.replace(place, live, program),
            None => self.first(place, program),
        };
        match switched {
            Ok(link) => {
                // What was in effect is litter now.
                let _ = version::sweep(place, Some(program.id()));
                let (program, maps) = (program.id(), version.join(names::MAPS));
                Ok(Attached { link, program, replaced: live.map(|live| live.program), maps })
            }
            Err(error) => {
                version::remove(&version);
                Err(error)
            }
        }
    }

    fn replace(&self, place: &Path, live: &Live, program: &Program) -> Result<u32, Error> {
        let foreign = || Error::Foreign { netns: self.netns.describe().to_owned(), program: live.program };
        let expected = match Program::open(&version::path(place, live.program).join(names::PROGRAM)) {
            Err(error) if error.errno() == Errno::NOENT => return Err(foreign()),
            expected => expected?,
        };
        match live.link.update(program, &expected) {
            Err(error) if error.errno() == Errno::PERM => Err(foreign()),
            updated => Ok(updated.map(|()| live.id)?),
        }
    }

    fn first(&self, place: &Path, program: &Program) -> Result<u32, Error> {
        let pin = place.join(names::LINK);
        // A dead one: what is alive was looked for under the lock.
        gone(bpffs::unlink(&pin))?;
        // Killed before the pin, the kernel detaches it with our last fd.
        let link = hook::attach(program, &self.netns)?;
        link.pin(&pin)?;
        Ok(link.info()?.id)
    }

    /// Sweeps up what commands that were killed have left, and what was attached to namespaces that are no more. Under the
    /// lock; what fails is left for the next command.
    fn sweep(&self) {
        for file in self.names().unwrap_or_default() {
            let place = self.dir.join(file);
            match self.live(&place) {
                Ok(Some(live)) => drop(version::sweep(&place, Some(live.program))),
                Ok(None) => drop(version::clear(&place)),
                Err(_) => {}
            }
        }
        for inode in names_in(&self.root).unwrap_or_default() {
            let other = self.root.join(&inode);
            if other != self.dir && inode.bytes().all(|byte| byte.is_ascii_digit()) {
                version::sweep_dead(&other);
            }
        }
    }

    /// Removes directories in which nothing is.
    fn clear_empty(&self, place: &Path) {
        for dir in [place, &self.dir, &self.root] {
            let _ = bpffs::rmdir(dir);
        }
    }

    fn names(&self) -> Result<Vec<String>, Error> {
        if !trust::directory(&self.root)? || !trust::directory(&self.dir)? {
            return Ok(Vec::new());
        }
        names_in(&self.dir)
    }
}
