//! Signals as something to read, beside other fds: no handler runs, so nothing has to be safe inside one.
//!
//! # Safety
//!
//! Four libc calls: `sigaddset` and its kin on a set that lives on the stack, `pthread_sigmask` with that set,
//! `signalfd` with it, which answers a new fd that nothing else owns, and `signal` with SIG_DFL, which is no code.
#![allow(unsafe_code)]

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
pub use rustix::process::Signal;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::door::{self, On};
use crate::error::{Error, Result};

/// Signals that wait to be read instead of acting, in the thread that made this and in threads it starts later.
///
/// It stays so when this is dropped: a signal that came meanwhile would act then. Children started by
/// [`crate::spawn`] get the usual state back.
#[derive(Debug)]
pub struct Signals {
    fd: OwnedFd,
}

/// A signal that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Its number.
    pub number: i32,
    /// Who caused it.
    pub origin: Origin,
}

/// Who caused a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The kernel: a key on the terminal, which then goes to the whole foreground group, or a terminal that hung up.
    Kernel,
    /// A process that sent it, to this one alone for all we know.
    Process {
        /// Its pid; 0 for one outside our pid namespace.
        pid: u32,
    },
    /// A child that ended, stopped or went on.
    Child {
        /// Which.
        pid: u32,
    },
}

impl Signals {
    /// Blocks these signals in the calling thread and takes them from now on.
    ///
    /// To have them in every thread, call it before the first one is started. With SIGCHLD among them, children wait to be
    /// waited for, also where whoever started us ignores it: a kernel that is told to ignore it drops how they ended.
    pub fn block(signals: &[Signal]) -> Result<Signals> {
        if signals.contains(&Signal::CHILD) {
            // SAFETY: SIG_DFL is a valid disposition for SIGCHLD, and runs no code of ours.
            unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
        }
        let set = set_of(signals);
        // SAFETY: `set` was initialized by `set_of`; the old mask may be NULL, which means it isn't asked for.
        let failed = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, ptr::null_mut()) };
        if failed != 0 {
            return Err(Error::new("pthread_sigmask", "this thread", Errno::from_raw_os_error(failed)));
        }
        // SAFETY: `set` as above; -1 asks for a new fd.
        let fd = unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
        if fd < 0 {
            return Err(Error::new("signalfd", "this thread", crate::netns::last_errno()));
        }
        // SAFETY: the kernel has just made this fd (it isn't negative), and nothing else knows it.
        Ok(Signals { fd: unsafe { OwnedFd::from_raw_fd(fd) } })
    }

    /// The next signal; `None`: none is waiting.
    pub fn read(&mut self) -> Result<Option<Received>> {
        let mut record = [0; size_of::<libc::signalfd_siginfo>()];
        match rustix::io::retry_on_intr(|| rustix::io::read(&self.fd, &mut record)) {
            Ok(_) => Ok(Record::read_from_prefix(&record).ok().map(|(record, _)| record.received())),
            Err(Errno::AGAIN) => Ok(None),
            Err(errno) => Err(Error::new("read", "signalfd", errno)),
        }
    }
}

/// Readable while a signal is waiting.
impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Sends a signal to the process behind a pidfd; ESRCH: it has ended.
pub fn send(pidfd: BorrowedFd<'_>, signal: Signal) -> std::result::Result<(), Errno> {
    door::through("pidfd_send_signal", On::Fd(pidfd), || rustix::process::pidfd_send_signal(pidfd, signal))
}

/// Stops this process and all of its group, as Ctrl-Z does; returns when somebody has it go on.
pub fn stop_group() -> Result<()> {
    door::through("kill", On::Nothing, || rustix::process::kill_current_process_group(Signal::STOP))
        .map_err(|errno| Error::new("kill", "the own process group", errno))
}

/// What an fd is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// Something can be read, or the other side is gone.
    ToRead,
    /// Something can be written, or the other side is gone.
    ToWrite,
    /// The other side is gone.
    Gone,
}

/// Waits until one of the fds is readable or the other side is gone; says of each whether it is. `None` waits for ever.
pub fn wait_readable(fds: &[BorrowedFd<'_>], timeout: Option<Duration>) -> Result<Vec<bool>> {
    let fds: Vec<_> = fds.iter().map(|fd| (*fd, Ready::ToRead)).collect();
    wait(&fds, timeout)
}

/// Waits until one of the fds is ready for what it is waited for; says of each whether it is. `None` waits for ever.
pub fn wait(fds: &[(BorrowedFd<'_>, Ready)], timeout: Option<Duration>) -> Result<Vec<bool>> {
    let flags = |ready| match ready {
        Ready::ToRead => PollFlags::IN,
        Ready::ToWrite => PollFlags::OUT,
        Ready::Gone => PollFlags::empty(),
    };
    let mut polls: Vec<PollFd<'_>> = fds.iter().map(|(fd, ready)| PollFd::new(fd, flags(*ready))).collect();
    // A timeout that no timespec can hold is as good as none.
    let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
    match rustix::event::poll(&mut polls, timeout.as_ref()) {
        Ok(_) => Ok(polls.iter().map(|poll| !poll.revents().is_empty()).collect()),
        // Something happened: the caller looks and comes back.
        Err(Errno::INTR) => Ok(vec![false; fds.len()]),
        Err(errno) => Err(Error::new("poll", format!("{} fds", fds.len()), errno)),
    }
}

/// The set of these signals, as libc has it.
fn set_of(signals: &[Signal]) -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: `sigemptyset` writes the whole set, so it is initialized afterwards; `sigaddset` changes it in place and
    // refuses numbers that are none.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in signals {
            libc::sigaddset(set.as_mut_ptr(), signal.as_raw());
        }
        set.assume_init()
    }
}

/// The head of `struct signalfd_siginfo`.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Record {
    number: u32,
    errno: i32,
    code: i32,
    pid: u32,
}

impl Record {
    fn received(&self) -> Received {
        let number = self.number.cast_signed();
        let origin = match self.code {
            libc::SI_USER | libc::SI_QUEUE | libc::SI_TKILL => Origin::Process { pid: self.pid },
            // The codes of SIGCHLD are positive numbers of its own.
            _ if number == libc::SIGCHLD && self.code > 0 => Origin::Child { pid: self.pid },
            _ => Origin::Kernel,
        };
        Received { number, origin }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_on_the_terminal_is_told_from_a_signal_that_was_sent() {
        const SI_KERNEL: i32 = 0x80;
        let origin =
            |number: i32, code| Record { number: number.cast_unsigned(), errno: 0, code, pid: 42 }.received().origin;
        assert_eq!(origin(libc::SIGINT, SI_KERNEL), Origin::Kernel);
        assert_eq!(origin(libc::SIGINT, libc::SI_USER), Origin::Process { pid: 42 });
        assert_eq!(origin(libc::SIGTERM, libc::SI_TKILL), Origin::Process { pid: 42 });
        assert_eq!(origin(libc::SIGCHLD, libc::CLD_EXITED), Origin::Child { pid: 42 });
    }
}
