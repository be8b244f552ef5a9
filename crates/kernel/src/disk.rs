//! A directory on disk in which root, or another owner, keeps files: read only if nobody else could have written them,
//! replaced as a whole or not at all.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{self, FileType, FlockOperation, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::door::{self, On};
use crate::error::Error;
use crate::identity::effective_uid;

/// Mode of a directory that we make: what is kept is its owner's affair.
const DIRECTORY_MODE: u32 = 0o700;

/// Mode of a file.
const FILE_MODE: u32 = 0o600;

/// Mode of a file that is published.
const PUBLIC_MODE: u32 = 0o644;

/// Group and others may write to it.
const WRITABLE: u32 = 0o022;

/// Only its owner may rename or remove what is in a directory.
const STICKY: u32 = 0o1000;

/// An open directory.
#[derive(Debug)]
pub struct Directory {
    fd: OwnedFd,
    path: PathBuf,
}

/// What a file is, seen from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Two names with one inode are one file.
    pub inode: u64,
    /// Its length.
    pub bytes: u64,
}

/// Why a file could not be read or replaced.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// A call failed.
    #[error(transparent)]
    Failed(#[from] Error),
    /// Somebody else could have put it there, or could put another in its place.
    #[error("{path}: {why}")]
    Untrusted {
        /// The file, or a directory above it.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// It is longer than what is asked for could be.
    #[error("{path}: longer than {most} bytes")]
    TooLong {
        /// The file.
        path: PathBuf,
        /// The most it may have.
        most: usize,
    },
}

impl Directory {
    /// Opens a directory; `None` where nothing is.
    ///
    /// # Errors
    /// [`DiskError::Untrusted`] where others than root and we could change what its path leads to or what is in it.
    pub fn open(path: &Path) -> Result<Option<Directory>, DiskError> {
        let path = match std::fs::canonicalize(path) {
            Ok(path) => path,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::new("open", path.display().to_string(), errno(&error)).into()),
        };
        // From the root on: who may change a directory above may change all below.
        for above in path.ancestors().collect::<Vec<_>>().into_iter().rev() {
            let mut stat = fs::lstat(above).map_err(|errno| failed("stat", above, errno))?;
            if above != path && stat.st_mode & STICKY != 0 {
                // Such as /tmp: nobody can rename what others own.
                stat.st_mode &= !WRITABLE;
            }
            trusted(above, &stat, FileType::Directory)?;
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = door::through("open", On::Path(&path), || fs::open(&path, flags, Mode::empty()));
        Ok(Some(Directory { fd: fd.map_err(|errno| failed("open", &path, errno))?, path }))
    }

    /// Opens a directory, and makes it where nothing is. The one above has to be there.
    ///
    /// # Errors
    /// As [`Directory::open`]; ENOENT, EACCES, EROFS, ENOSPC.
    pub fn make(path: &Path) -> Result<Directory, DiskError> {
        if let Some(found) = Directory::open(path)? {
            return Ok(found);
        }
        match door::through("mkdir", On::Path(path), || fs::mkdir(path, Mode::from_raw_mode(DIRECTORY_MODE))) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(failed("mkdir", path, errno).into()),
        }
        Ok(Directory::open(path)?.ok_or_else(|| failed("open", path, Errno::NOENT))?)
    }

    /// Where it is, without symlinks.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes its lock; false if someone else has it. It is given back with this.
    ///
    /// # Errors
    /// None that an open directory is known to give.
    pub fn try_lock(&self) -> Result<bool, Error> {
        let lock = || fs::flock(&self.fd, FlockOperation::NonBlockingLockExclusive);
        match door::through("flock", On::Fd(self.fd.as_fd()), lock) {
            Ok(()) => Ok(true),
            Err(Errno::WOULDBLOCK) => Ok(false),
            Err(errno) => Err(failed("flock", &self.path, errno)),
        }
    }

    /// What a file holds; `None` where there is no such file.
    ///
    /// # Errors
    /// [`DiskError::Untrusted`] for what is no file, a symlink among others, or a file that others may write.
    pub fn read(&self, name: &str, most: usize) -> Result<Option<Vec<u8>>, DiskError> {
        let path = self.path.join(name);
        // O_NONBLOCK: a FIFO would keep us waiting.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = match fs::openat(&self.fd, name, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP) => return Err(DiskError::Untrusted { path, why: "a symlink".to_owned() }),
            Err(errno) => return Err(failed("open", &path, errno).into()),
        };
        let stat = fs::fstat(&fd).map_err(|errno| failed("stat", &path, errno))?;
        trusted(&path, &stat, FileType::RegularFile)?;
        let mut bytes = Vec::with_capacity(usize::try_from(stat.st_size).unwrap_or(0).min(most) + 1);
        let mut file = std::io::Read::take(std::fs::File::from(fd), most as u64 + 1);
        std::io::Read::read_to_end(&mut file, &mut bytes).map_err(|error| failed("read", &path, errno(&error)))?;
        if bytes.len() > most { Err(DiskError::TooLong { path, most }) } else { Ok(Some(bytes)) }
    }

    /// Puts a file in the place of the one of this name. Whoever reads it, after a crash too, finds the old one or the
    /// new one.
    ///
    /// Call it with the lock held: two at once would meet at the one name of what is not done yet.
    ///
    /// # Errors
    /// The call that failed; the old file is as it was.
    pub fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        self.put(&format!(".{name}.new"), name, bytes, FILE_MODE)?;
        // Else the name could mean the old file again after a crash.
        door::through("fsync", On::Path(&self.path), || fs::fsync(&self.fd))
            .map_err(|errno| failed("fsync", &self.path, errno))
    }

    /// Gives a file a second name, which nothing has.
    ///
    /// # Errors
    /// EEXIST, ENOENT, ENOSPC, EROFS; EMLINK or EPERM where the file system has no such thing.
    pub fn link(&self, name: &str, second: &str) -> Result<(), Error> {
        let link = || fs::linkat(&self.fd, name, &self.fd, second, fs::AtFlags::empty());
        self.change("link", second, link)
    }

    /// Gives a file another name, in place of a file that has it.
    ///
    /// # Errors
    /// ENOENT, EROFS, ENOSPC.
    pub fn rename(&self, name: &str, other: &str) -> Result<(), Error> {
        self.change("rename", other, || fs::renameat(&self.fd, name, &self.fd, other))
    }

    /// Removes a file.
    ///
    /// # Errors
    /// ENOENT, EROFS.
    pub fn remove(&self, name: &str) -> Result<(), Error> {
        self.change("unlink", name, || fs::unlinkat(&self.fd, name, fs::AtFlags::empty()))
    }

    /// What is known of a file without opening it; `None` where there is no such file.
    ///
    /// # Errors
    /// ENOTDIR, EIO.
    pub fn look(&self, name: &str) -> Result<Option<Look>, Error> {
        match fs::statat(&self.fd, name, fs::AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(Look { inode: stat.st_ino, bytes: u64::try_from(stat.st_size).unwrap_or(0) })),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(failed("stat", &self.path.join(name), errno)),
        }
    }

    /// Writes a file under one name and gives it the other, at once.
    fn put(&self, unfinished: &str, name: &str, bytes: &[u8], mode: u32) -> Result<(), Error> {
        let result = self.write(unfinished, bytes, mode).and_then(|()| self.rename(unfinished, name));
        if result.is_err() {
            let _ = self.remove(unfinished);
        }
        result
    }

    fn write(&self, name: &str, bytes: &[u8], mode: u32) -> Result<(), Error> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let create = || fs::openat(&self.fd, name, flags, Mode::from_raw_mode(FILE_MODE));
        let fd = match self.change("open", name, create) {
            // Who began it was killed: the name is ours.
            Err(error) if error.errno() == Errno::EXIST => {
                self.remove(name)?;
                self.change("open", name, create)?
            }
            created => created?,
        };
        if mode != FILE_MODE {
            // Not at creation: the umask would take from it.
            self.change("fchmod", name, || fs::fchmod(&fd, Mode::from_raw_mode(mode)))?;
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            let written = self.change("write", name, || rustix::io::write(&fd, rest))?;
            rest = &rest[written..];
        }
        self.change("fsync", name, || fs::fsync(&fd))
    }

    fn change<T>(&self, call: &'static str, name: &str, make: impl FnOnce() -> Result<T, Errno>) -> Result<T, Error> {
        let path = self.path.join(name);
        door::through(call, On::Path(&path), make).map_err(|errno| failed(call, &path, errno))
    }
}

/// Puts a file that everybody may read (mode 0644) in the place of the one of this name: whoever reads it finds the old one
/// or the new one. A symlink in its place is replaced, not followed.
///
/// The directory may be anyone's: what its owner could do with the file, the owner could do anyway.
///
/// # Errors
/// The call that failed; the old file is as it was.
pub fn publish(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(|| failed("open", path, Errno::INVAL))?;
    let above = path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = fs::open(above, flags, Mode::empty()).map_err(|errno| failed("open", above, errno))?;
    let directory = Directory { fd, path: above.to_owned() };
    // A name of our own: of two at once each finishes what it began.
    let unfinished = format!(".{name}.{}.new", std::process::id());
    directory.put(&unfinished, name, bytes, PUBLIC_MODE)
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Makes sure that nobody but root and we could have made what a path leads to, and could change it.
fn trusted(path: &Path, stat: &Stat, kind: FileType) -> Result<(), DiskError> {
    let untrusted = |why: String| Err(DiskError::Untrusted { path: path.to_owned(), why });
    let found = FileType::from_raw_mode(stat.st_mode);
    if found != kind {
        return untrusted(format!("not a {}", if kind == FileType::Directory { "directory" } else { "file" }));
    }
    if stat.st_uid != 0 && stat.st_uid != effective_uid() {
        return untrusted(format!("owned by user {}, who could change it", stat.st_uid));
    }
    if stat.st_mode & WRITABLE != 0 {
        return untrusted(format!("mode {:04o}: others may write to it", stat.st_mode & 0o7777));
    }
    Ok(())
}

fn errno(error: &std::io::Error) -> Errno {
    crate::error::errno_of(error)
}

fn failed(call: &'static str, path: &Path, errno: Errno) -> Error {
    Error::new(call, path.display().to_string(), errno)
}
