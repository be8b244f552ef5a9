//! The sockets that a service manager passes: fds from 3 on, announced in the environment (sd_listen_fds(3)).
//!
//! # Safety
//!
//! An fd number becomes an [`OwnedFd`] here. The caller's duty is the protocol's: it is asked once, before anything else
//! could have opened or taken those numbers.
#![allow(unsafe_code)]

use std::os::fd::{BorrowedFd, OwnedFd};

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
}

/// Duplicates the passed fds.
///
/// # Errors
/// Nothing was passed, or not to us.
pub fn passed() -> Result<Vec<ListenFd>, ListenError> {
    let variable = |name| std::env::var(name).ok();
    let names = variable("LISTEN_FDNAMES").unwrap_or_default();
    let count = count(variable("LISTEN_FDS"), variable("LISTEN_PID"), std::process::id())?;
    let mut names = names.split(':');
    (FIRST..FIRST + count)
        .map(|number| {
            let name = names.next().unwrap_or_default().to_owned();
            // SAFETY: the number is only borrowed for the one call, which answers EBADF if nothing is open there.
            let passed = unsafe { BorrowedFd::borrow_raw(number as i32) };
            match rustix::io::fcntl_dupfd_cloexec(passed, 0) {
                Ok(fd) => Ok(ListenFd { name, number, fd }),
                Err(_) => Err(ListenError::NotOpen { number }),
            }
        })
        .collect()
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
}
