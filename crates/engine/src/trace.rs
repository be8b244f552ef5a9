//! The steps of a lookup, as data.
//!
//! Recording is asked for with [`Netns::receive_traced`](crate::Netns::receive_traced); otherwise every step compiles to
//! nothing.

use std::fmt;
use std::net::IpAddr;

use sklookup_vm::{Errno, SocketId};

use crate::program::Verdict;

/// The steps of one lookup, in the order in which they were taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// The steps.
    pub steps: Vec<Step>,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The packet as programs see it: the interface of the lookup.
    Interface {
        /// Index, 0 for none.
        index: u32,
    },
    /// The established table was asked for the 4-tuple, or for UDP the table of connected sockets.
    Connected {
        /// The socket found; for a handshake its listener.
        found: Option<SocketId>,
    },
    /// A search among the sockets of one address and port begins.
    Search {
        /// Which of the searches.
        pass: Pass,
        /// The address that sockets have to be bound to.
        address: IpAddr,
    },
    /// A socket of the search was looked at.
    Candidate {
        /// The socket.
        socket: SocketId,
        /// Its score; `None`: it does not match.
        score: Option<u32>,
    },
    /// What a search gave.
    Found {
        /// The socket, or why there is none.
        choice: Choice,
    },
    /// A program on the hook begins.
    Program {
        /// Its place in the order of attachment, from 0.
        place: usize,
        /// Its id.
        id: u32,
        /// Its name.
        name: String,
    },
    /// It called `bpf_sk_assign`.
    Assign {
        /// The socket; `None` for NULL.
        socket: Option<SocketId>,
        /// The flags.
        flags: u64,
        /// What the helper answered.
        result: Result<(), Errno>,
    },
    /// It printed (`bpf_trace_printk`).
    Prints {
        /// The line; what is no UTF-8 is replaced.
        text: String,
    },
    /// It printed more than is kept; nothing of it follows.
    PrintsMore,
    /// The program ended.
    Returned {
        /// What it returned.
        value: u64,
        /// What the chain has selected now.
        selected: Option<SocketId>,
        /// How many instructions it ran; a wide load counts once.
        instructions: u64,
    },
    /// All programs ran; there is no such step in a namespace without programs.
    Hook {
        /// What they gave together.
        result: HookResult,
    },
    /// A group was asked for a member.
    Reuseport {
        /// The member that was found first.
        of: SocketId,
        /// How many members could be chosen.
        members: usize,
        /// How it was chosen.
        by: ChosenBy,
        /// The choice.
        choice: Choice,
    },
}

/// A search among the sockets bound to one address and port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pass {
    /// Bound to the packet's destination.
    Exact,
    /// Bound to no address.
    Wildcard,
}

/// A socket, or why there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Choice {
    /// This one.
    Socket(SocketId),
    /// A reuseport program refused: the lookup ends.
    Refused,
    /// None; what comes next goes on.
    None,
}

/// What all programs of the hook give together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HookResult {
    /// This socket, before its reuseport group is asked.
    Selected {
        /// The socket.
        socket: SocketId,
        /// Its group is not to be asked (`BPF_SK_LOOKUP_F_NO_REUSEPORT`).
        no_reuseport: bool,
    },
    /// The regular lookup decides.
    Continue,
    /// No socket gets the packet.
    Drop,
}

/// How a member of a reuseport group was chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChosenBy {
    /// A program ran.
    Program {
        /// Its id.
        id: u32,
        /// What it returned.
        verdict: Verdict,
    },
    /// By the hash of addresses and ports.
    Hash(u32),
    /// By the CPU (`SO_INCOMING_CPU`).
    Cpu(u32),
    /// Nobody could be chosen.
    Nobody,
}

impl Trace {
    /// How many sockets were looked at one by one.
    pub fn sockets_looked_at(&self) -> usize {
        self.steps.iter().filter(|step| matches!(step, Step::Candidate { .. })).count()
    }

    /// How many programs of the hook ran.
    pub fn programs(&self) -> usize {
        self.steps.iter().filter(|step| matches!(step, Step::Program { .. })).count()
    }
}

/// One line for each step.
impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.steps.iter().try_for_each(|step| writeln!(f, "{step}"))
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Interface { index } => write!(f, "interface {index}"),
            Step::Connected { found: Some(socket) } => write!(f, "connected: {socket}"),
            Step::Connected { found: None } => write!(f, "connected: nobody"),
            Step::Search { pass, address } => write!(f, "{pass} search, bound to {address}"),
            Step::Candidate { socket, score: Some(score) } => write!(f, "  {socket} scores {score}"),
            Step::Candidate { socket, score: None } => write!(f, "  {socket} does not match"),
            Step::Found { choice } => write!(f, "  found {choice}"),
            Step::Program { place, id, name } => write!(f, "program {id} `{name}`, number {} on the hook", place + 1),
            Step::Assign { socket, flags, result } => {
                match socket {
                    Some(socket) => write!(f, "  assigns {socket}")?,
                    None => write!(f, "  assigns nobody")?,
                }
                write!(f, " with flags {flags}: ")?;
                match result {
                    Ok(()) => write!(f, "done"),
                    Err(errno) => write!(f, "{errno}"),
                }
            }
            // Escaped: a program prints what it likes.
            Step::Prints { text } => write!(f, "  prints {text:?}"),
            Step::PrintsMore => write!(f, "  prints more, which is left out"),
            Step::Returned { value, selected, instructions } => {
                let verdict = match value {
                    0 => "drop".to_owned(),
                    1 => "pass".to_owned(),
                    other => other.to_string(),
                };
                write!(f, "  returns {verdict} after {instructions} instructions")?;
                match selected {
                    Some(socket) => write!(f, "; selected is {socket}"),
                    None => write!(f, "; nobody is selected"),
                }
            }
            Step::Hook { result: HookResult::Continue } => write!(f, "hook: the regular lookup decides"),
            Step::Hook { result: HookResult::Drop } => write!(f, "hook: drop"),
            Step::Hook { result: HookResult::Selected { socket, no_reuseport } } => {
                let alone = if *no_reuseport { ", without its group" } else { "" };
                write!(f, "hook: {socket}{alone}")
            }
            Step::Reuseport { of, members, by, choice } => {
                write!(f, "  group of {of}, {members} members: {choice} {by}")
            }
        }
    }
}

impl fmt::Display for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Pass::Exact => "exact",
            Pass::Wildcard => "wildcard",
        })
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Choice::Socket(socket) => write!(f, "{socket}"),
            Choice::Refused => f.write_str("refused"),
            Choice::None => f.write_str("nobody"),
        }
    }
}

impl fmt::Display for ChosenBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ChosenBy::Program { id, verdict: Verdict::Pass } => write!(f, "by program {id}, which passed"),
            ChosenBy::Program { id, verdict: Verdict::Drop } => write!(f, "by program {id}, which dropped"),
            ChosenBy::Hash(hash) => write!(f, "by hash {hash:#010x}"),
            ChosenBy::Cpu(cpu) => write!(f, "by CPU {cpu}"),
            ChosenBy::Nobody => f.write_str("as all are connected"),
        }
    }
}

/// Where steps go.
pub(crate) trait Sink {
    /// Takes a step; `step` makes it only if somebody wants it.
    fn record(&mut self, step: impl FnOnce() -> Step);
}

/// Nobody wants them.
impl Sink for () {
    fn record(&mut self, _step: impl FnOnce() -> Step) {}
}

impl Sink for Trace {
    fn record(&mut self, step: impl FnOnce() -> Step) {
        self.steps.push(step());
    }
}
