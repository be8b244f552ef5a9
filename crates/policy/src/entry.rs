//! A binding together with where it came from.

use std::fmt;
use std::sync::Arc;

use crate::binding::Binding;
use crate::problem::Printable;

/// Where a binding was written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// A policy file.
    File {
        /// The path as the user gave it.
        path: Arc<str>,
        /// Counted from 1.
        line: u32,
    },
    /// A command line, such as `sklookup bind web tcp 192.0.2.0/24 80`.
    Command(Arc<str>),
}

/// The living `run` that a binding belongs to. The numbers together name a process for good: a pid alone is reused, and
/// each pid namespace counts its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner {
    /// The process id, in the process's own pid namespace.
    pub pid: u32,
    /// When it started, in clock ticks since boot (field 22 of `/proc/PID/stat`).
    pub start: u64,
    /// Inode of that pid namespace; `None` where a version wrote it that did not say.
    pub pid_namespace: Option<u32>,
}

/// One binding of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it says.
    pub binding: Binding,
    /// Where that was written.
    pub origin: Origin,
    /// The process it lives with; `None` for a binding that stays until it is removed.
    pub owner: Option<Owner>,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line } => write!(f, "{}:{line}", Printable(path)),
            Self::Command(command) => write!(f, "`{}`", Printable(command)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_shown_as_the_user_would_type_them() {
        let file = Origin::File { path: "policy.toml".into(), line: 7 };
        assert_eq!(file.to_string(), "policy.toml:7");
        let command = Origin::Command("sklookup bind web tcp ::/0\n".into());
        assert_eq!(command.to_string(), "`sklookup bind web tcp ::/0\\n`");
    }

    #[test]
    fn an_entry_stays_small_for_there_may_be_a_million() {
        assert!(size_of::<Entry>() <= 144, "{}", size_of::<Entry>());
    }
}
