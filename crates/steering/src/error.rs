//! What can go wrong in the control plane, with what to do about it.

use std::path::PathBuf;

use sklookup_compiler::CompileError;
use sklookup_kernel::caps::{self, Cap};
use sklookup_kernel::process::ProcessError;
use sklookup_kernel::{CollectionError, Errno, LoadError, Netns, NetnsError};
use sklookup_policy::{Interface, Label, Problem};
use thiserror::Error;

/// Why a command of the control plane failed. [`Error::help`] says what to do.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// A call to the kernel failed.
    #[error(transparent)]
    Kernel(#[from] sklookup_kernel::Error),
    /// The kernel refused the program.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The namespace could not be entered or asked.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// A process could not be looked at.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The policy is wrong, or conflicts with what is applied.
    #[error("{}", problems(.0))]
    Policy(Vec<Problem>),
    /// The policy can't be compiled.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// A binding names an interface that the namespace does not have.
    #[error("interface {interface}: there is none of this name in {}", in_words(netns))]
    Interface {
        /// The name.
        interface: Interface,
        /// The namespace, as the user named it.
        netns: String,
    },
    /// Where state should lie there is no bpffs.
    #[error("{}: not a bpffs", path.display())]
    NoBpffs {
        /// Where one was expected.
        path: PathBuf,
    },
    /// A state directory is not ours.
    #[error("{}: {why}", path.display())]
    Untrusted {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The state belongs to another user, root perhaps.
    #[error("{}: owned by user {owner}: only its owner can change what is applied", path.display())]
    NotOwner {
        /// The directory.
        path: PathBuf,
        /// User id of its owner.
        owner: u32,
    },
    /// The state is not what any sklookup leaves behind.
    #[error("{}: the state is damaged: {what}", path.display())]
    Damaged {
        /// Where.
        path: PathBuf,
        /// What was expected.
        what: String,
    },
    /// The state was written by a newer sklookup.
    #[error("{}: this state has layout version {version}; this sklookup reads up to {}", path.display(), crate::STATE_VERSION)]
    Newer {
        /// Where.
        path: PathBuf,
        /// The version it has.
        version: u32,
    },
    /// Somebody else holds a lock for too long.
    #[error("{}: locked for more than {seconds} s{}", path.display(), held_by(*.holder))]
    Locked {
        /// The directory.
        path: PathBuf,
        /// How long was waited.
        seconds: u64,
        /// Who holds it, if that could be seen.
        holder: Option<u32>,
    },
    /// Other writers were faster each time.
    #[error("{}: other commands changed the policy again and again for {seconds} s", in_words(netns))]
    Contended {
        /// The namespace.
        netns: String,
        /// How long was tried.
        seconds: u64,
    },
    /// The link no longer runs a program of ours.
    #[error("{}: something that is not sklookup changed our link; it runs program {program}", in_words(netns))]
    Foreign {
        /// The namespace.
        netns: String,
        /// The program it runs.
        program: u32,
    },
    /// All programs are attached that Linux takes.
    #[error("{}: {} programs are attached, the most that Linux takes (E2BIG)", in_words(netns), crate::MOST_PROGRAMS)]
    Full {
        /// The namespace.
        netns: String,
    },
    /// Another program is attached under the name.
    #[error("{name}: program {program} is attached under this name already")]
    Occupied {
        /// The name.
        name: String,
        /// The program.
        program: u32,
    },
    /// Nothing is attached under the name.
    #[error("{}: no program is attached under the name {name}", in_words(netns))]
    NotAttached {
        /// The namespace.
        netns: String,
        /// The name.
        name: String,
    },
    /// A map that is there can't take the place of one of an object.
    #[error("map {map}: {found}")]
    Map {
        /// The map of the object.
        map: String,
        /// What was found instead.
        found: String,
    },
    /// The network namespace is being destroyed.
    #[error("{}: it is gone", in_words(netns))]
    NetnsGone {
        /// The namespace.
        netns: String,
    },
    /// Nothing is applied in the namespace.
    #[error("{}: sklookup steers nothing here", in_words(netns))]
    NotLoaded {
        /// The namespace.
        netns: String,
    },
    /// No binding names the label, and no socket is registered under it.
    #[error("label {label}: no binding names it and no socket is registered under it")]
    NoLabel {
        /// The label.
        label: Label,
    },
    /// The label has too many bytes other than letters, digits, `_` and `-` to be a file name.
    #[error(
        "label {label}: too long for a file name: each of . : @ / counts as three bytes of {}",
        sklookup_kernel::bpffs::NAME_MAX
    )]
    LongLabel {
        /// The label.
        label: Label,
    },
    /// A call failed when what was asked was in effect already, or part of it.
    #[error("{0}; what was asked is in effect all the same, or part of it")]
    Begun(Box<Error>),
    /// The edit was refused by who made it, in its own words.
    #[error("{0}")]
    Refused(String),
}

impl From<CollectionError> for Error {
    fn from(error: CollectionError) -> Error {
        match error {
            CollectionError::Map(error) => error.into(),
            CollectionError::Program(error) => error.into(),
        }
    }
}

impl Error {
    /// What to do about it, where there is something that can be done.
    pub fn help(&self) -> Option<String> {
        Some(match self {
            Error::Interface { .. } => "`ip link` lists the interfaces; make it first, then apply again".to_owned(),
            Error::NoBpffs { path } => format!(
                "mount one: mount -t bpf -o mode=0711 bpf {}; inside `ip netns exec` /sys is fresh and has none: \
                 run sklookup outside with --netns",
                path.display()
            ),
            Error::Untrusted { .. } => {
                "have its owner remove it, or give it mode 0711 if that is all; or name another bpffs with --bpffs"
                    .to_owned()
            }
            Error::NotOwner { owner: 0, .. } => "run this as root: sudo".to_owned(),
            Error::NotOwner { owner, .. } => {
                format!("run this as user {owner}, or keep a state of your own with --bpffs")
            }
            Error::Damaged { .. } => "`sklookup unload` clears it; then apply the policy again".to_owned(),
            Error::Newer { .. } => {
                "use the newer sklookup, or take its steering away: `sklookup unload`, then apply the policy again"
                    .to_owned()
            }
            Error::Locked { holder: Some(pid), .. } => format!("look at that process: ps -p {pid}"),
            Error::Locked { holder: None, .. } | Error::Contended { .. } => "try again".to_owned(),
            Error::Foreign { .. } => {
                "`sklookup status` names what is attached; `sklookup unload`, then apply again, takes the link back"
                    .to_owned()
            }
            Error::Full { .. } => {
                "`sklookup programs` lists them; `sklookup detach NAME`, or --link ID for anybody's, takes one away"
                    .to_owned()
            }
            Error::Occupied { .. } => {
                "--replace puts this one in its place; --name NAME attaches it beside, under another name".to_owned()
            }
            Error::NotAttached { .. } => "`sklookup programs` lists what is attached, by whom".to_owned(),
            Error::NotLoaded { .. } => "`sklookup apply FILE` or `sklookup bind` starts steering".to_owned(),
            Error::NoLabel { .. } => "`sklookup status` lists the labels".to_owned(),
            Error::Kernel(error) if error.errno() == Errno::MFILE => {
                "this process may not open more files; raise the limit: ulimit -n 1024".to_owned()
            }
            Error::Kernel(error) if error.errno() == Errno::ROFS => {
                "the bpffs is mounted read-only; `findmnt -t bpf` shows where: mount -o remount,rw DIR".to_owned()
            }
            Error::Begun(_) => {
                "`sklookup status` shows what is in effect; the same command again completes it".to_owned()
            }
            Error::Kernel(error) if matches!(error.errno(), Errno::PERM | Errno::ACCESS) => rights(),
            Error::Load(error) if matches!(error.errno(), Errno::PERM | Errno::ACCESS) && error.log().is_empty() => {
                rights()
            }
            _ => return None,
        })
    }

    /// The same when what was asked was in effect already, or part of it: who hears of a failure must not believe that
    /// nothing has changed.
    pub(crate) fn begun(self) -> Error {
        Error::Begun(Box::new(self))
    }

    /// Whether somebody else's rights would have been needed.
    pub(crate) fn is_denied(&self) -> bool {
        matches!(self, Error::Kernel(error) if matches!(error.errno(), Errno::PERM | Errno::ACCESS))
    }

    /// Whether something that was looked for in a directory was not there.
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self, Error::Kernel(error) if matches!(error.errno(), Errno::NOENT | Errno::NOTDIR))
    }
}

/// What it takes that we have not.
fn rights() -> String {
    let missing = caps::missing(&[Cap::Bpf, Cap::NetAdmin]).unwrap_or_default();
    if !missing.is_empty() {
        let missing: Vec<String> = missing.iter().map(ToString::to_string).collect();
        return format!("missing: {}; as root: sudo", missing.join(" and "));
    }
    if caps::in_initial_user_namespace() == Some(false) {
        return "bpf(2) counts no capability of this user namespace: run it on the host, with --netns and the pid of a \
                process in here"
            .to_owned();
    }
    "this needs CAP_BPF and CAP_NET_ADMIN, and a bpffs directory you own; as root: sudo".to_owned()
}

/// A namespace, by what the user calls it.
fn in_words(netns: &str) -> String {
    if netns == Netns::OWN { netns.to_owned() } else { format!("netns {netns}") }
}

fn problems(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn held_by(pid: Option<u32>) -> String {
    pid.map_or_else(|| ", the holder could not be seen".to_owned(), |pid| format!(" by process {pid}"))
}
