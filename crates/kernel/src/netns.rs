//! Network namespaces: opening them by what a person types, and running code inside.
//!
//! A namespace belongs to a thread, so [`Netns::run`] enters on a thread of its own and throws that thread away: there is
//! no way back that could fail.
//!
//! # Safety
//!
//! Two calls are unsafe here. The ioctl `NS_GET_NSTYPE` takes no argument and only reads. `unshare` is unsafe for
//! `CLONE_FILES` alone, which is never passed.
#![allow(unsafe_code)]

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::thread::{LinkNameSpaceType, UnshareFlags};

use crate::door::{self, On};
use crate::error::Explained;
use crate::interface;

/// Where `ip netns` keeps names, in the order we look.
const NAMED: [&str; 2] = ["/run/netns", "/var/run/netns"];

/// Inode of the namespace that the kernel makes first (`NET_NS_INIT_INO`, since 6.18); on older kernels nobody's.
const FIRST: u64 = 0xefff_fff9;

/// `NSFS_MAGIC`.
const NSFS: u32 = 0x6e73_6673;

/// A network namespace, kept alive by this handle.
#[derive(Debug)]
pub struct Netns {
    fd: OwnedFd,
    inode: u64,
    name: String,
}

/// Why a namespace could not be had.
#[derive(Debug, thiserror::Error)]
pub enum NetnsError {
    /// No namespace of this name.
    #[error("no network namespace is named {name:?} (looked in /run/netns and /var/run/netns)")]
    NoName {
        /// As typed.
        name: String,
    },
    /// No such file.
    #[error("network namespace {path}: no such file")]
    NoFile {
        /// As typed.
        path: PathBuf,
    },
    /// No such process, or it has ended.
    #[error("network namespace of pid {pid}: {}", if *.ended { "the process has ended" } else { "no such process" })]
    NoProcess {
        /// As typed.
        pid: String,
        /// It is still listed (a zombie), but holds no namespace any more.
        ended: bool,
    },
    /// The file is something else.
    #[error("{path} is not a network namespace{}", if *.other { ", but another kind of namespace" } else { "" })]
    NotNetns {
        /// As typed, or where it was found.
        path: PathBuf,
        /// It is a namespace at least.
        other: bool,
    },
    /// Opening failed for another reason, mostly for want of rights.
    #[error("open network namespace {path}: {}{}", Explained(*.errno), hint(*.errno, "another user's process needs CAP_SYS_PTRACE"))]
    Open {
        /// What was opened.
        path: PathBuf,
        /// Why it failed.
        errno: Errno,
    },
    /// Entering failed.
    #[error("enter network namespace {name}: {}{}", Explained(*.errno), hint(*.errno, "setns needs CAP_SYS_ADMIN"))]
    Enter {
        /// The namespace, as typed.
        name: String,
        /// Why it failed.
        errno: Errno,
    },
    /// Making a new one failed.
    #[error("make a network namespace: {}{}", Explained(*.errno), hint(*.errno, "unshare needs CAP_SYS_ADMIN"))]
    Create {
        /// Why it failed.
        errno: Errno,
    },
}

fn names_in(directory: &Path) -> Vec<String> {
    let listed = std::fs::read_dir(directory).into_iter().flatten();
    listed.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()
}

impl Netns {
    /// How the namespace of the caller describes itself.
    pub const OWN: &str = "this network namespace";

    /// The namespace of the calling thread.
    pub fn current() -> Result<Netns, NetnsError> {
        Netns::from_path(Path::new("/proc/thread-self/ns/net"), Netns::OWN.to_owned())
    }

    /// Opens what a person typed: a path if it has a `/`, a pid if it is digits, else a name that `ip netns` knows.
    pub fn open(spec: &str) -> Result<Netns, NetnsError> {
        if spec.contains('/') {
            return Netns::from_path(Path::new(spec), spec.to_owned());
        }
        if !spec.is_empty() && spec.bytes().all(|b| b.is_ascii_digit()) {
            return Netns::of_process(spec);
        }
        // `ip netns` takes neither; joined to the directory they would name the directory itself.
        if !["", ".", ".."].contains(&spec) {
            for directory in NAMED {
                match Netns::from_path(&Path::new(directory).join(spec), spec.to_owned()) {
                    Err(NetnsError::NoFile { .. }) => {}
                    found => return found,
                }
            }
        }
        Err(NetnsError::NoName { name: spec.to_owned() })
    }

    /// Makes a new one that lives as long as somebody holds it, with its loopback up.
    pub fn new_private() -> Result<Netns, NetnsError> {
        on_scratch_thread(|| {
            unshare(UnshareFlags::NEWNET).map_err(|errno| NetnsError::Create { errno })?;
            interface::set_up(interface::LOOPBACK).map_err(|error| NetnsError::Create { errno: error.errno() })?;
            let made = Netns::current()?;
            Ok(Netns { name: format!("private:{}", made.inode), ..made })
        })
    }

    /// Its inode: no two living namespaces share one.
    pub fn inode(&self) -> u64 {
        self.inode
    }

    /// Whether the calling thread is in it.
    pub fn is_current(&self) -> bool {
        Netns::current().is_ok_and(|current| current.inode == self.inode)
    }

    /// What was typed to open it.
    pub fn describe(&self) -> &str {
        &self.name
    }

    /// Whether the system booted in it; in a container with a pid namespace of its own: whether that one did.
    ///
    /// It is the one of pid 1. Who may not look at that still knows the one that the kernel made first, since 6.18.
    pub fn is_of_the_system(&self) -> bool {
        Netns::open("1").map_or(self.inode == FIRST, |first| first.inode == self.inode)
    }

    /// The names by which `ip netns` knows namespaces, sorted.
    pub fn names() -> Vec<String> {
        let mut names: Vec<String> = NAMED.iter().flat_map(|directory| names_in(Path::new(directory))).collect();
        names.sort_unstable();
        // One directory is a link to the other, mostly.
        names.dedup();
        names
    }

    /// A name by which `ip netns` knows it: the one that was typed, or the first.
    pub fn known_as(&self) -> Option<String> {
        let of_this = |directory: &Path, name: &str| {
            let path = directory.join(name);
            Netns::from_path(&path, name.to_owned()).is_ok_and(|found| found.inode == self.inode)
        };
        NAMED.iter().map(Path::new).find_map(|directory| {
            let mut names = names_in(directory);
            names.sort_unstable_by_key(|name| (*name != self.name, name.clone()));
            names.into_iter().find(|name| of_this(directory, name))
        })
    }

    /// Runs `f` inside, on a thread of its own; on this thread if it is in there already, which takes no rights.
    ///
    /// # Panics
    ///
    /// When `f` does.
    pub fn run<T: Send>(&self, f: impl FnOnce() -> T + Send) -> Result<T, NetnsError> {
        if self.is_current() {
            return Ok(f());
        }
        on_scratch_thread(|| {
            self.enter()?;
            Ok(f())
        })
    }

    /// Moves the calling thread in, for good; threads that it starts later are inside too. Sockets that are open stay in
    /// the namespace they were made in.
    ///
    /// # Errors
    /// EPERM without CAP_SYS_ADMIN.
    #[doc(alias = "setns")]
    pub fn enter(&self) -> Result<(), NetnsError> {
        let network = Some(LinkNameSpaceType::Network);
        door::through("setns", On::Fd(self.fd.as_fd()), || {
            rustix::thread::move_into_link_name_space(self.fd.as_fd(), network)
        })
        .map_err(|errno| NetnsError::Enter { name: self.name.clone(), errno })
    }

    fn of_process(pid: &str) -> Result<Netns, NetnsError> {
        let process = Path::new("/proc").join(pid);
        match Netns::from_path(&process.join("ns/net"), pid.to_owned()) {
            // A zombie is still listed, but its namespaces are given back.
            Err(NetnsError::NoFile { .. }) => {
                Err(NetnsError::NoProcess { pid: pid.to_owned(), ended: process.exists() })
            }
            // It ended between the two.
            Err(NetnsError::Open { errno: Errno::SRCH, .. }) => {
                Err(NetnsError::NoProcess { pid: pid.to_owned(), ended: true })
            }
            found => found,
        }
    }

    fn from_path(path: &Path, name: String) -> Result<Netns, NetnsError> {
        let fail = |errno| match errno {
            Errno::NOENT | Errno::NOTDIR => NetnsError::NoFile { path: path.to_owned() },
            errno => NetnsError::Open { path: path.to_owned(), errno },
        };
        // O_NONBLOCK: a path may name anything, and a FIFO would keep us waiting.
        let fd =
            rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty()).map_err(fail)?;
        let magic = rustix::fs::fstatfs(&fd).map_err(fail)?.f_type;
        if u32::try_from(magic) != Ok(NSFS) {
            return Err(NetnsError::NotNetns { path: path.to_owned(), other: false });
        }
        if namespace_type(fd.as_fd()).map_err(fail)? != libc::CLONE_NEWNET {
            return Err(NetnsError::NotNetns { path: path.to_owned(), other: true });
        }
        let inode = rustix::fs::fstat(&fd).map_err(fail)?.st_ino;
        Ok(Netns { fd, inode, name })
    }
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Runs `f` on a thread that ends with it; panics pass through.
pub(crate) fn on_scratch_thread<T: Send>(f: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| match scope.spawn(f).join() {
        Ok(value) => value,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

/// Gives the calling thread namespaces of its own. It should be a scratch thread.
pub(crate) fn unshare(flags: UnshareFlags) -> Result<(), Errno> {
    debug_assert!(!flags.contains(UnshareFlags::FILES), "a thread with fds of its own breaks every OwnedFd");
    door::through("unshare", On::Nothing, || {
        // SAFETY: the flags are without `CLONE_FILES`, the only one that can make fds mean two things (asserted above;
        // the callers in this crate pass NEWNET and NEWNS).
        unsafe { rustix::thread::unshare_unsafe(flags) }
    })
}

/// The `CLONE_NEW*` flag of the namespace behind an nsfs file (`NS_GET_NSTYPE`, since 4.11).
fn namespace_type(fd: BorrowedFd<'_>) -> Result<i32, Errno> {
    const NS_GET_NSTYPE: libc::Ioctl = 0xb703; // _IO(0xb7, 3)
    // SAFETY: the request has no argument; it reads the kind of a file that was found to be on nsfs before.
    let kind = unsafe { libc::ioctl(fd.as_raw_fd(), NS_GET_NSTYPE) };
    if kind < 0 { Err(last_errno()) } else { Ok(kind) }
}

/// The errno of the libc call that just failed on this thread.
pub(crate) fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

/// What to add to an error for want of rights.
fn hint(errno: Errno, needs: &str) -> String {
    match errno {
        Errno::PERM | Errno::ACCESS => format!("; {needs}"),
        _ => String::new(),
    }
}
