//! What a call to the kernel failed with: the call, the object, the errno.

use std::fmt;

pub use rustix::io::Errno;

/// Results of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// A system call that failed.
///
/// Shown as `update link /sys/fs/bpf/x/link: operation not permitted (EPERM)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    call: &'static str,
    object: String,
    errno: Errno,
}

impl Error {
    /// The failure of `call`, by its C name (`BPF_LINK_UPDATE`, `mkdir`), on `object`, as a person knows it (a path, a
    /// name, a pid).
    pub fn new(call: &'static str, object: impl Into<String>, errno: Errno) -> Error {
        Error { call, object: object.into(), errno }
    }

    /// The call by its C name.
    pub fn call(&self) -> &'static str {
        self.call
    }

    /// What it was called on.
    pub fn object(&self) -> &str {
        &self.object
    }

    /// What the kernel answered, unchanged.
    pub fn errno(&self) -> Errno {
        self.errno
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", in_words(self.call), self.object, Explained(self.errno))
    }
}

impl std::error::Error for Error {}

/// A call that failed, before anyone said on which object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) call: &'static str,
    pub(crate) errno: Errno,
}

impl Failure {
    /// The error of the call on this object.
    pub(crate) fn on(self, object: impl Into<String>) -> Error {
        Error::new(self.call, object, self.errno)
    }
}

/// The errno that the libc call just made on this thread left behind.
pub(crate) fn last_errno() -> Errno {
    errno_of(&std::io::Error::last_os_error())
}

/// The errno of an error of std's file functions; EIO for what std made up itself, such as text that is not UTF-8.
pub(crate) fn errno_of(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

/// An errno as text: `no such file or directory (ENOENT)`.
pub(crate) struct Explained(pub(crate) Errno);

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.0.raw_os_error();
        if number == ENOTSUPP {
            return write!(f, "not supported by this kernel (ENOTSUPP)");
        }
        let text = std::io::Error::from(self.0).to_string();
        let words = text.split(" (os error").next().unwrap_or(&text);
        let mut chars = words.chars();
        let first = chars.next().map(|c| c.to_lowercase().to_string()).unwrap_or_default();
        match errno_name(self.0) {
            Some(name) => write!(f, "{first}{} ({name})", chars.as_str()),
            None => write!(f, "{first}{} (errno {number})", chars.as_str()),
        }
    }
}

/// The kernel's internal "not supported", which bpf(2) leaks to user space; libc has no name for it.
const ENOTSUPP: i32 = 524;

/// What an operation is called that an old kernel doesn't know at all ([`Errno`] has no name for it either).
pub(crate) const NOT_SUPPORTED: Errno = Errno::from_raw_os_error(ENOTSUPP);

/// The C name of an errno: `EPERM`. `None` for those that no call of ours is known to answer.
pub fn errno_name(errno: Errno) -> Option<&'static str> {
    ERRNO_NAMES.iter().find(|(number, _)| *number == errno.raw_os_error()).map(|(_, name)| *name)
}

/// The errno of this C name.
#[cfg(feature = "fault-door")]
pub(crate) fn errno_named(name: &str) -> Option<Errno> {
    let (number, _) = ERRNO_NAMES.iter().find(|(_, known)| *known == name)?;
    Some(Errno::from_raw_os_error(*number))
}

macro_rules! errno_names {
    ($($name:ident)*) => { &[$((libc::$name, stringify!($name))),*] };
}

const ERRNO_NAMES: &[(i32, &str)] = errno_names! {
    E2BIG EACCES EADDRINUSE EADDRNOTAVAIL EAFNOSUPPORT EAGAIN EBADF EBUSY ECANCELED ECHILD ECONNREFUSED ECONNRESET
    EEXIST EFAULT EFBIG EHOSTUNREACH EINTR EINVAL EIO EISCONN EISDIR ELOOP EMFILE EMLINK EMSGSIZE ENAMETOOLONG
    ENETDOWN ENETUNREACH ENFILE ENOBUFS ENODATA ENODEV ENOENT ENOEXEC ENOLCK ENOLINK ENOMEM ENOPROTOOPT ENOSPC ENOSYS
    ENOTBLK ENOTCONN ENOTDIR ENOTEMPTY ENOTSOCK ENOTTY ENXIO EOPNOTSUPP EOVERFLOW EPERM EPIPE EPROTO
    EPROTONOSUPPORT EPROTOTYPE ERANGE EROFS ESOCKTNOSUPPORT ESPIPE ESRCH ESTALE ETIMEDOUT ETXTBSY EUSERS EXDEV
};

/// A call as a person would say it; calls that are missing here read well enough by their own name.
fn in_words(call: &'static str) -> &'static str {
    match call {
        "BPF_MAP_CREATE" => "create map",
        "BPF_MAP_LOOKUP_ELEM" | "BPF_MAP_LOOKUP_BATCH" => "read map",
        "BPF_MAP_UPDATE_ELEM" | "BPF_MAP_UPDATE_BATCH" => "write map",
        "BPF_MAP_DELETE_ELEM" => "delete from map",
        "BPF_MAP_LOOKUP_AND_DELETE_ELEM" => "take from map",
        "BPF_MAP_FREEZE" => "freeze map",
        "BPF_PROG_LOAD" => "load program",
        "BPF_BTF_LOAD" => "load the types of",
        "BPF_PROG_TEST_RUN" => "test-run program",
        "BPF_PROG_BIND_MAP" => "bind map to program",
        "BPF_PROG_GET_FD_BY_ID" => "open program",
        "BPF_MAP_GET_NEXT_ID" | "BPF_PROG_GET_NEXT_ID" | "BPF_LINK_GET_NEXT_ID" => "look for",
        "BPF_PROG_QUERY" => "list the programs attached to",
        "BPF_OBJ_PIN" => "pin",
        "BPF_OBJ_GET" => "open pin",
        "BPF_OBJ_GET_INFO_BY_FD" => "inspect",
        "BPF_LINK_CREATE" => "attach",
        "BPF_LINK_UPDATE" => "update link",
        "BPF_LINK_DETACH" => "detach link",
        "mkdir" => "create directory",
        "rmdir" => "remove directory",
        "unlink" => "remove",
        "flock" => "lock",
        "chmod" => "set the mode of",
        "chown" => "set the owner of",
        "getdents" => "list",
        "readlink" => "read link",
        "pidfd_open" => "open",
        "pidfd_getfd" => "take",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_was_tried_on_what_and_how_it_ended() {
        let error = Error::new("BPF_LINK_UPDATE", "/sys/fs/bpf/x/link", Errno::PERM);
        assert_eq!(error.to_string(), "update link /sys/fs/bpf/x/link: operation not permitted (EPERM)");
    }

    #[test]
    fn an_errno_that_libc_does_not_know_is_explained_too() {
        assert_eq!(Explained(NOT_SUPPORTED).to_string(), "not supported by this kernel (ENOTSUPP)");
        assert!(Explained(Errno::from_raw_os_error(999)).to_string().ends_with("(errno 999)"));
    }
}
