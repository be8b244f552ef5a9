//! The bpf file system: pins, and the directory operations that a protocol over pins needs.
//!
//! What it is like as a file system (seen on Linux 6.18): names take any byte but `.` and `/`, up to 255; mkdir, rename,
//! symlink, link(2) and rename over a symlink are atomic as elsewhere; flock works on its directories; regular files
//! can't be created, and a pin can't be opened with open(2).

use std::ffi::CString;
use std::fmt::Write;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{self, FileType, FlockOperation, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use rustix::mount::MountFlags;

use crate::door::{self, On};
use crate::error::{Error, Result, errno_of};
use crate::sys::{self, Access};

/// Longest file name, in bytes.
pub const NAME_MAX: usize = 255;

/// `BPF_FS_MAGIC`.
const MAGIC: u64 = 0xcafe_4a11;

/// What a pin can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ObjectKind {
    Map,
    Program,
    Link,
}

impl ObjectKind {
    /// What the kernel calls the file behind an fd of this kind, opened from a pin.
    fn file(self) -> &'static str {
        match self {
            ObjectKind::Map => "anon_inode:bpf-map",
            ObjectKind::Program => "anon_inode:bpf-prog",
            ObjectKind::Link => "anon_inode:bpf-link",
        }
    }

    fn in_words(self) -> &'static str {
        match self {
            ObjectKind::Map => "a map",
            ObjectKind::Program => "a program",
            ObjectKind::Link => "a link",
        }
    }
}

/// Mounts a bpf file system whose root others may pass through but not list.
///
/// # Errors
/// EPERM without CAP_SYS_ADMIN.
pub fn mount(path: &Path) -> Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    change("mount", path, || rustix::mount::mount("bpf", path, "bpf", flags, c"mode=0711"))
}

/// Whether this path lies on a bpf file system.
///
/// # Errors
/// ENOENT if nothing is there.
pub fn is_bpffs(path: &Path) -> Result<bool> {
    let statfs = fs::statfs(path).map_err(|e| failed("statfs", path, e))?;
    // The field's type differs between architectures.
    Ok(statfs.f_type as u64 & u64::from(u32::MAX) == MAGIC)
}

/// The same place by a path without symlinks, from the root on.
///
/// # Errors
/// ENOENT; EACCES; ELOOP.
pub fn resolve(path: &Path) -> Result<PathBuf> {
    std::fs::canonicalize(path).map_err(|error| failed("readlink", path, errno_of(&error)))
}

/// Keeps an object alive under a path, readable and writable by its owner.
///
/// # Errors
/// EEXIST if something is there; ENOENT if the directory was removed; EPERM outside a bpf file system or for a name with
/// a dot.
#[doc(alias = "BPF_OBJ_PIN")]
pub fn pin(object: BorrowedFd<'_>, path: &Path) -> Result<()> {
    sys::obj_pin(object, &c_path("BPF_OBJ_PIN", path)?).map_err(|f| f.on(shown(path)))
}

/// Opens a pin that holds an object of this kind.
pub(crate) fn open(path: &Path, kind: ObjectKind, access: Access) -> Result<OwnedFd> {
    let fd = sys::obj_get(&c_path("BPF_OBJ_GET", path)?, access).map_err(|f| f.on(shown(path)))?;
    // Objects of all kinds come through the same call, and later calls would take one for the other.
    let link = format!("/proc/self/fd/{}", fd.as_raw_fd());
    // Without /proc nothing is missing in bpffs: ENOENT here must not read as "no such pin".
    let file = read_link(Path::new(&link))
        .map_err(|_| Error::new("readlink", format!("{link} (is /proc mounted?)"), Errno::IO))?;
    // A link that was just made is a `bpf_link`: both spellings, lest a kernel agree with itself one day.
    if file.to_string_lossy().replace("bpf_", "bpf-") != kind.file() {
        let object = format!("{}, which is not {}", shown(path), kind.in_words());
        return Err(Error::new("BPF_OBJ_GET", object, Errno::INVAL));
    }
    Ok(fd)
}

/// Makes a directory of exactly this mode.
///
/// # Errors
/// EEXIST if something is there; EPERM for a name with a dot.
pub fn create_dir(path: &Path, mode: u32) -> Result<()> {
    change("mkdir", path, || fs::mkdir(path, Mode::from_raw_mode(mode)))?;
    // mkdir takes away what the umask says.
    set_mode(path, mode)
}

/// Opens a directory, to lock it or to ask whether it is still there.
///
/// # Errors
/// ENOENT; ENOTDIR, for a symlink too; EACCES without the right to list it.
pub fn open_dir(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    change("open", path, || fs::open(path, flags, Mode::empty()))
}

/// Takes the lock of an open directory; false if someone else has it.
///
/// It is given back when the last duplicate of the fd is closed, at the latest with the process.
///
/// # Errors
/// None that an open directory is known to give.
#[doc(alias = "flock")]
pub fn try_lock(directory: BorrowedFd<'_>) -> Result<bool> {
    flock(directory, FlockOperation::NonBlockingLockExclusive)
}

/// Takes the lock of an open directory beside others who share it; false if someone has it alone.
///
/// # Errors
/// None that an open directory is known to give.
#[doc(alias = "flock")]
pub fn try_share(directory: BorrowedFd<'_>) -> Result<bool> {
    flock(directory, FlockOperation::NonBlockingLockShared)
}

/// Whether someone has the lock of an open directory alone. Asking keeps nobody else from asking.
///
/// # Errors
/// None that an open directory is known to give.
pub fn is_locked(directory: BorrowedFd<'_>) -> Result<bool> {
    // Shared, and given back at once: only who wants it alone could be kept from it for this moment.
    let shared = try_share(directory)?;
    if shared {
        flock(directory, FlockOperation::Unlock)?;
    }
    Ok(!shared)
}

/// The process that took the lock of a directory, as far as the kernel tells.
///
/// `None` where nobody has it, or someone in another pid namespace. A child that inherited the fd keeps the lock under
/// the pid of who took it.
///
/// # Errors
/// When `/proc/locks` can't be read.
pub fn lock_holder(directory: BorrowedFd<'_>) -> Result<Option<u32>> {
    let stat = fs::fstat(directory).map_err(|e| Error::new("fstat", "the open directory", e))?;
    let (major, minor) = (fs::major(stat.st_dev), fs::minor(stat.st_dev));
    let path = "/proc/locks";
    let locks = std::fs::read_to_string(path).map_err(|e| Error::new("read", path, errno_of(&e)))?;
    Ok(flock_holder(&locks, &format!("{major:02x}:{minor:02x}:{}", stat.st_ino)))
}

/// How many links an open directory has: 0 means that it was removed.
///
/// # Errors
/// None that an open directory is known to give.
pub fn nlink(directory: BorrowedFd<'_>) -> Result<u64> {
    // The field's type differs between architectures.
    #[allow(clippy::useless_conversion)]
    fs::fstat(directory).map(|stat| stat.st_nlink.into()).map_err(|e| Error::new("fstat", "the open directory", e))
}

/// The names in an open directory, sorted.
///
/// # Errors
/// ENOENT if it was removed.
pub fn list(directory: BorrowedFd<'_>) -> Result<Vec<String>> {
    let fail = |errno| Error::new("getdents", "the open directory", errno);
    let mut names = Vec::new();
    for entry in fs::Dir::read_from(directory).map_err(fail)? {
        let name = entry.map_err(fail)?.file_name().to_string_lossy().into_owned();
        if name != "." && name != ".." {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Renames, in the place of what is there: a pin, a symlink, an empty directory.
///
/// # Errors
/// ENOENT; ENOTEMPTY over a directory that isn't empty.
pub fn rename(from: &Path, to: &Path) -> Result<()> {
    change("rename", from, || fs::rename(from, to))
}

/// Makes `path` a symlink that says `target`.
///
/// # Errors
/// EEXIST if something is there.
pub fn symlink(target: &Path, path: &Path) -> Result<()> {
    change("symlink", path, || fs::symlink(target, path))
}

/// What a symlink says.
///
/// # Errors
/// ENOENT; EINVAL if it is no symlink.
pub fn read_link(path: &Path) -> Result<PathBuf> {
    let target = fs::readlink(path, Vec::new()).map_err(|e| failed("readlink", path, e))?;
    Ok(PathBuf::from(std::ffi::OsStr::from_bytes(target.as_bytes())))
}

/// Gives a pin a second path: the same inode, so mode and owner are those of the first.
///
/// # Errors
/// EEXIST if something is there; ENOENT if either side is gone; EPERM for a pin of another owner.
pub fn link(from: &Path, to: &Path) -> Result<()> {
    change("link", from, || fs::link(from, to))
}

/// Removes a pin or a symlink.
///
/// # Errors
/// ENOENT; EISDIR for a directory.
pub fn unlink(path: &Path) -> Result<()> {
    change("unlink", path, || fs::unlink(path))
}

/// Removes an empty directory.
///
/// # Errors
/// ENOENT; ENOTEMPTY.
pub fn rmdir(path: &Path) -> Result<()> {
    change("rmdir", path, || fs::rmdir(path))
}

/// What stands in a directory under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A symlink.
    Symlink,
    /// On a bpf file system: a pin.
    File,
    /// Anything else.
    Other,
}

/// What the file system knows about a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// What it is; a symlink is not followed.
    pub kind: Kind,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Inode: two pins with the same one are the same pin.
    pub inode: u64,
}

/// What the file system knows about a path.
///
/// # Errors
/// ENOENT; EACCES.
pub fn status(path: &Path) -> Result<Status> {
    let stat = fs::lstat(path).map_err(|e| failed("stat", path, e))?;
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Kind::Directory,
        FileType::Symlink => Kind::Symlink,
        FileType::RegularFile => Kind::File,
        _ => Kind::Other,
    };
    let mode = Mode::from_raw_mode(stat.st_mode).as_raw_mode();
    Ok(Status { kind, mode, uid: stat.st_uid, gid: stat.st_gid, inode: stat.st_ino })
}

/// Sets permission bits.
///
/// # Errors
/// EPERM for what we don't own.
pub fn set_mode(path: &Path, mode: u32) -> Result<()> {
    change("chmod", path, || fs::chmod(path, Mode::from_raw_mode(mode)))
}

/// Sets owner and group; `None` leaves it.
///
/// # Errors
/// EPERM without CAP_CHOWN, unless it is a group of ours.
pub fn set_owner(path: &Path, uid: Option<u32>, gid: Option<u32>) -> Result<()> {
    change("chown", path, || fs::chown(path, uid.map(Uid::from_raw), gid.map(Gid::from_raw)))
}

/// A label as a file name: bytes other than `[A-Za-z0-9_-]` as `=XX`. `None` if that is empty or too long for one.
pub fn escape(label: &str) -> Option<String> {
    let mut name = String::with_capacity(label.len());
    for byte in label.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-' {
            name.push(char::from(byte));
        } else {
            write!(name, "={byte:02X}").expect("a string takes all that is written");
        }
    }
    (1..=NAME_MAX).contains(&name.len()).then_some(name)
}

/// The label that a file name stands for. `None` if [`escape`] makes no such name.
pub fn unescape(name: &str) -> Option<String> {
    let mut label = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'=' {
            label.push(byte);
            continue;
        }
        let (hex, after) = rest.split_at_checked(2)?;
        label.push(u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()?);
        rest = after;
    }
    let label = String::from_utf8(label).ok()?;
    // One label, one name: `=41` and lower-case hex are nobody's.
    (escape(&label).as_deref() == Some(name)).then_some(label)
}

/// Changes the lock of an open directory, through the door; false if someone else's stands against it.
fn flock(directory: BorrowedFd<'_>, operation: FlockOperation) -> Result<bool> {
    match door::through("flock", On::Fd(directory), || fs::flock(directory, operation)) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(errno) => Err(Error::new("flock", "the open directory", errno)),
    }
}

/// Changes the file system, through the door.
fn change<T>(call: &'static str, path: &Path, make: impl FnOnce() -> std::result::Result<T, Errno>) -> Result<T> {
    door::through(call, On::Path(path), make).map_err(|errno| failed(call, path, errno))
}

fn failed(call: &'static str, path: &Path, errno: Errno) -> Error {
    Error::new(call, shown(path), errno)
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn c_path(call: &'static str, path: &Path) -> Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| failed(call, path, Errno::INVAL))
}

/// Finds who holds the flock on `file` (`major:minor:inode`) in the text of `/proc/locks`.
///
/// A line is `1: FLOCK  ADVISORY  WRITE 4242 00:2b:17 0 EOF`; waiters have `->` for their second word.
fn flock_holder(locks: &str, file: &str) -> Option<u32> {
    locks.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let (kind, pid, inode) = (words.nth(1)?, words.nth(2)?, words.next()?);
        // A holder in another pid namespace shows as 0 or -1.
        if kind == "FLOCK" && inode == file { pid.parse().ok().filter(|&pid| pid > 0) } else { None }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_survives_being_a_file_name() {
        for label in ["web", "a.b", "svc@host:80/tcp", "A_-z9", "=3D", "ärger", "x y"] {
            let name = escape(label).unwrap();
            assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-=".contains(&b)), "{name}");
            assert_eq!(unescape(&name).as_deref(), Some(label), "{name}");
        }
        assert_eq!(escape("a.b/c").as_deref(), Some("a=2Eb=2Fc"));
    }

    #[test]
    fn a_name_too_long_for_the_file_system_is_refused() {
        assert!(escape(&"a".repeat(255)).is_some());
        assert_eq!(escape(&"a".repeat(256)), None);
        assert!(escape(&".".repeat(85)).is_some());
        assert_eq!(escape(&".".repeat(86)), None);
        assert_eq!(escape(""), None);
    }

    #[test]
    fn names_that_no_label_has_are_not_decoded() {
        for name in ["", "a.b", "=41", "=2e", "=2", "=", "=+5", "=FF", "a b", "=G0"] {
            assert_eq!(unescape(name), None, "{name:?}");
        }
    }

    #[test]
    fn the_holder_of_a_lock_is_who_has_it_and_not_who_waits() {
        let locks = "1: POSIX  ADVISORY  WRITE 11 00:2b:17 0 EOF\n\
                     2: FLOCK  ADVISORY  WRITE 22 00:2b:18 0 EOF\n\
                     2: -> FLOCK  ADVISORY  WRITE 33 00:2b:18 0 EOF\n\
                     3: FLOCK  ADVISORY  WRITE 44 00:2b:17 0 EOF\n\
                     4: FLOCK  ADVISORY  WRITE -1 00:2b:19 0 EOF\n";
        assert_eq!(flock_holder(locks, "00:2b:17"), Some(44));
        assert_eq!(flock_holder(locks, "00:2b:18"), Some(22));
        assert_eq!(flock_holder(locks, "00:2b:19"), None);
        assert_eq!(flock_holder(locks, "00:2b:20"), None);
    }
}
