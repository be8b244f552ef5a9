//! The one door: every call to the kernel that changes something passes here.
//!
//! It does nothing but call. That all of them pass is what matters: whoever wants to know what happens when the n-th
//! call fails, or when the process dies before or after it, has one place to stand.

use rustix::io::Errno;

/// What is being called, for whoever watches the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Call {
    /// A bpf(2) command, by its number.
    Bpf(u32),
    /// A change of the file system, or the opening of a state directory.
    File(&'static str),
    /// A lock on a directory.
    Lock,
    /// A message to netlink that changes something.
    Netlink,
    /// Taking a file descriptor from another process.
    TakeFd,
    /// Starting, signalling or changing a process.
    Process(&'static str),
}

/// Makes the call.
#[inline]
pub(crate) fn through<T>(_call: Call, make: impl FnOnce() -> Result<T, Errno>) -> Result<T, Errno> {
    make()
}
