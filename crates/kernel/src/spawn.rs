//! Starting a command that gets nothing of ours but standard input, output and error.
//!
//! # Safety
//!
//! Two things are unsafe here. [`User::by_name`] calls `getpwnam_r` and `getgrouplist`, which write into buffers whose
//! sizes they are given. [`spawn`] runs `prepare` between fork and exec, where only async-signal-safe calls are allowed:
//! it makes system calls and touches no lock and no heap.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::{io, mem, ptr};

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitIdStatus, WaitOptions};

use crate::caps::{self, Cap};
use crate::door::{self, On};
use crate::error::{Error, Explained};
use crate::netns::last_errno;
use crate::signals;

/// A command that was started. Dropping this neither ends it nor waits for it.
#[derive(Debug)]
pub struct Child {
    pid: u32,
    pidfd: OwnedFd,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// By a signal of this number.
    Signal(i32),
}

impl Exit {
    /// The code that a shell would show, and that a wrapper should end with.
    pub fn shell_code(self) -> i32 {
        match self {
            Exit::Code(code) => code,
            Exit::Signal(number) => 128 + number,
        }
    }
}

/// Where the standard output of a command goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stdout {
    /// To ours.
    Inherited,
    /// To our standard error: ours is for something else.
    ToStderr,
}

/// Why a command was not started.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// No such command.
    #[error("{command}: not found")]
    NotFound {
        /// As typed.
        command: String,
    },
    /// It can't be executed.
    #[error("{command}: can't be executed: {}", Explained(*.errno))]
    NotExecutable {
        /// As typed.
        command: String,
        /// Why.
        errno: Errno,
    },
    /// We may not become that user.
    #[error("start as {user}: needs {cap}")]
    User {
        /// Its name.
        user: String,
        /// What is missing.
        cap: Cap,
    },
    /// Another call failed.
    #[error(transparent)]
    Failed(#[from] Error),
}

impl SpawnError {
    /// What a wrapper ends with: 127 not found, 126 not executable, 125 its own failure.
    pub fn shell_code(&self) -> i32 {
        match self {
            SpawnError::NotFound { .. } => 127,
            SpawnError::NotExecutable { .. } => 126,
            SpawnError::User { .. } | SpawnError::Failed(_) => 125,
        }
    }
}

/// A user to start a command as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Its name.
    pub name: String,
    /// Its user id.
    pub uid: u32,
    /// Its main group.
    pub gid: u32,
    /// All its groups.
    pub groups: Vec<u32>,
    /// Its home directory.
    pub home: OsString,
    /// Its shell.
    pub shell: OsString,
}

impl User {
    /// The user of this name, from wherever this system keeps users; `None`: there is none.
    pub fn by_name(name: &str) -> Result<Option<User>, Error> {
        let Ok(c_name) = CString::new(name) else { return Ok(None) };
        let fail = |call, errno| Error::new(call, format!("user {name:?}"), errno);
        let mut buffer: Vec<libc::c_char> = vec![0; 1024];
        loop {
            // SAFETY: all of `passwd` is integers and pointers, for which zero is a value.
            let mut entry: libc::passwd = unsafe { mem::zeroed() };
            let mut found = ptr::null_mut();
            // SAFETY: the name is terminated (a CString), the buffer has the length given, and the two results outlive
            // the call.
            let failed = unsafe {
                libc::getpwnam_r(c_name.as_ptr(), &raw mut entry, buffer.as_mut_ptr(), buffer.len(), &raw mut found)
            };
            match failed {
                libc::ERANGE if buffer.len() < 1 << 20 => buffer.resize(buffer.len() * 2, 0),
                // Of the numbers that mean "no such user", most systems answer 0 and glibc on some ENOENT.
                0 | libc::ENOENT if found.is_null() => return Ok(None),
                0 => {
                    let groups = groups_of(&c_name, entry.pw_gid).map_err(|errno| fail("getgrouplist", errno))?;
                    // SAFETY: after success (0, and `found` not NULL) both point to terminated strings inside `buffer`.
                    let [home, shell] = unsafe { [entry.pw_dir, entry.pw_shell].map(|text| owned(text)) };
                    let (uid, gid) = (entry.pw_uid, entry.pw_gid);
                    return Ok(Some(User { name: name.to_owned(), uid, gid, groups, home, shell }));
                }
                number => return Err(fail("getpwnam_r", Errno::from_raw_os_error(number))),
            }
        }
    }
}

/// Starts a command with its arguments, as another user where one is given.
///
/// It inherits standard input, output and error and no other fd, in our process group, so that keys of the terminal reach
/// it. No signal is blocked, and `SIGPIPE`, which Rust ignores, acts again; what else we ignore stays ignored (`nohup`).
/// No ambient capability is left: what was given to us to steer with is not the command's.
///
/// # Panics
///
/// When `command` is empty.
pub fn spawn(command: &[OsString], user: Option<&User>, stdout: Stdout) -> Result<Child, SpawnError> {
    let (program, arguments) = command.split_first().expect("a command has a name");
    let name = program.to_string_lossy().into_owned();
    let mut starter = Command::new(program);
    starter.args(arguments);
    if stdout == Stdout::ToStderr {
        let stderr = io::stderr().as_fd().try_clone_to_owned();
        // Whoever closed our standard error wants to hear nothing.
        starter.stdout(stderr.map_or_else(|_| Stdio::null(), Stdio::from));
    }
    if let Some(user) = user {
        // Asked before: after the fork its EPERM would look like one of the command.
        if let Some(&cap) = caps::missing(&[Cap::SetUid, Cap::SetGid])?.first() {
            return Err(SpawnError::User { user: user.name.clone(), cap });
        }
        starter.env("HOME", &user.home).env("SHELL", &user.shell).env("USER", &user.name).env("LOGNAME", &user.name);
    }
    let user = user.cloned();
    // SAFETY: `prepare` keeps to async-signal-safe calls, as it says of itself; what it needs was allocated just now.
    unsafe { starter.pre_exec(move || prepare(user.as_ref())) };
    let started = door::through("fork", On::Path(Path::new(program)), || {
        // What has no number is a name or an argument with a zero byte in it.
        starter.spawn().map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::INVAL))
    });
    let mut child = match started {
        Ok(child) => child,
        Err(Errno::NOENT | Errno::NOTDIR) => return Err(SpawnError::NotFound { command: name }),
        // A directory of PATH that may not be searched gives EACCES for a command that is nowhere.
        Err(Errno::ACCESS) if !exists(program) => return Err(SpawnError::NotFound { command: name }),
        // Out of processes or memory: nothing about the command.
        Err(errno @ (Errno::AGAIN | Errno::NOMEM | Errno::MFILE | Errno::NFILE)) => {
            return Err(Error::new("fork", name, errno).into());
        }
        Err(errno) => return Err(SpawnError::NotExecutable { command: name, errno }),
    };
    let pid = child.id();
    // Not waited for yet, so the pid can't be anyone else's.
    let opened = Pid::from_raw(pid.cast_signed())
        .ok_or(Errno::SRCH)
        .and_then(|pid| rustix::process::pidfd_open(pid, PidfdFlags::empty()));
    match opened {
        Ok(pidfd) => Ok(Child { pid, pidfd }),
        Err(errno) => {
            // The caller is told that there is none, so there must be none. That it has ended already is no failure.
            let _ = child.kill();
            let _ = child.wait();
            Err(Error::new("pidfd_open", format!("pid {pid}"), errno).into())
        }
    }
}

impl Child {
    /// Its pid.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Waits for its end. Once it was told, later calls fail with ECHILD.
    pub fn wait(&mut self) -> Result<Exit, Error> {
        loop {
            if let Some(exit) = self.waited(WaitIdOptions::EXITED)? {
                return Ok(exit);
            }
        }
    }

    /// How it ended; `None`: it runs.
    pub fn try_wait(&mut self) -> Result<Option<Exit>, Error> {
        self.waited(WaitIdOptions::EXITED | WaitIdOptions::NOHANG)
    }

    /// Sends it a signal; one that has ended is no error.
    pub fn send(&self, signal: Signal) -> Result<(), Error> {
        match signals::send(self.pidfd.as_fd(), signal) {
            Err(Errno::SRCH) => Ok(()),
            sent => sent.map_err(|errno| Error::new("pidfd_send_signal", format!("pid {}", self.pid), errno)),
        }
    }

    fn waited(&self, options: WaitIdOptions) -> Result<Option<Exit>, Error> {
        rustix::io::retry_on_intr(|| rustix::process::waitid(WaitId::PidFd(self.pidfd.as_fd()), options))
            .map(|status| status.and_then(|status| exit_of(&status)))
            .map_err(|errno| Error::new("waitid", format!("pid {}", self.pid), errno))
    }
}

/// The pidfd: readable once the command has ended.
impl AsFd for Child {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

/// Makes orphans among our descendants our children, rather than pid 1's: a server that goes to the background can then
/// still be found.
pub fn become_subreaper() -> Result<(), Error> {
    door::through("prctl", On::Nothing, || rustix::process::set_child_subreaper(Some(rustix::process::getpid())))
        .map_err(|errno| Error::new("prctl", "PR_SET_CHILD_SUBREAPER", errno))
}

/// Takes leave of all children that have ended: orphans that were given to us, and `child`, whose exit is answered if it
/// was among them.
///
/// For a program whose only other children are those orphans: whoever else waits for one finds it gone.
pub fn reap(child: &Child) -> Result<Option<Exit>, Error> {
    let mut exit = None;
    loop {
        match rustix::io::retry_on_intr(|| rustix::process::wait(WaitOptions::NOHANG)) {
            Ok(Some((pid, status))) if pid.as_raw_pid().cast_unsigned() == child.pid => {
                exit = status.exit_status().map(Exit::Code).or_else(|| status.terminating_signal().map(Exit::Signal));
            }
            Ok(Some(_)) => {}
            // ECHILD: there is no child at all.
            Ok(None) | Err(Errno::CHILD) => return Ok(exit),
            Err(errno) => return Err(Error::new("wait4", "children", errno)),
        }
    }
}

/// What happens in the child before exec. Async-signal-safe calls only: no allocation, no lock.
fn prepare(user: Option<&User>) -> io::Result<()> {
    close_on_exec_from(3)?;
    // SAFETY: an empty set is built on the stack and set as the mask of the only thread there is; SIG_DFL is a valid
    // disposition for SIGPIPE.
    unsafe {
        let mut none = mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
    }
    // Ambient capabilities outlive setuid and exec alike; what is permitted to us now is still needed just below, and goes
    // at exec. Only a kernel before 4.3 has none, and knows no hook either.
    // SAFETY: takes numbers, and changes only what this process may do.
    if unsafe { libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) } != 0 {
        return Err(io::Error::last_os_error());
    }
    if let Some(user) = user {
        // The groups first: after setuid we may not any more.
        // SAFETY: the list has the length given and outlives the call; the others take numbers.
        let failed = unsafe {
            libc::setgroups(user.groups.len(), user.groups.as_ptr()) != 0
                || libc::setgid(user.gid) != 0
                || libc::setuid(user.uid) != 0
        };
        if failed {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Marks every fd from this number on. Closing them at once would close the pipe on which a failed exec is reported.
fn close_on_exec_from(first: libc::c_uint) -> io::Result<()> {
    // SAFETY: takes three numbers and changes only the flags of this process's fds.
    if unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) } == 0 {
        return Ok(());
    }
    // CLOSE_RANGE_CLOEXEC is of 5.11; before, one by one.
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(1 << 20);
    for fd in first.cast_signed()..i32::try_from(limit).unwrap_or(i32::MAX) {
        // SAFETY: as above; a number that is not open answers EBADF.
        unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
    Ok(())
}

/// Whether a command is where exec looks for it, as far as we can see.
fn exists(program: &OsStr) -> bool {
    if program.as_bytes().contains(&b'/') {
        return Path::new(program).exists();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).exists())
}

fn exit_of(status: &WaitIdStatus) -> Option<Exit> {
    status.exit_status().map(Exit::Code).or_else(|| status.terminating_signal().map(Exit::Signal))
}

/// All groups of a user, its main one among them.
fn groups_of(name: &CStr, main: libc::gid_t) -> Result<Vec<u32>, Errno> {
    let mut groups: Vec<libc::gid_t> = vec![0; 64];
    loop {
        let mut count = libc::c_int::try_from(groups.len()).map_err(|_| Errno::OVERFLOW)?;
        // SAFETY: the name is terminated; the list has `count` places; both outlive the call.
        let listed = unsafe { libc::getgrouplist(name.as_ptr(), main, groups.as_mut_ptr(), &raw mut count) };
        let wanted = usize::try_from(count).map_err(|_| last_errno())?;
        if listed >= 0 {
            groups.truncate(wanted);
            return Ok(groups);
        }
        // Too short: `count` says how many there are; more than a kernel takes (65536) is an error elsewhere.
        if groups.len() > 1 << 16 {
            return Err(Errno::RANGE);
        }
        groups.resize(wanted.max(groups.len() * 2), 0);
    }
}

/// Copies a C string; nothing for NULL.
///
/// # Safety
///
/// `text` is NULL or points to a terminated string.
unsafe fn owned(text: *const libc::c_char) -> OsString {
    if text.is_null() {
        return OsString::new();
    }
    // SAFETY: not NULL (checked), and terminated as the caller promised.
    OsString::from_vec(unsafe { CStr::from_ptr(text) }.to_bytes().to_vec())
}
