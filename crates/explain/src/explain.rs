//! Asking both witnesses, and what follows from what they say.

use std::collections::{BTreeMap, BTreeSet};

use sklookup_kernel::Netns;
use sklookup_kernel::sock_diag::{Entry, Lookup, SockDiag, State as SocketState};
use sklookup_policy::{Packet, Policy};
use sklookup_steering::status::{Attached, Hook, Unseen};
use sklookup_steering::{Error, Record, State};

use crate::account::{Account, is_connected};
use crate::alone::Alone;
use crate::arrival::{self, Arrival, Way};
use crate::census::{self, Census, Seen, describe};
use crate::fate::Fate;
use crate::replica::{Steering, TIME_WAIT};
use crate::steered::{Hidden, Steered};

/// What becomes of a packet, and why.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The packet, as it was asked about.
    pub packet: Packet,
    /// How it comes in.
    pub way: Way,
    /// What becomes of it: what the kernel says.
    pub fate: Fate,
    /// How our account and the kernel's answer differ, in words: a mistake of ours, or a program that could not be seen.
    pub disagreement: Option<String>,
    /// Our account, or why there is none.
    pub account: Result<Account, String>,
    /// The programs on the hook, in the order in which they run; `None` if we may not ask.
    pub programs: Option<Vec<Attached>>,
    /// What is known of those that are not ours.
    pub others: Others,
    /// What each of those did when it was run alone, by its id; empty unless [`Explanation::run_others`] was asked for it.
    pub alone: BTreeMap<u32, Alone>,
    /// Every socket that is named, by its cookie.
    pub sockets: BTreeMap<u64, Seen>,
    /// What keeps the answer from being all that there is to say.
    pub limits: Vec<Limit>,
    /// What could not be seen.
    pub unseen: Vec<Unseen>,
}

/// What programs that are not ours do with the packet, as far as it follows from who gets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Others {
    /// None is attached.
    None,
    /// They are not asked, for a connected socket gets it.
    NotAsked,
    /// Whatever they return, the answer is the same without them.
    NothingChanged,
    /// One of them selects the socket that gets it.
    Selected,
    /// One of them drops it, and none selects a socket.
    Dropped,
    /// Nothing follows.
    Unknown,
}

/// What an answer leaves open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Limit {
    /// The kernel was asked so often about what is no connection's, and the programs that ran counted each question.
    Counted(usize),
    /// The socket shares its port, or may do so: a program of its reuseport group looks at the packet, of which there is
    /// none in a question. If there is one it chooses the member, or refuses.
    ReuseportProgram {
        /// The socket is known to share it.
        shares: bool,
    },
    /// So many programs that are not ours were run alone, with their side effects.
    RanAlone(usize),
    /// None was run alone, for no program is asked about such a packet.
    NoneRun,
    /// The answer can't come of programs that do on the hook what they did alone: one of them depends on the interface, on
    /// an earlier selection or on its state, or something changed meanwhile.
    DoesNotAddUp,
}

/// How often both witnesses are asked again while they differ: the world goes on between the two.
const ROUNDS: usize = 3;

/// Says what becomes of a packet in a namespace. `state` is where ours would be, if it can be looked at.
///
/// # Errors
/// [`Error::Interface`] for an interface that is not there; the namespace could not be entered, or its sockets and routes
/// could not be asked about.
pub fn explain(netns: &Netns, state: Option<&State>, packet: &Packet) -> Result<Explanation, Error> {
    let arrival = match netns.run(|| arrival::find(packet, netns))?? {
        Way::Lookup(arrival) => arrival,
        Way::Astray(astray) => {
            return Ok(Explanation {
                packet: packet.clone(),
                way: Way::Astray(astray),
                fate: Fate::Astray(astray),
                disagreement: None,
                account: Err("no socket is looked for".to_owned()),
                programs: None,
                others: Others::NotAsked,
                alone: BTreeMap::new(),
                sockets: BTreeMap::new(),
                limits: Vec::new(),
                unseen: Vec::new(),
            });
        }
    };
    let mut asked = 0;
    for round in 1.. {
        let look = Look::take(netns, state, packet, &arrival)?;
        // Programs don't run for what goes to a connection.
        asked += look.answers.iter().filter(|answer| !answer.as_ref().is_some_and(is_connected)).count();
        if look.conclusion.disagreement.is_none() || round == ROUNDS {
            return Ok(look.explanation(packet, arrival, asked));
        }
    }
    unreachable!("the last round returns")
}

/// What was seen at one time.
struct Look {
    hook: Hook,
    census: Census,
    /// What the kernel answered, for each interface that the packet may come in on.
    answers: Vec<Option<Entry>>,
    account: Result<Account, String>,
    conclusion: Conclusion,
}

/// What follows from both witnesses.
struct Conclusion {
    others: Others,
    disagreement: Option<String>,
}

impl Look {
    fn take(netns: &Netns, state: Option<&State>, packet: &Packet, arrival: &Arrival) -> Result<Look, Error> {
        // Any of several will do: either they have one answer, or there is none.
        let interface = arrival.interfaces.first().map_or(0, |(index, _)| *index);
        let Steered { applied, hook } = Steered::look(netns, state, |record| {
            let matching = matching(record, packet, interface).0;
            matching.labels().to_vec()
        });
        let (census, answers) = netns.run(|| ask(packet, arrival))??;
        let account = match &applied {
            Ok(Some((generation, registered))) => {
                let (policy, asked) = matching(&generation.record, packet, interface);
                let interfaces = &generation.record.interfaces;
                let steering = Steering { policy: &policy, interfaces, registered };
                Account::give(&census, Some(&steering), &asked, interface)
            }
            // Without a program of ours, or as if there were none.
            Ok(None) | Err(Hidden) => Account::give(&census, None, packet, interface),
        };
        let seen_all = applied.is_ok();
        let conclusion = conclude(account.as_ref(), answers.first(), &hook, seen_all);
        Ok(Look { hook, census, answers, account, conclusion })
    }

    fn explanation(self, packet: &Packet, arrival: Arrival, asked: usize) -> Explanation {
        let Look { hook, census, answers, account, conclusion } = self;
        let fate = fate(packet, &arrival, &answers);
        let mut named: BTreeMap<u64, Entry> = BTreeMap::new();
        let mut name = |entry: Option<&Entry>| {
            if let Some(entry) = entry {
                named.insert(entry.cookie, entry.clone());
            }
        };
        answers.iter().for_each(|answer| name(answer.as_ref()));
        if let Ok(account) = &account {
            let tried = account.run.iter().flat_map(|run| run.tried.iter().map(|tried| tried.cookie));
            let all = tried.chain(account.connected).chain(account.regular.matching.iter().copied());
            all.collect::<BTreeSet<u64>>().into_iter().for_each(|cookie| name(census.socket(cookie)));
        }
        let mut unseen = hook.unseen;
        let sockets = describe(named.into_values().collect(), &mut unseen);
        let limits = limits(&fate, &sockets, &hook.programs, asked);
        Explanation {
            packet: packet.clone(),
            way: Way::Lookup(arrival),
            fate,
            disagreement: conclusion.disagreement,
            account,
            programs: hook.programs,
            others: conclusion.others,
            alone: BTreeMap::new(),
            sockets,
            limits,
            unseen,
        }
    }
}

/// Those bindings of a generation that match the packet, and the packet with its interface as they call it.
fn matching(record: &Record, packet: &Packet, interface: u32) -> (Policy, Packet) {
    let name = record.interfaces.iter().find(|(_, index)| **index == interface).map(|(name, _)| name.clone());
    let packet = Packet { interface: name, ..packet.clone() };
    (record.policy.filtered(|entry| entry.binding.matches(&packet)), packet)
}

/// The sockets there are, and whom the kernel chooses; in the namespace of this thread.
fn ask(packet: &Packet, arrival: &Arrival) -> Result<(Census, Vec<Option<Entry>>), Error> {
    let mut diag = SockDiag::open()?;
    let census = Census::take(&mut diag, packet)?;
    let protocol = census::protocol(packet);
    let Packet { source, destination, .. } = *packet;
    let lookup = |(interface, _): &(u32, String)| Lookup { protocol, source, destination, interface: *interface };
    let lookups: Vec<Lookup> = arrival.interfaces.iter().map(lookup).collect();
    let answers = diag.lookup_all(&lookups)?;
    Ok((census, answers))
}

/// What becomes of the packet if this is what the kernel answers.
fn fate(packet: &Packet, arrival: &Arrival, answers: &[Option<Entry>]) -> Fate {
    if let Some(vrf) = arrival.vrf {
        return Fate::Unknown(format!(
            "the interface belongs to the VRF of index {vrf}, and the kernel can't be asked about packets that come in \
             through one"
        ));
    }
    let cookie = |answer: &Option<Entry>| answer.as_ref().map(|entry| entry.cookie);
    let Some(first) = answers.first() else {
        return Fate::Unknown("no interface is up".to_owned());
    };
    if answers.iter().any(|answer| cookie(answer) != cookie(first)) {
        return Fate::Unknown(format!(
            "it depends on the interface, and no route to {} says which it is",
            packet.source.ip()
        ));
    }
    match first {
        None => Fate::Refused,
        Some(Entry { state: SocketState::Other(TIME_WAIT), .. }) => Fate::Unknown(
            "a connection between these two has just ended (TIME-WAIT): only a packet shows what a new one gets"
                .to_owned(),
        ),
        Some(entry) => Fate::Socket(entry.cookie),
    }
}

/// What follows from the account and the kernel's answer. `seen_all` says that what is steered could be read.
fn conclude(
    account: Result<&Account, &String>,
    answer: Option<&Option<Entry>>,
    hook: &Hook,
    seen_all: bool,
) -> Conclusion {
    let nothing = |others| Conclusion { others, disagreement: None };
    let (Ok(account), Some(answer)) = (account, answer) else { return nothing(Others::Unknown) };
    let has_others = match &hook.programs {
        Some(programs) => !seen_all && !programs.is_empty() || programs.iter().any(|program| !program.ours),
        None => true,
    };
    let ended = answer.as_ref().is_some_and(|entry| entry.state == SocketState::Other(TIME_WAIT));
    if ended {
        // What has just ended is no connection: the account is right not to have one, and whether programs are asked about
        // the next packet, that packet decides.
        return nothing(if has_others { Others::Unknown } else { Others::None });
    }
    if account.connected.is_some() || answer.as_ref().is_some_and(is_connected) {
        let found = answer.as_ref().map(|entry| entry.cookie);
        let disagreement = (account.connected != found).then(|| match found {
            Some(_) => "the kernel names a connected socket that was not among those it lists".to_owned(),
            None => "the kernel does not find a connected socket that it lists".to_owned(),
        });
        return Conclusion { others: Others::NotAsked, disagreement };
    }
    let agree = match answer {
        Some(entry) => account.expected.contains(&entry.cookie),
        None => account.expected.is_empty(),
    };
    let selects = account.run.as_ref().is_some_and(|run| run.selected.is_some());
    match (agree, has_others, answer) {
        (true, true, _) => nothing(Others::NothingChanged),
        (true, false, _) => nothing(Others::None),
        (false, true, Some(_)) => nothing(Others::Selected),
        // A selection outlives every drop, so this is nobody's doing that we know of.
        (false, true, None) if !selects => nothing(Others::Dropped),
        (false, _, answer) => {
            let ours = match &account.expected[..] {
                [] => "nobody".to_owned(),
                [one] => format!("the socket with cookie {one}"),
                many => format!("one of {} sockets", many.len()),
            };
            let kernel =
                answer.as_ref().map_or("nobody".to_owned(), |entry| format!("the one with cookie {}", entry.cookie));
            let disagreement = format!("by our account {ours} gets it, and the kernel says {kernel}");
            Conclusion { others: Others::Unknown, disagreement: Some(disagreement) }
        }
    }
}

fn limits(fate: &Fate, sockets: &BTreeMap<u64, Seen>, programs: &Option<Vec<Attached>>, asked: usize) -> Vec<Limit> {
    let mut limits = Vec::new();
    if let Fate::Socket(cookie) = fate
        && let Some(seen) = sockets.get(cookie)
        && !is_connected(&seen.entry)
        && seen.reuseport != Some(false)
    {
        limits.push(Limit::ReuseportProgram { shares: seen.reuseport == Some(true) });
    }
    if asked > 0 && programs.as_ref().is_none_or(|programs| !programs.is_empty()) {
        limits.push(Limit::Counted(asked));
    }
    limits
}
