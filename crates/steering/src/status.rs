//! What is in effect, and what is wrong with it: the answer of `status`.
//!
//! A [`Status`] is what could be seen at one moment. What the caller may not see is named in [`Status::unseen`] and never
//! guessed. [`Status::findings`] says what is dead or missing, [`Status::against_file`] and [`Status::against_page`] what is not as
//! a policy file or the history has it.

mod drift;
mod findings;
mod observe;

use std::net::SocketAddr;
use std::path::PathBuf;

use sklookup_compiler::{Counts, Family};
use sklookup_kernel::ProgramInfo;
use sklookup_policy::{Interface, Label, Owner, Protocol};

use crate::record::Record;
use crate::registration::Registered;
use crate::sums::Sum;

pub use findings::{Finding, Kind};
pub(crate) use observe::Around;

/// What can be seen of the steering of a network namespace.
#[derive(Debug)]
pub struct Status {
    /// The namespace, as the user named it.
    pub netns: String,
    /// Its inode.
    pub inode: u64,
    /// What sklookup does there.
    pub steering: Steering,
    /// Every program on the hook, in the order in which they run; `None` if we may not ask.
    pub programs: Option<Vec<Attached>>,
    /// What is left of commands that were killed; the next command that changes something sweeps it up.
    pub litter: Vec<String>,
    /// What could not be seen.
    pub unseen: Vec<Unseen>,
}

/// What sklookup does in a namespace.
#[derive(Debug)]
pub enum Steering {
    /// Nothing: no link of ours is alive.
    Nothing,
    /// Something, but its policy may not be read.
    Hidden {
        /// Which generation, as far as can be told.
        generation: Option<u32>,
    },
    /// This.
    Live(Box<InEffect>),
    /// Our link is alive and runs a program that is no generation of ours.
    Replaced {
        /// Id of the link.
        link: u32,
        /// Id of the program.
        program: u32,
        /// Where the link is pinned.
        dir: PathBuf,
    },
}

/// A generation in effect, with what was found around it.
#[derive(Debug)]
pub struct InEffect {
    /// Id of the link; `None` if it may not be opened.
    pub link: Option<u32>,
    /// Id of the program, which names the generation.
    pub generation: u32,
    /// Id of the program that is pinned in its directory: the same, unless somebody exchanged the pin.
    pub pinned: u32,
    /// What the generation says about itself.
    pub record: Record,
    /// Digest of the policy.
    pub digest: String,
    /// What was counted for each binding, in the order of the policy.
    pub counts: Vec<Counts>,
    /// What all bindings counted.
    pub total: Sum,
    /// What the bindings that pass counted.
    pub pass: Sum,
    /// What the bindings that refuse counted.
    pub refuse: Sum,
    /// The labels, sorted.
    pub labels: Vec<LabelStatus>,
    /// What the names of interfaces mean now.
    pub interfaces: Vec<InterfaceStatus>,
    /// The `run` commands that bindings belong to.
    pub runs: Vec<RunStatus>,
}

/// A label and its sockets.
#[derive(Debug)]
pub struct LabelStatus {
    /// The label.
    pub label: Label,
    /// The bindings that name it, and what they counted.
    pub sum: Sum,
    /// Its sockets, in the order in which they are tried.
    pub sockets: Vec<SocketStatus>,
    /// What is steered to it in vain.
    pub missing: Vec<Missing>,
}

/// Packets that a label's bindings match and that no socket of its can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Their protocol.
    pub protocol: Protocol,
    /// Their family.
    pub family: Family,
    /// How many bindings refuse them.
    pub refused: usize,
    /// How many bindings leave them to the regular lookup.
    pub passed: usize,
}

/// A socket in a slot of a label.
#[derive(Debug)]
pub struct SocketStatus {
    /// The slot, with the socket's cookie.
    pub slot: Registered,
    /// Its local address, where it is known.
    pub local: Option<SocketAddr>,
    /// The processes that hold it, as far as could be seen.
    pub owners: Vec<SocketOwner>,
    /// Whether it takes packets.
    pub health: Health,
}

/// A process that holds a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketOwner {
    /// Its pid.
    pub pid: u32,
    /// Its name, as it is: any bytes.
    pub name: String,
    /// The systemd unit it runs in.
    pub unit: Option<String>,
}

/// Whether a registered socket can be selected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// It can.
    Selectable,
    /// Not any more, and why.
    Dead(String),
    /// The sockets of the namespace could not be seen.
    Unknown,
}

/// An interface that bindings name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceStatus {
    /// The name.
    pub name: Interface,
    /// The index it had when the policy was applied: what bindings match.
    pub applied: u32,
    /// The index it has now; `None`: there is no interface of this name.
    pub now: Option<u32>,
}

/// A `run` that bindings belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunStatus {
    /// Which process.
    pub owner: Owner,
    /// How many bindings are its own.
    pub bindings: usize,
    /// Whether it still runs.
    pub alive: bool,
}

/// A program on the hook.
#[derive(Clone, Debug)]
pub struct Attached {
    /// Its id.
    pub id: u32,
    /// Whether it is the generation in effect.
    pub ours: bool,
    /// What the kernel knows about it; `None` if we may not ask.
    pub info: Option<ProgramInfo>,
}

/// The programs on the hook of a namespace, whoever attached them.
#[derive(Clone, Debug, Default)]
pub struct Hook {
    /// In the order in which they run; `None` if we may not ask.
    pub programs: Option<Vec<Attached>>,
    /// What of them could not be seen.
    pub unseen: Vec<Unseen>,
}

/// Something that could not be seen, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unseen {
    /// What.
    pub what: &'static str,
    /// Why not, with what it takes where that is known.
    pub why: String,
}

impl Status {
    /// What is in effect, where that can be seen.
    pub fn in_effect(&self) -> Option<&InEffect> {
        match &self.steering {
            Steering::Live(in_effect) => Some(in_effect),
            Steering::Nothing | Steering::Hidden { .. } | Steering::Replaced { .. } => None,
        }
    }
}

impl SocketStatus {
    /// Whether packets of its slot can, as far as is known, be given to it.
    fn serves(&self, packets: (Protocol, Family)) -> bool {
        (self.slot.protocol, self.slot.family) == packets && !matches!(self.health, Health::Dead(_))
    }
}
