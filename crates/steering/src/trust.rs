//! Whose the state is: nothing is believed that somebody else could have put there.
//!
//! A bpffs that was mounted without options has mode 1777: any user may make names in it, ours too. So the owner and the
//! mode of each directory are looked at before anything in it counts, no symlink is followed, and what we did not make is
//! neither used nor removed.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use sklookup_kernel::bpffs::{self, Kind, Status};
use sklookup_kernel::{Errno, effective_uid};

use crate::error::Error;
use crate::state::{DIRECTORY_MODE, State, generation_id, names};

/// Permission of others than the owner to write.
const OTHERS_WRITE: u32 = 0o022;
/// Who may write to a directory may not remove what others have in it.
const STICKY: u32 = 0o1000;

/// The real path of a bpffs, once it is sure that nobody but root and us can exchange what lies directly in it, or what
/// the path leads to.
fn mount(path: &Path) -> Result<PathBuf, Error> {
    let real = bpffs::resolve(path)?;
    for dir in real.ancestors() {
        let status = bpffs::status(dir)?;
        if status.uid != 0 && status.uid != effective_uid() {
            // Its owner could put another directory in the place of ours at any moment.
            let what = if dir == real { "a bpffs" } else { "above the bpffs, and" };
            return untrusted(dir, format!("{what} owned by user {}", status.uid));
        }
        if status.mode & OTHERS_WRITE != 0 && status.mode & STICKY == 0 {
            let mode = status.mode & 0o7777;
            return untrusted(dir, format!("mode {mode:04o}: others could put another directory in the place of ours"));
        }
    }
    Ok(real)
}

/// The real path of what has to be a bpffs, as [`mount`] believes it.
pub(crate) fn bpffs(path: &Path) -> Result<PathBuf, Error> {
    match bpffs::is_bpffs(path) {
        Ok(true) => mount(path),
        Ok(false) => Err(Error::NoBpffs { path: path.to_owned() }),
        Err(error) if error.errno() == Errno::NOENT => Err(Error::NoBpffs { path: path.to_owned() }),
        Err(error) => Err(error.into()),
    }
}

/// Makes a directory, or makes sure that the one that is there is ours to write.
pub(crate) fn make(dir: &Path) -> Result<(), Error> {
    match bpffs::create_dir(dir, DIRECTORY_MODE) {
        Ok(()) => {}
        // Not there any more, or its parent isn't: who took it away was faster. Whoever needs it comes back here.
        Err(error) if matches!(error.errno(), Errno::EXIST | Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    directory(dir)?;
    let stat = match bpffs::status(dir) {
        Ok(stat) => stat,
        Err(error) if error.errno() == Errno::NOENT => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    if stat.uid != effective_uid() {
        return Err(Error::NotOwner { path: dir.to_owned(), owner: stat.uid });
    }
    Ok(())
}

/// Whether a directory is there and nobody but its owner, root or us, can put anything into it.
pub(crate) fn directory(path: &Path) -> Result<bool, Error> {
    let status = match bpffs::status(path) {
        Ok(status) => status,
        Err(error) if matches!(error.errno(), Errno::NOENT | Errno::NOTDIR) => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    if status.kind != Kind::Directory {
        return untrusted(path, "not a directory, and not made by sklookup".to_owned());
    }
    if status.uid != 0 && status.uid != effective_uid() {
        return untrusted(path, format!("owned by user {}, who could change what is in effect", status.uid));
    }
    if status.mode & OTHERS_WRITE != 0 {
        return untrusted(path, format!("mode {:04o}: others may write to it", status.mode & 0o7777));
    }
    Ok(true)
}

/// Refuses a pin that somebody else than root or us could have put there, or could write to.
pub(crate) fn pin(path: &Path) -> Result<(), Error> {
    let status = bpffs::status(path)?;
    if status.kind != Kind::File {
        return untrusted(path, "not a pin".to_owned());
    }
    if status.uid != 0 && status.uid != effective_uid() {
        return untrusted(path, format!("owned by user {}, who could change what it holds", status.uid));
    }
    if status.mode & OTHERS_WRITE != 0 {
        return untrusted(path, format!("mode {:04o}: others may write to it", status.mode & 0o7777));
    }
    let real = bpffs::resolve(path)?;
    real.parent().map_or(Ok(()), |dir| mount(dir).map(drop))
}

/// Whether something in a state directory is what we make under its name, and we made it.
pub(crate) fn is_ours(path: &Path) -> bool {
    bpffs::status(path).is_ok_and(|status| flaw(path, &status).is_none())
}

impl State {
    /// Refuses a state directory that holds what sklookup did not make.
    ///
    /// # Errors
    /// [`Error::Untrusted`] with what that is, or a call that failed.
    pub fn undisturbed(&self) -> Result<(), Error> {
        let listed = bpffs::open_dir(self.dir()).and_then(|dir| bpffs::list(dir.as_fd()));
        let names = match listed {
            Err(error) if matches!(error.errno(), Errno::NOENT | Errno::NOTDIR) => return Ok(()),
            names => names?,
        };
        for path in names.iter().map(|name| self.dir().join(name)) {
            match bpffs::status(&path) {
                Ok(status) => flaw(&path, &status).map_or(Ok(()), |why| untrusted(&path, why))?,
                // Swept meanwhile.
                Err(error) if error.errno() == Errno::NOENT => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// Why we did not make this.
fn flaw(path: &Path, status: &Status) -> Option<String> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let kind = match name {
        names::LINK => Kind::File,
        names::CURRENT | names::NEXT => Kind::Symlink,
        name if generation_id(name).is_some() || name.starts_with(names::RUN) => Kind::Directory,
        _ => return Some("not made by sklookup".to_owned()),
    };
    if status.kind != kind {
        return Some("not what sklookup makes under this name".to_owned());
    }
    if status.uid != effective_uid() {
        return Some(format!("owned by user {}, and not made by sklookup", status.uid));
    }
    // A symlink has no mode of its own.
    let open = kind == Kind::Directory && status.mode & OTHERS_WRITE != 0;
    open.then(|| format!("mode {:04o}: others may write to it", status.mode & 0o7777))
}

fn untrusted<T>(path: &Path, why: String) -> Result<T, Error> {
    Err(Error::Untrusted { path: path.to_owned(), why })
}
