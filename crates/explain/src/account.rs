//! Our own account: what the engine says, step by step, in the cookies of the kernel's sockets.

use sklookup_engine::Errno;
use sklookup_engine::trace::{Choice, HookResult, Pass, Step, Trace};
use sklookup_kernel::sock_diag::State;
use sklookup_policy::{Entry, Packet, Policy, Reason, decide};

use crate::census::Census;
use crate::replica::{Replica, Steering};

/// What the engine says of the packet. Sockets are named by their cookies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The connected socket that gets it before any program is asked.
    pub connected: Option<u64>,
    /// What our program does; `None` where none of ours is attached.
    pub run: Option<Run>,
    /// What the regular lookup gives, whether or not it is asked.
    pub regular: Regular,
    /// Who may get it if no other program has a say; empty: nobody. Of sockets that share a place the hash chooses, whose
    /// secret the kernel keeps.
    pub(crate) expected: Vec<u64>,
}

/// What our program does with the packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The binding, with the others that match.
    pub decision: Decision,
    /// The sockets it tried to select, in order.
    pub tried: Vec<Tried>,
    /// What it returns.
    pub verdict: Verdict,
    /// The socket it selects.
    pub selected: Option<u64>,
}

/// Which binding of a policy decides, and why.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Decision {
    /// The binding; `None`: none matches.
    pub winner: Option<Entry>,
    /// The others that match, best first, each with why the winner goes before it.
    pub runners_up: Vec<(Entry, Reason)>,
}

/// A socket that a program tried to select.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tried {
    /// The socket.
    pub cookie: u64,
    /// Why it can't be selected.
    pub refused: Option<Errno>,
}

/// What a program returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// What is selected gets the packet, or the regular lookup goes on.
    Pass,
    /// Nobody gets it, unless another program selects somebody.
    Drop,
}

/// What the regular lookup gives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Regular {
    /// The sockets that match best: bound to the very address, or if there is none, to any. Of several that share a port
    /// the kernel takes one by score, order and hash.
    pub matching: Vec<u64>,
    /// They are bound to the very address.
    pub exact: bool,
}

impl Decision {
    /// What a policy says of a packet.
    pub fn of(policy: &Policy, packet: &Packet) -> Decision {
        let decision = decide(policy, packet);
        let entry = |index: usize| &policy.entries()[index];
        let Some(winner) = decision.winner.map(entry) else { return Decision::default() };
        let runner_up = |index| (entry(index).clone(), Reason::of(&winner.binding, &entry(index).binding));
        Decision { winner: Some(winner.clone()), runners_up: decision.runners_up.into_iter().map(runner_up).collect() }
    }
}

impl Account {
    /// What an engine says of the packet over this interface. `steering` is what our program does, if one is attached,
    /// and `asked` the packet with its interface as the policy calls it.
    ///
    /// # Errors
    /// Why there is no account, in words.
    pub(crate) fn give(
        census: &Census,
        steering: Option<&Steering<'_>>,
        asked: &Packet,
        interface: u32,
    ) -> Result<Account, String> {
        let mut replica = Replica::new(census, asked);
        let (found, trace) = replica.lookup(asked, interface)?;
        let regular = regular(&trace, &replica);
        let connected = found.filter(|cookie| census.socket(*cookie).is_some_and(is_connected));
        if let Some(connected) = connected {
            return Ok(Account { connected: Some(connected), run: None, regular, expected: vec![connected] });
        }
        let run = match steering {
            Some(steering) => {
                replica.steer(steering, asked, census)?;
                let (_, trace) = replica.lookup(asked, interface)?;
                Some(run(&trace, &replica, Decision::of(steering.policy, asked)))
            }
            None => None,
        };
        let expected = match &run {
            Some(Run { selected: Some(cookie), .. }) => match census.socket(*cookie) {
                Some(entry) => census.members(entry).map(|member| member.cookie).collect(),
                None => vec![*cookie],
            },
            Some(Run { verdict: Verdict::Drop, .. }) => Vec::new(),
            Some(Run { verdict: Verdict::Pass, .. }) | None => regular.matching.clone(),
        };
        Ok(Account { connected: None, run, regular, expected })
    }
}

/// The sockets that match in the search that ended the regular lookup.
fn regular(trace: &Trace, replica: &Replica) -> Regular {
    let mut regular = Regular::default();
    for step in &trace.steps {
        match step {
            Step::Search { pass, .. } => {
                regular.exact = *pass == Pass::Exact;
                regular.matching.clear();
            }
            Step::Candidate { socket, score: Some(_) } => regular.matching.push(replica.cookie(*socket)),
            Step::Found { choice: Choice::None } => regular.matching.clear(),
            _ => {}
        }
    }
    regular
}

/// What the one program did.
fn run(trace: &Trace, replica: &Replica, decision: Decision) -> Run {
    let mut run = Run { decision, tried: Vec::new(), verdict: Verdict::Pass, selected: None };
    for step in &trace.steps {
        match step {
            Step::Assign { socket: Some(socket), result, .. } => {
                run.tried.push(Tried { cookie: replica.cookie(*socket), refused: result.err() });
            }
            Step::Hook { result } => match result {
                HookResult::Selected { socket, .. } => run.selected = Some(replica.cookie(*socket)),
                HookResult::Drop => run.verdict = Verdict::Drop,
                HookResult::Continue => {}
            },
            _ => {}
        }
    }
    run
}

/// Whether a socket has a peer, or had one: the hook is not asked about its packets.
pub(crate) fn is_connected(entry: &sklookup_kernel::sock_diag::Entry) -> bool {
    !matches!(entry.state, State::Listening | State::Unconnected)
}
