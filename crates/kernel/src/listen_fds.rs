//! The sockets that a service manager passes: fds from 3 on, announced in the environment (sd_listen_fds(3)).
//!
//! # Safety
//!
//! Only fds that `fcntl` has just made for us become an [`OwnedFd`]. The announced numbers are never owned, borrowed or
//! closed: they are only named to the kernel, which answers `EBADF` where nothing is open. That what is open there was
//! passed, and was not opened by ourselves since, nobody can tell later: hence [`passed`] is called before anything opens
//! an fd.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

/// The first passed fd.
pub const FIRST: u32 = 3;

/// More than any service has: a count beyond it is not believed.
const MOST: u32 = 4096;

/// An fd that was passed, and the name that the unit gave it.
#[derive(Debug)]
pub struct ListenFd {
    /// `FileDescriptorName=`; empty if there is none.
    pub name: String,
    /// Its number.
    pub number: u32,
    /// A duplicate of it, close-on-exec.
    pub fd: OwnedFd,
}

/// Why nothing was passed to us.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListenError {
    /// The variable that counts them is not set.
    #[error("LISTEN_FDS is not set: nothing was passed")]
    NotSet,
    /// A variable has a value that no service manager gives it.
    #[error("{variable}={value:?} is not a number of this protocol")]
    Unreadable {
        /// The variable.
        variable: &'static str,
        /// Its value.
        value: String,
    },
    /// They are meant for another process.
    #[error("LISTEN_PID is {pid}, we are {own}: the sockets were passed to another process")]
    OtherProcess {
        /// Whom they are meant for.
        pid: u32,
        /// Us.
        own: u32,
    },
    /// An announced fd is not open.
    #[error("fd {number} was announced and is not open")]
    NotOpen {
        /// Its number.
        number: u32,
    },
    /// There is no room for a duplicate.
    #[error("fd {number} can't be duplicated: {why}")]
    NoRoom {
        /// Its number.
        number: u32,
        /// What the kernel answered.
        why: String,
    },
}

/// Duplicates the passed fds. To be called before this process opens any fd: what it opens takes the first free number, and
/// where fewer fds were passed than announced that would be one of them.
///
/// # Errors
/// Nothing was passed, or not to us, or less than was announced.
pub fn passed() -> Result<Vec<ListenFd>, ListenError> {
    let variable = |name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
    let names = variable("LISTEN_FDNAMES").unwrap_or_default();
    let count = count(variable("LISTEN_FDS"), variable("LISTEN_PID"), std::process::id())?;
    let mut names = names.split(':');
    (FIRST..FIRST + count)
        .map(|number| {
            let name = names.next().unwrap_or_default().to_owned();
            // Beyond all that were announced: a duplicate of the first should not be taken for the second.
            Ok(ListenFd { name, number, fd: duplicate(number, FIRST + count)? })
        })
        .collect()
}

/// A duplicate of the fd of this number; its own is at least `lowest`.
fn duplicate(number: u32, lowest: u32) -> Result<OwnedFd, ListenError> {
    // SAFETY: `F_DUPFD_CLOEXEC` takes two numbers and touches no memory and no fd but the one it makes.
    let fd = unsafe { libc::fcntl(number as libc::c_int, libc::F_DUPFD_CLOEXEC, lowest as libc::c_int) };
    if fd < 0 {
        let error = io::Error::last_os_error();
        return Err(match error.raw_os_error() {
            Some(libc::EBADF) => ListenError::NotOpen { number },
            _ => ListenError::NoRoom { number, why: error.to_string() },
        });
    }
    // SAFETY: `fcntl` has just made it, so nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn count(fds: Option<String>, pid: Option<String>, own: u32) -> Result<u32, ListenError> {
    let number = |variable, value: String| value.parse().map_err(|_| ListenError::Unreadable { variable, value });
    let fds = fds.ok_or(ListenError::NotSet)?;
    // Without a pid anybody's child would take them for its own.
    let pid = pid.ok_or(ListenError::NotSet).and_then(|pid| number("LISTEN_PID", pid))?;
    if pid != own {
        return Err(ListenError::OtherProcess { pid, own });
    }
    match number("LISTEN_FDS", fds.clone())? {
        0 => Err(ListenError::NotSet),
        count if count > MOST => Err(ListenError::Unreadable { variable: "LISTEN_FDS", value: fds }),
        count => Ok(count),
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn sockets_passed_to_another_process_are_not_ours() {
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(count(text("2"), text("77"), 77), Ok(2));
        assert_eq!(count(text("2"), text("78"), 77), Err(ListenError::OtherProcess { pid: 78, own: 77 }));
        assert_eq!(count(text("2"), None, 77), Err(ListenError::NotSet));
        assert_eq!(count(None, text("77"), 77), Err(ListenError::NotSet));
        assert!(matches!(count(text("-1"), text("77"), 77), Err(ListenError::Unreadable { .. })));
        assert!(matches!(count(text("100000"), text("77"), 77), Err(ListenError::Unreadable { .. })));
    }

    #[test]
    fn a_number_that_is_not_open_is_said() {
        let beyond = 1 << 30;
        assert_eq!(duplicate(beyond, FIRST).unwrap_err(), ListenError::NotOpen { number: beyond });
    }

    #[test]
    fn a_duplicate_takes_no_announced_number() {
        assert!(duplicate(0, 40).unwrap().as_raw_fd() >= 40);
    }
}
