//! What an operation failed with: the operation, the object, the errno that Linux gives.

use std::fmt;

pub use sklookup_vm::Errno;

/// Results of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// An operation that failed as it fails on Linux.
///
/// Shown as `update link of program 7: operation not permitted (EPERM)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    call: &'static str,
    object: String,
    errno: Errno,
}

impl Error {
    /// The failure of `call`, by its C name (`BPF_LINK_UPDATE`, `bind`), on `object`, as a person knows it.
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

    /// What Linux answers.
    pub fn errno(&self) -> Errno {
        self.errno
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", in_words(self.call), self.object, self.errno)
    }
}

impl std::error::Error for Error {}

/// A call as a person would say it.
fn in_words(call: &'static str) -> &'static str {
    match call {
        "BPF_MAP_CREATE" => "create map",
        "BPF_MAP_LOOKUP_ELEM" => "read map",
        "BPF_MAP_UPDATE_ELEM" | "BPF_MAP_UPDATE_BATCH" => "write map",
        "BPF_MAP_DELETE_ELEM" => "delete from map",
        "BPF_MAP_LOOKUP_AND_DELETE_ELEM" => "take from map",
        "BPF_MAP_GET_NEXT_KEY" => "list the keys of map",
        "BPF_MAP_FREEZE" => "freeze map",
        "BPF_PROG_TEST_RUN" => "test-run program",
        "BPF_LINK_CREATE" => "attach",
        "BPF_PROG_QUERY" => "list the programs attached to",
        "BPF_LINK_UPDATE" => "update link",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_was_tried_on_what_and_how_it_ended() {
        let error = Error::new("BPF_LINK_UPDATE", "of program 7", Errno::PERM);
        assert_eq!(error.to_string(), "update link of program 7: operation not permitted (EPERM)");
    }
}
