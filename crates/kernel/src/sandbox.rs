//! A place to try things: namespaces of its own for network and mounts, which vanish with the last thread inside.

use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags};
use rustix::thread::UnshareFlags;

use crate::door::{self, On};
use crate::error::{Error, Explained};
use crate::interface;
use crate::netns::{Netns, NetnsError, on_scratch_thread, unshare};

/// Where the sandbox's own bpffs is mounted: the place everyone expects it.
const BPFFS: &str = "/sys/fs/bpf";

/// Where the sandbox has an empty tmpfs: named namespaces and other traces of a running system stay outside.
const RUN: &str = "/run";

/// Where another empty tmpfs is, if there is such a directory: what commands keep on disk stays inside.
const LIB: &str = "/var/lib";

/// What a thread inside finds.
#[derive(Debug)]
pub struct Sandbox {
    /// Its network namespace: nothing but loopback, which is up.
    pub netns: Netns,
    /// An empty bpffs of its own, mode 0755.
    pub bpffs: PathBuf,
    /// An empty tmpfs of its own, over `/run`.
    pub scratch: PathBuf,
}

/// Why there is no sandbox.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// Namespaces of its own could not be had.
    #[error("unshare network and mounts: {}{}", Explained(*.errno), if *.errno == Errno::PERM { "; needs CAP_SYS_ADMIN" } else { "" })]
    Unshare {
        /// Why.
        errno: Errno,
    },
    /// A mount failed.
    #[error("mount {kind} on {path}: {}", Explained(*.errno))]
    Mount {
        /// File system, or what was to be changed.
        kind: &'static str,
        /// Where.
        path: PathBuf,
        /// Why.
        errno: Errno,
    },
    /// Loopback could not be set up.
    #[error(transparent)]
    Loopback(#[from] Error),
    /// The new namespace could not be opened.
    #[error(transparent)]
    Netns(#[from] NetnsError),
}

/// Runs `f` in a new sandbox, on a thread of its own. Processes it starts are inside too.
///
/// # Panics
///
/// When `f` does.
pub fn in_sandbox<T: Send>(f: impl FnOnce(&Sandbox) -> T + Send) -> Result<T, SandboxError> {
    on_scratch_thread(|| {
        let sandbox = enter()?;
        Ok(f(&sandbox))
    })
}

fn enter() -> Result<Sandbox, SandboxError> {
    unshare(UnshareFlags::NEWNET | UnshareFlags::NEWNS).map_err(|errno| SandboxError::Unshare { errno })?;
    // Private first: else the mounts below would show up outside.
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    door::through("mount", On::Path(Path::new("/")), || rustix::mount::mount_change("/", private))
        .map_err(|errno| SandboxError::Mount { kind: "private", path: "/".into(), errno })?;
    mount("bpf", BPFFS, c"mode=0755")?;
    mount("tmpfs", RUN, c"mode=0755")?;
    match mount("tmpfs", LIB, c"mode=0755") {
        Err(SandboxError::Mount { errno: Errno::NOENT, .. }) => {}
        mounted => mounted?,
    }
    interface::set_up(interface::LOOPBACK)?;
    Ok(Sandbox { netns: Netns::current()?, bpffs: BPFFS.into(), scratch: RUN.into() })
}

fn mount(kind: &'static str, path: &str, options: &std::ffi::CStr) -> Result<(), SandboxError> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    door::through("mount", On::Path(Path::new(path)), || rustix::mount::mount(kind, path, kind, flags, Some(options)))
        .map_err(|errno| SandboxError::Mount { kind, path: Path::new(path).to_owned(), errno })
}
