//! Processes: who they are, which sockets they hold, and taking those.
//!
//! A pid can mean another process a moment later. [`Process`] holds on to one: a pidfd and its directory in /proc, opened
//! so that both are known to be of the same process.

mod family;

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Dir, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags};

use crate::door::{self, On};
use crate::error::{Error, Explained};
pub use crate::process::family::{ancestors, children, descendants};

/// A process, and no other that gets its pid later.
#[derive(Debug)]
pub struct Process {
    pid: u32,
    pidfd: OwnedFd,
    directory: OwnedFd, // /proc/PID
}

/// Why a process could not be asked or used.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// There is none with this pid, or it has ended.
    #[error("pid {pid}: no such process")]
    Gone {
        /// As asked for.
        pid: u32,
    },
    /// The pid is one of a thread, not of its process.
    #[error("pid {pid} is a thread; give the pid of its process")]
    Thread {
        /// As asked for.
        pid: u32,
    },
    /// Its fds may not be taken.
    #[error(
        "take fds of pid {pid}: {}; another user's process, or one with more capabilities, needs CAP_SYS_PTRACE",
        Explained(Errno::PERM)
    )]
    Denied {
        /// Whose.
        pid: u32,
    },
    /// It has no such fd.
    #[error("fd {fd} of pid {pid}: not open")]
    NotOpen {
        /// Whose.
        pid: u32,
        /// Which.
        fd: u32,
    },
    /// Another call failed.
    #[error(transparent)]
    Failed(#[from] Error),
}

/// A socket among the fds of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FdSocket {
    /// The number of the fd in that process.
    pub fd: u32,
    /// Inode of the socket, the same wherever it is open.
    pub inode: u64,
}

/// A process by what people know it by.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProcessName {
    /// Its pid.
    pub pid: u32,
    /// Its name (`comm`), as it is: it may hold any bytes, control characters too.
    pub name: String,
}

/// Who holds some sockets.
#[derive(Clone, Debug, Default)]
pub struct Owners {
    /// Processes by the inode of the socket they hold, by pid.
    pub of: HashMap<u64, Vec<ProcessName>>,
    /// How many processes could not be looked at for want of rights: one of them may hold more.
    pub hidden: usize,
}

type Result<T> = std::result::Result<T, ProcessError>;

impl Process {
    /// Takes hold of the process with this pid.
    pub fn open(pid: u32) -> Result<Process> {
        let raw = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(ProcessError::Gone { pid })?;
        let pidfd = rustix::process::pidfd_open(raw, PidfdFlags::empty()).map_err(|errno| match errno {
            Errno::SRCH => ProcessError::Gone { pid },
            // EINVAL before 6.9, ENOENT since: the pid lives, but leads no thread group.
            Errno::INVAL | Errno::NOENT => ProcessError::Thread { pid },
            errno => Error::new("pidfd_open", format!("pid {pid}"), errno).into(),
        })?;
        let path = format!("/proc/{pid}");
        let directory = rustix::fs::open(&path, OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| match errno {
                Errno::NOENT => ProcessError::Gone { pid },
                errno => Error::new("open", path, errno).into(),
            })?;
        let process = Process { pid, pidfd, directory };
        // Alive after both were opened: no other process had the pid between. From here on the directory's files answer
        // ESRCH once the process has gone, and never speak of another one.
        if process.is_alive() { Ok(process) } else { Err(ProcessError::Gone { pid }) }
    }

    /// Its pid.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether it still runs; one that has ended but was not waited for does not.
    pub fn is_alive(&self) -> bool {
        // A pidfd becomes readable when the process ends.
        let mut poll = [PollFd::new(&self.pidfd, PollFlags::IN)];
        matches!(rustix::event::poll(&mut poll, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })), Ok(0))
    }

    /// Its name, at most 15 bytes (`comm`).
    pub fn name(&self) -> Result<String> {
        Ok(self.stat()?.name)
    }

    /// The command and its arguments; empty for a kernel thread.
    pub fn command_line(&self) -> Result<Vec<String>> {
        let bytes = self.read("cmdline")?;
        let mut arguments: Vec<String> = bytes.split(|b| *b == 0).map(lossy).collect();
        // The last argument is terminated like the others.
        arguments.pop_if(|last| last.is_empty());
        Ok(arguments)
    }

    /// When it started, in clock ticks since boot: with the pid, a name that no other process ever has.
    pub fn start_time(&self) -> Result<u64> {
        Ok(self.stat()?.start_time)
    }

    /// Its parent's pid; 0 for who has none in this pid namespace.
    pub fn parent(&self) -> Result<u32> {
        Ok(self.stat()?.parent)
    }

    /// Whether it has a controlling terminal: somebody may be typing.
    pub fn has_terminal(&self) -> Result<bool> {
        Ok(self.stat()?.terminal != 0)
    }

    /// A variable of the environment that it was started with. It takes the right to look into the process.
    pub fn variable(&self, name: &str) -> Result<Option<String>> {
        let environment = self.read("environ")?;
        let value = |entry: &[u8]| Some(lossy(entry.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?));
        Ok(environment.split(|byte| *byte == 0).find_map(value))
    }

    /// Its real user id.
    pub fn uid(&self) -> Result<u32> {
        self.status("Uid")
    }

    /// The systemd unit it runs in (`nginx.service`), if any.
    pub fn unit(&self) -> Result<Option<String>> {
        Ok(unit_in(&lossy(&self.read("cgroup")?)))
    }

    /// Every socket among its fds, by fd.
    ///
    /// Listing another user's fds takes CAP_DAC_READ_SEARCH besides CAP_SYS_PTRACE; without it each number that the
    /// process can have open is tried.
    pub fn sockets(&self) -> Result<Vec<FdSocket>> {
        match self.listed_sockets() {
            Err(Errno::ACCESS | Errno::PERM) => self.tried_sockets(),
            Err(errno) => Err(self.failed("getdents", "fd", errno)),
            Ok(sockets) => Ok(sockets),
        }
    }

    /// A duplicate of its fd of this number, close-on-exec (`pidfd_getfd`, since 5.6).
    pub fn take_fd(&self, fd: u32) -> Result<OwnedFd> {
        let number = i32::try_from(fd).map_err(|_| ProcessError::NotOpen { pid: self.pid, fd })?;
        door::through("pidfd_getfd", On::Fd(self.pidfd.as_fd()), || {
            rustix::process::pidfd_getfd(&self.pidfd, number, PidfdGetfdFlags::empty())
        })
        .map_err(|errno| match errno {
            Errno::BADF => ProcessError::NotOpen { pid: self.pid, fd },
            Errno::PERM => ProcessError::Denied { pid: self.pid },
            Errno::SRCH => ProcessError::Gone { pid: self.pid },
            errno => Error::new("pidfd_getfd", format!("fd {fd} of pid {}", self.pid), errno).into(),
        })
    }

    fn listed_sockets(&self) -> rustix::io::Result<Vec<FdSocket>> {
        let directory = open_at(self.directory.as_fd(), "fd", OFlags::DIRECTORY)?;
        let mut sockets = sockets_in(directory.as_fd())?;
        sockets.sort_unstable();
        Ok(sockets)
    }

    fn tried_sockets(&self) -> Result<Vec<FdSocket>> {
        // The size of its fd table bounds its numbers, also after a limit was lowered. Anyone may read it.
        let slots = self.status("FDSize")?;
        let mut sockets = Vec::new();
        for fd in 0..slots {
            match self.take_fd(fd) {
                Ok(taken) => sockets.extend(socket_inode(taken.as_fd()).map(|inode| FdSocket { fd, inode })),
                Err(ProcessError::NotOpen { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(sockets)
    }

    fn stat(&self) -> Result<Stat> {
        let text = self.read("stat")?;
        Stat::parse(&text).ok_or_else(|| self.failed("read", "stat", Errno::BADMSG))
    }

    /// The first number of a line of `/proc/PID/status`.
    fn status(&self, key: &str) -> Result<u32> {
        let text = lossy(&self.read("status")?);
        let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        let number = value.and_then(|value| value.split_whitespace().next()?.parse().ok());
        number.ok_or_else(|| self.failed("read", "status", Errno::BADMSG))
    }

    fn read(&self, file: &'static str) -> Result<Vec<u8>> {
        read_at(self.directory.as_fd(), file).map_err(|errno| self.failed("read", file, errno))
    }

    fn failed(&self, call: &'static str, file: &str, errno: Errno) -> ProcessError {
        match errno {
            Errno::SRCH | Errno::NOENT => ProcessError::Gone { pid: self.pid },
            errno => Error::new(call, format!("/proc/{}/{file}", self.pid), errno).into(),
        }
    }
}

/// The pidfd: readable once the process has ended.
impl AsFd for Process {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

/// Every process there is, as far as /proc shows them, by what people know it by.
pub fn every_name() -> Vec<ProcessName> {
    let named = |pid| Some(ProcessName { pid, name: stat_of(pid)?.name });
    every_process().into_iter().flatten().filter_map(named).collect()
}

/// The inode of our pid namespace: no two living ones share it.
///
/// # Errors
/// When `/proc` is not mounted.
pub fn pid_namespace() -> Result<u32> {
    let path = "/proc/self/ns/pid";
    let failed = |errno| ProcessError::from(Error::new("stat", path, errno));
    // The kernel numbers namespaces with 32 bits.
    u32::try_from(rustix::fs::stat(path).map_err(failed)?.st_ino).map_err(|_| failed(Errno::OVERFLOW))
}

/// Who holds the sockets with these inodes, as far as we may look.
pub fn owners(inodes: &HashSet<u64>) -> Owners {
    let mut owners = Owners::default();
    for pid in every_process().into_iter().flatten() {
        let path = format!("/proc/{pid}/fd");
        let listed = rustix::fs::open(path, OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .and_then(|directory| sockets_in(directory.as_fd()));
        let held: HashSet<u64> = match listed {
            Ok(sockets) => sockets.iter().map(|socket| socket.inode).filter(|inode| inodes.contains(inode)).collect(),
            Err(Errno::ACCESS | Errno::PERM) => {
                // So is answered, too, where it ends while its links are read.
                owners.hidden += usize::from(!matches!(Process::open(pid), Err(ProcessError::Gone { .. })));
                continue;
            }
            // It has ended meanwhile.
            Err(_) => continue,
        };
        if held.is_empty() {
            continue;
        }
        let name = stat_of(pid).map(|stat| stat.name).unwrap_or_default();
        for inode in held {
            owners.of.entry(inode).or_default().push(ProcessName { pid, name: name.clone() });
        }
    }
    owners.of.values_mut().for_each(|processes| processes.sort_unstable());
    owners
}

/// What we want of `/proc/PID/stat`.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    name: String,
    parent: u32,
    terminal: i32, // device number; 0: none
    start_time: u64,
}

impl Stat {
    /// `1234 (name) S 1 ...`: the name may hold blanks and parentheses, so it ends at the last one.
    fn parse(text: &[u8]) -> Option<Stat> {
        let open = text.iter().position(|b| *b == b'(')?;
        let close = text.iter().rposition(|b| *b == b')')?;
        let name = lossy(text.get(open + 1..close)?);
        let rest = std::str::from_utf8(&text[close + 1..]).ok()?;
        // Counted from field 3, the state.
        let mut fields = rest.split_whitespace();
        let parent = fields.nth(1)?.parse().ok()?; // field 4
        let terminal = fields.nth(2)?.parse().ok()?; // field 7
        let start_time = fields.nth(14)?.parse().ok()?; // field 22
        Some(Stat { name, parent, terminal, start_time })
    }
}

fn stat_of(pid: u32) -> Option<Stat> {
    Stat::parse(&fs::read(format!("/proc/{pid}/stat")).ok()?)
}

fn every_process() -> rustix::io::Result<impl Iterator<Item = u32>> {
    Ok(numbers_in("/proc")?.into_iter())
}

/// The entries of a directory that are numbers: processes, threads.
fn numbers_in(path: &str) -> rustix::io::Result<Vec<u32>> {
    let directory = rustix::fs::open(path, OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut numbers = Vec::new();
    for entry in Dir::new(directory)? {
        numbers.extend(entry?.file_name().to_str().ok().and_then(|name| name.parse::<u32>().ok()));
    }
    Ok(numbers)
}

/// The sockets in an open `/proc/PID/fd`, in no order.
fn sockets_in(directory: BorrowedFd<'_>) -> rustix::io::Result<Vec<FdSocket>> {
    let mut sockets = Vec::new();
    let mut link = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let Some(fd) = entry.file_name().to_str().ok().and_then(|name| name.parse().ok()) else { continue };
        let target = match rustix::fs::readlinkat(directory, entry.file_name(), link) {
            Ok(target) => target,
            // An fd closed meanwhile is no socket of this process any more.
            Err(Errno::NOENT) => {
                link = Vec::new();
                continue;
            }
            Err(errno) => return Err(errno),
        };
        let inode = target.to_str().ok().and_then(|target| target.strip_prefix("socket:[")?.strip_suffix(']'));
        sockets.extend(inode.and_then(|inode| inode.parse().ok()).map(|inode| FdSocket { fd, inode }));
        link = target.into_bytes();
    }
    Ok(sockets)
}

fn socket_inode(fd: BorrowedFd<'_>) -> Option<u64> {
    let stat = rustix::fs::fstat(fd).ok()?;
    (rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::Socket).then_some(stat.st_ino)
}

fn open_at(directory: BorrowedFd<'_>, file: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    rustix::fs::openat(directory, file, flags | OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

fn read_at(directory: BorrowedFd<'_>, file: &str) -> rustix::io::Result<Vec<u8>> {
    use std::io::Read;

    let mut bytes = Vec::new();
    fs::File::from(open_at(directory, file, OFlags::empty())?)
        .read_to_end(&mut bytes)
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    Ok(bytes)
}

/// The innermost unit in the text of `/proc/PID/cgroup`.
fn unit_in(cgroups: &str) -> Option<String> {
    // `0::/system.slice/nginx.service`; with cgroup v1 systemd's own hierarchy is `1:name=systemd:...`.
    let path = cgroups.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        ["", "name=systemd"].contains(&controllers).then_some(path)
    })?;
    path.rsplit('/').find(|part| part.ends_with(".service") || part.ends_with(".scope")).map(str::to_owned)
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_blanks_does_not_shift_the_fields() {
        let text = b"4242 (a) R 1 (b) S 17 4242 4242 34816 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 1000 2\n";
        let stat = Stat::parse(text).unwrap();
        assert_eq!(stat, Stat { name: "a) R 1 (b".into(), parent: 17, terminal: 34816, start_time: 987_654 });
        for length in 0..60 {
            assert_eq!(Stat::parse(&text[..length]), None, "{length} bytes");
        }
    }

    #[test]
    fn the_unit_is_the_innermost_service_or_scope() {
        assert_eq!(unit_in("0::/system.slice/nginx.service\n").as_deref(), Some("nginx.service"));
        let user = "0::/user.slice/user-1000.slice/user@1000.service/app.slice/foo.scope/sub\n";
        assert_eq!(unit_in(user).as_deref(), Some("foo.scope"));
        assert_eq!(unit_in("4:cpu:/x\n1:name=systemd:/system.slice/a.service\n").as_deref(), Some("a.service"));
        assert_eq!(unit_in("0::/\n"), None);
        assert_eq!(unit_in("nonsense"), None);
    }
}
