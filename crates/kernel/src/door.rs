//! The one door: every call to the kernel that changes something passes here, and so does all of bpf(2).
//!
//! In what is built for users it does nothing but call. With the feature `fault-door`, which only tests ask for, one call
//! can be told to fail, or the process to die or to stop there: see `fault`. Not everything passes. What a process does
//! to itself alone stays outside: its signal mask, its limits, the flags of its own fds. So do questions, but for those
//! asked by bpf(2).

#[cfg(feature = "fault-door")]
mod fault;

use std::os::fd::BorrowedFd;
use std::path::Path;

use rustix::io::Errno;

/// What a call is made on, for whoever watches the door.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(feature = "fault-door"), allow(dead_code, reason = "only a watched door asks"))]
pub(crate) enum On<'a> {
    /// Something new, or the process itself.
    Nothing,
    /// A path.
    Path(&'a Path),
    /// An open file or an object of the kernel.
    Fd(BorrowedFd<'a>),
    /// What a number stands for, and the number: `pid 7`.
    Number(&'static str, u32),
}

/// Makes the call of this name, by which errors call it too.
#[inline]
pub(crate) fn through<T>(call: &'static str, on: On<'_>, make: impl FnOnce() -> Result<T, Errno>) -> Result<T, Errno> {
    #[cfg(feature = "fault-door")]
    return fault::through(call, on, make);
    #[cfg(not(feature = "fault-door"))]
    {
        let _ = (call, on);
        make()
    }
}

/// Says, inside a call, that it has made this object of the kernel.
#[inline]
pub(crate) fn made(object: BorrowedFd<'_>) {
    #[cfg(feature = "fault-door")]
    fault::made(object);
    #[cfg(not(feature = "fault-door"))]
    let _ = object;
}
