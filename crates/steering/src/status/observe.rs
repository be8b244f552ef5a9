//! Looking: at the state, the sockets, the processes, the hook. Nothing is changed, and no lock is kept.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use sklookup_compiler::{Counts, Family};
use sklookup_kernel::process::{self, Owners, Process};
use sklookup_kernel::sock_diag::{Entry, SockDiag, State as SocketState};
use sklookup_kernel::{Errno, Link, Netns, ProgramInfo, bpffs, interface, program_info_by_id, socket};
use sklookup_policy::{Interface, Label, Outcome, Owner, Policy, Protocol, WhenEmpty};

use super::{
    Attached, Health, Hook, InEffect, InterfaceStatus, LabelStatus, Missing, RunStatus, SocketOwner, SocketStatus,
    Status, Steering, Unseen,
};
use crate::error::Error;
use crate::find::protocol;
use crate::lock::{self, Attempt};
use crate::record::{Record, digest};
use crate::registration::{Registered, Slots};
use crate::state::{Generation, Live, PATIENCE, State, generation_id};
use crate::sums::{Sum, Sums};
use crate::wait::Deadline;

impl State {
    /// What can be seen of the steering of the namespace.
    ///
    /// # Errors
    /// [`Error::Damaged`], [`Error::Newer`], [`Error::Untrusted`], or a call that failed for another reason than rights.
    pub fn status(&self) -> Result<Status, Error> {
        let seen = self.seen();
        // Whoever may open the pin knows what it holds; asking by id takes another right.
        let own = seen.as_ref().ok().and_then(|seen| seen.as_ref()?.generation.program.info().ok());
        let mut status = Status::of_hook(self.netns(), own.as_ref());
        match seen {
            Ok(None) => {}
            Ok(Some(seen)) => {
                let in_effect = self.in_effect(seen, &mut status.unseen)?;
                status.litter = self.litter(in_effect.generation, in_effect.record.parent)?;
                status.steering = Steering::Live(Box::new(in_effect));
            }
            Err(error) if is_want_of_rights(&error) => {
                // The link decides; for who may not open it there is a hint.
                let generation = self.live().ok().flatten().map(|live| live.id);
                status.steering = Steering::Hidden { generation };
                status.unseen.push(Unseen {
                    what: "what is steered",
                    why: format!("{error}; only the owner of the state can read it"),
                });
            }
            Err(error) => match self.replaced()? {
                Some(replaced) => status.steering = replaced,
                None => return Err(error),
            },
        }
        let ours = match &status.steering {
            Steering::Nothing | Steering::Replaced { .. } => None,
            Steering::Hidden { generation } => *generation,
            Steering::Live(in_effect) => Some(in_effect.generation),
        };
        for program in status.programs.iter_mut().flatten() {
            program.ours = ours == Some(program.id);
        }
        Ok(status)
    }

    /// What is in effect, with its sockets and who has them, and what of that could not be seen: the part of
    /// [`State::status`] that is about what sklookup does. `None` where nothing is attached.
    ///
    /// # Errors
    /// As [`State::status`], and for want of rights too.
    pub fn observe(&self) -> Result<Option<(InEffect, Vec<Unseen>)>, Error> {
        let Some(seen) = self.seen()? else { return Ok(None) };
        let mut unseen = Vec::new();
        Ok(Some((self.in_effect(seen, &mut unseen)?, unseen)))
    }

    /// Whether our link runs a program that has no directory among the generations: whoever commits makes it first.
    fn replaced(&self) -> Result<Option<Steering>, Error> {
        let Some(Live { id, dir, link: Some(link) }) = self.live()? else { return Ok(None) };
        let missing = bpffs::status(&dir).is_err_and(|error| error.errno() == Errno::NOENT);
        let (link, dir) = (link.info()?, self.dir().to_owned());
        // Asked again: else it was replaced and swept away since.
        let still = missing && link.program_id == id;
        Ok(still.then_some(Steering::Replaced { link: link.id, program: id, dir }))
    }

    /// A generation with its counts and what was registered while it was live.
    fn seen(&self) -> Result<Option<Seen>, Error> {
        let mut deadline = Deadline::after(PATIENCE);
        loop {
            let Some((generation, counts)) = self.counted()? else { return Ok(None) };
            let registered = generation.slots();
            // Swept away meanwhile, its labels would look empty.
            if self.live()?.is_some_and(|live| live.id == generation.live.id) {
                return Ok(Some(Seen { generation, counts, registered: registered? }));
            }
            if deadline.passed() {
                let netns = self.netns().describe().to_owned();
                return Err(Error::Contended { netns, seconds: deadline.seconds() });
            }
        }
    }

    fn in_effect(&self, seen: Seen, unseen: &mut Vec<Unseen>) -> Result<InEffect, Error> {
        let Seen { generation: Generation { live, record, program }, counts, registered } = seen;
        let sockets = self.sockets(&registered, unseen).map(|entries| self.with_owners(entries, unseen));
        let Around { total, pass, refuse, labels, interfaces, runs } =
            self.around(&record, &counts, registered, sockets.as_ref(), unseen);
        Ok(InEffect {
            link: live.link.as_ref().map(Link::info).transpose()?.map(|info| info.id),
            generation: live.id,
            pinned: program.id(),
            digest: digest(&record.policy),
            counts,
            total,
            pass,
            refuse,
            labels,
            interfaces,
            runs,
            record,
        })
    }

    /// What is found around a generation, but for who has the sockets: that means looking through every process.
    pub(crate) fn around_without_owners(
        &self,
        record: &Record,
        counts: &[Counts],
        registered: Vec<Slots>,
        unseen: &mut Vec<Unseen>,
    ) -> Around {
        let sockets = self.sockets(&registered, unseen).map(|entries| Sockets { entries, owners: Owners::default() });
        self.around(record, counts, registered, sockets.as_ref(), unseen)
    }

    fn around(
        &self,
        record: &Record,
        counts: &[Counts],
        registered: Vec<Slots>,
        sockets: Option<&Sockets>,
        unseen: &mut Vec<Unseen>,
    ) -> Around {
        let sums = Sums::of(&record.policy, counts);
        let labels = labels(&record.policy, &sums, registered, sockets);
        let interfaces = match self.interface_indices(&record.interfaces) {
            Ok(interfaces) => interfaces,
            Err(error) => {
                unseen.push(Unseen { what: "the interfaces of the namespace", why: error.to_string() });
                Vec::new()
            }
        };
        let mut owned: BTreeMap<Owner, usize> = BTreeMap::new();
        for owner in record.policy.entries().iter().filter_map(|entry| entry.owner) {
            *owned.entry(owner).or_default() += 1;
        }
        let run = |(owner, bindings)| RunStatus { owner, bindings, alive: self.is_alive(owner) };
        let runs = owned.into_iter().map(run).collect();
        Around { total: sums.total, pass: sums.pass, refuse: sums.refuse, labels, interfaces, runs }
    }

    /// The registered sockets by their cookies; `None` if the namespace's sockets can't be seen.
    fn sockets(&self, registered: &[Slots], unseen: &mut Vec<Unseen>) -> Option<HashMap<u64, Entry>> {
        let cookies: BTreeSet<u64> =
            registered.iter().flat_map(|(_, slots)| slots).map(|registered| registered.cookie).collect();
        if cookies.is_empty() {
            return Some(HashMap::new());
        }
        match self.netns().run(|| entries(&cookies)).map_err(Error::from).flatten() {
            Ok(entries) => Some(entries),
            Err(error) => {
                unseen.push(Unseen { what: "the sockets of the namespace", why: error.to_string() });
                None
            }
        }
    }

    fn with_owners(&self, entries: HashMap<u64, Entry>, unseen: &mut Vec<Unseen>) -> Sockets {
        if entries.is_empty() {
            return Sockets::default();
        }
        let inodes = entries.values().map(|entry| entry.inode).collect();
        let owners = process::owners(&inodes);
        let nameless = entries.values().any(|entry| !owners.of.contains_key(&entry.inode));
        if nameless && owners.hidden > 0 {
            unseen.push(Unseen {
                what: "whose sockets some are",
                why: format!(
                    "{} processes of others can't be looked at; that takes CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH",
                    owners.hidden
                ),
            });
        }
        Sockets { entries, owners }
    }

    fn interface_indices(&self, applied: &BTreeMap<Interface, u32>) -> Result<Vec<InterfaceStatus>, Error> {
        if applied.is_empty() {
            return Ok(Vec::new());
        }
        let now = self.netns().run(interface::list)??;
        let now: HashMap<&str, u32> = now.iter().map(|interface| (interface.name.as_str(), interface.index)).collect();
        let status = |(name, &applied): (&Interface, &u32)| InterfaceStatus {
            name: name.clone(),
            applied,
            now: now.get(name.as_str()).copied(),
        };
        Ok(applied.iter().map(status).collect())
    }

    /// Generations that are neither live nor the parent of the live one, and that nobody holds.
    fn litter(&self, live: u32, parent: u32) -> Result<Vec<String>, Error> {
        // A writer that has just made one and meets this look tries again. `/proc/locks` would not do, it shows no holder
        // in another pid namespace.
        let forsaken = |path: &Path| matches!(lock::attempt(path), Ok(Attempt::Got(_)));
        // Whoever put it in effect is still at work, and sweeps when done: holding what is swept would keep it there.
        if !forsaken(&self.generation_dir(live)) {
            return Ok(Vec::new());
        }
        // Who may not list the state has no business with its litter.
        let names = bpffs::open_dir(self.dir()).and_then(|dir| bpffs::list(dir.as_fd())).unwrap_or_default();
        let needed = |name: &str| generation_id(name).is_none_or(|id| id == live || id == parent);
        let mut litter: Vec<String> =
            names.into_iter().filter(|name| !needed(name) && forsaken(&self.dir().join(name))).collect();
        if !litter.is_empty() {
            // One that was made this moment is not locked yet, and its writer may have found it held by us. Litter stays.
            std::thread::sleep(MOMENT);
            litter.retain(|name| forsaken(&self.dir().join(name)));
        }
        // Another command may have ended since `live` was looked at: what it put in effect is none, nor is its parent.
        let stays = self.live()?.is_some_and(|now| now.id == live);
        Ok(if stays { litter } else { Vec::new() })
    }
}

impl Status {
    /// What can be seen of a namespace that has no state of ours.
    pub fn without_steering(netns: &Netns) -> Status {
        Status::of_hook(netns, None)
    }

    fn of_hook(netns: &Netns, own: Option<&ProgramInfo>) -> Status {
        let Hook { programs, unseen } = Hook::of(netns, own);
        Status {
            netns: netns.describe().to_owned(),
            inode: netns.inode(),
            steering: Steering::Nothing,
            programs,
            litter: Vec::new(),
            unseen,
        }
    }
}

impl Hook {
    /// What is on the hook now; `own` is the program of the generation in effect, which need not be asked about by its id.
    pub fn of(netns: &Netns, own: Option<&ProgramInfo>) -> Hook {
        let mut unseen = Vec::new();
        let programs = match Link::query(netns.as_fd()) {
            Ok(ids) => Some(ids.into_iter().map(|id| attached(id, own, &mut unseen)).collect()),
            Err(error) => {
                let why = match error.errno() {
                    Errno::PERM => format!("{error}; that takes CAP_NET_ADMIN"),
                    _ => error.to_string(),
                };
                unseen.push(Unseen { what: "the programs attached to the namespace", why });
                None
            }
        };
        Hook { programs, unseen }
    }
}

/// How long a writer may need from making a directory to holding it.
const MOMENT: Duration = Duration::from_millis(30);

/// What is found around a generation.
pub(crate) struct Around {
    pub(crate) total: Sum,
    pub(crate) pass: Sum,
    pub(crate) refuse: Sum,
    pub(crate) labels: Vec<LabelStatus>,
    pub(crate) interfaces: Vec<InterfaceStatus>,
    pub(crate) runs: Vec<RunStatus>,
}

/// What was read of a generation while it was live.
struct Seen {
    generation: Generation,
    counts: Vec<Counts>,
    registered: Vec<Slots>,
}

/// Registered sockets that are in the namespace's tables, by cookie, and who has them.
#[derive(Default)]
struct Sockets {
    entries: HashMap<u64, Entry>,
    owners: Owners,
}

impl Sockets {
    fn status(&self, slot: Registered) -> SocketStatus {
        let Some(entry) = self.entries.get(&slot.cookie) else {
            let why = match slot.protocol {
                Protocol::Tcp => "it does not listen any more",
                Protocol::Udp => "it is not bound any more",
            };
            return SocketStatus { slot, local: None, owners: Vec::new(), health: Health::Dead(why.to_owned()) };
        };
        let owners = self.owners.of.get(&entry.inode).into_iter().flatten().map(|process| SocketOwner {
            pid: process.pid,
            name: process.name.clone(),
            unit: Process::open(process.pid).and_then(|process| process.unit()).ok().flatten(),
        });
        SocketStatus { slot, local: Some(entry.local), owners: owners.collect(), health: health(slot, entry) }
    }
}

/// Looks for sockets by their cookies; those that can be selected are found first.
fn entries(cookies: &BTreeSet<u64>) -> Result<HashMap<u64, Entry>, Error> {
    let mut diag = SockDiag::open()?;
    let wanted = |entries: Vec<Entry>| {
        entries.into_iter().filter(|entry| cookies.contains(&entry.cookie)).map(|entry| (entry.cookie, entry))
    };
    let mut found: HashMap<u64, Entry> = wanted(diag.listeners()?).collect();
    // A busy server has 100,000 connections: they are asked about only when a socket is missing.
    if found.len() < cookies.len() {
        for protocol in [socket::Protocol::Udp, socket::Protocol::Tcp] {
            found.extend(wanted(diag.dump(protocol, &[SocketState::Connected])?));
        }
    }
    Ok(found)
}

fn health(slot: Registered, entry: &Entry) -> Health {
    let dead = |why: String| Health::Dead(why);
    if protocol(entry.protocol) != slot.protocol {
        return dead(format!("it is a {} socket", entry.protocol));
    }
    match (slot.family, entry.ipv6) {
        (Family::V4, true) if entry.v6only => return dead("it takes no IPv4 packets".to_owned()),
        (Family::V6, false) => return dead("it takes no IPv6 packets".to_owned()),
        _ => {}
    }
    match entry.state {
        SocketState::Listening | SocketState::Unconnected => Health::Selectable,
        SocketState::Connected => dead(format!("it is connected to {}", entry.remote)),
        SocketState::Other(_) => dead("it is being closed".to_owned()),
    }
}

fn labels(policy: &Policy, sums: &Sums<'_>, registered: Vec<Slots>, sockets: Option<&Sockets>) -> Vec<LabelStatus> {
    let mut needs = needs(policy);
    let status = |(label, slots): Slots| {
        let sum = sums.labels.get(&label).copied().unwrap_or_default();
        let socket = |slot| match sockets {
            Some(sockets) => sockets.status(slot),
            None => SocketStatus { slot, local: None, owners: Vec::new(), health: Health::Unknown },
        };
        let sockets: Vec<SocketStatus> = slots.into_iter().map(socket).collect();
        let served = |packets| sockets.iter().any(|socket| socket.serves(packets));
        let needs = needs.remove(&label).unwrap_or_default().into_iter();
        let missing = needs.filter(|(packets, _)| !served(*packets)).map(|(packets, [refused, passed])| {
            let (protocol, family) = packets;
            Missing { protocol, family, refused, passed }
        });
        let missing = missing.collect();
        LabelStatus { label, sum, sockets, missing }
    };
    registered.into_iter().map(status).collect()
}

/// What is steered to one label: so many bindings refuse while there is no socket, so many pass.
type Needs = BTreeMap<(Protocol, Family), [usize; 2]>;

fn needs(policy: &Policy) -> HashMap<&Label, Needs> {
    let mut needs: HashMap<&Label, Needs> = HashMap::new();
    for entry in policy.entries() {
        let Outcome::Steer { label, when_empty } = &entry.binding.outcome else { continue };
        let packets = (entry.binding.protocol, Family::from(&entry.binding.destination));
        let of_label = needs.entry(label).or_default().entry(packets).or_default();
        of_label[usize::from(*when_empty == WhenEmpty::Pass)] += 1;
    }
    needs
}

fn attached(id: u32, own: Option<&ProgramInfo>, unseen: &mut Vec<Unseen>) -> Attached {
    const WHAT: &str = "names of the programs attached";
    if let Some(own) = own.filter(|own| own.id == id) {
        return Attached { id, ours: true, info: Some(own.clone()) };
    }
    let info = program_info_by_id(id)
        .inspect_err(|error| {
            // One that is gone again has nothing to show.
            if error.errno() == Errno::PERM && !unseen.iter().any(|unseen| unseen.what == WHAT) {
                unseen.push(Unseen { what: WHAT, why: format!("{error}; that takes CAP_SYS_ADMIN") });
            }
        })
        .ok();
    Attached { id, ours: false, info }
}

fn is_want_of_rights(error: &Error) -> bool {
    matches!(error, Error::Kernel(error) if matches!(error.errno(), Errno::PERM | Errno::ACCESS))
}
