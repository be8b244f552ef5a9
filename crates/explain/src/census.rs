//! Looking at sockets and at who has them.

use std::collections::{BTreeMap, HashMap, HashSet};

use sklookup_kernel::Protocol;
use sklookup_kernel::process::{self, Process};
use sklookup_kernel::sock_diag::{Entry, SockDiag, State};
use sklookup_kernel::socket::Socket;
use sklookup_policy::Packet;
use sklookup_steering::status::Unseen;

/// A socket, and what could be seen of who has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// As the kernel lists it.
    pub entry: Entry,
    /// The processes that hold it, by pid.
    pub holders: Vec<Holder>,
    /// Whether it shares its port (`SO_REUSEPORT`); `None` where we may not ask.
    pub reuseport: Option<bool>,
}

/// A process that holds a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its pid.
    pub pid: u32,
    /// Its name, as it is: any bytes.
    pub name: String,
    /// The command and its arguments, as they are.
    pub command: Vec<String>,
    /// The systemd unit it runs in.
    pub unit: Option<String>,
}

/// The sockets that a packet could reach, or that a label could have for it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Census {
    /// Those that listen or take from anyone, and those with a peer that may be the sender; those of one place in the
    /// order in which the kernel listed them.
    pub(crate) sockets: Vec<Entry>,
}

impl Census {
    /// Looks at the sockets of the namespace that `diag` was opened in.
    pub(crate) fn take(diag: &mut SockDiag, packet: &Packet) -> sklookup_kernel::Result<Census> {
        let protocol = protocol(packet);
        let (local, peer) = (packet.destination.port(), packet.source.port());
        let sockets = match protocol {
            Protocol::Tcp => {
                let mut sockets = diag.dump(protocol, &[State::Listening])?;
                let others: Vec<State> = (2..=11).filter(|number| *number != 10).map(State::Other).collect();
                let connections = [&[State::Connected][..], &others].concat();
                sockets.extend(diag.dump_between(protocol, &connections, local, peer)?);
                sockets
            }
            // One that is connected to port 0 takes from every port of its peer.
            Protocol::Udp => diag.dump(protocol, &[State::Connected, State::Unconnected])?,
        };
        Ok(Census { sockets })
    }

    /// The socket of this cookie, if it is in a table.
    pub(crate) fn socket(&self, cookie: u64) -> Option<&Entry> {
        self.sockets.iter().find(|entry| entry.cookie == cookie)
    }

    /// The sockets of one place with this one, itself among them: its reuseport group, as far as can be seen.
    pub(crate) fn members<'a>(&'a self, entry: &'a Entry) -> impl Iterator<Item = &'a Entry> {
        self.sockets.iter().filter(|other| same_place(other, entry))
    }
}

/// The protocol of a packet, as the kernel crate calls it.
pub(crate) fn protocol(packet: &Packet) -> Protocol {
    match packet.protocol {
        sklookup_policy::Protocol::Tcp => Protocol::Tcp,
        sklookup_policy::Protocol::Udp => Protocol::Udp,
    }
}

/// Whether two sockets are in one reuseport group, as far as can be seen.
pub(crate) fn same_place(one: &Entry, other: &Entry) -> bool {
    place(one) == place(other)
}

/// What the members of a reuseport group have in common.
fn place(entry: &Entry) -> impl PartialEq + '_ {
    let Entry { protocol, ipv6, state, local, interface, uid, v6only, .. } = entry;
    (protocol, ipv6, state, local, interface, uid, v6only)
}

/// These sockets by their cookies, each with who holds it; that somebody could not be looked at joins what is unseen.
pub(crate) fn describe(entries: Vec<Entry>, unseen: &mut Vec<Unseen>) -> BTreeMap<u64, Seen> {
    let inodes: HashSet<u64> = entries.iter().map(|entry| entry.inode).filter(|inode| *inode != 0).collect();
    if inodes.is_empty() {
        let seen = |entry: Entry| (entry.cookie, Seen { entry, holders: Vec::new(), reuseport: None });
        return entries.into_iter().map(seen).collect();
    }
    let owners = process::owners(&inodes);
    let mut known: HashMap<u32, Holder> = HashMap::new();
    let seen = entries.into_iter().map(|entry| {
        let processes = owners.of.get(&entry.inode).map(Vec::as_slice).unwrap_or_default();
        let holders: Vec<Holder> = processes
            .iter()
            .map(|process| known.entry(process.pid).or_insert_with(|| holder(process.pid, &process.name)).clone())
            .collect();
        let reuseport = holders.iter().find_map(|holder| reuseport(holder.pid, entry.inode));
        (entry.cookie, Seen { entry, holders, reuseport })
    });
    let seen: BTreeMap<u64, Seen> = seen.collect();
    if owners.hidden > 0 && seen.values().any(|seen| seen.holders.is_empty() && seen.entry.inode != 0) {
        unseen.push(Unseen {
            what: "whose sockets some are",
            why: format!(
                "{} processes of others can't be looked at; that takes CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH",
                owners.hidden
            ),
        });
    }
    seen
}

fn holder(pid: u32, name: &str) -> Holder {
    let process = Process::open(pid).ok();
    let process = process.as_ref();
    Holder {
        pid,
        name: name.to_owned(),
        command: process.and_then(|process| process.command_line().ok()).unwrap_or_default(),
        unit: process.and_then(|process| process.unit().ok()).flatten(),
    }
}

/// Whether a socket shares its port, asked of a duplicate of the process's fd; `None` where there is none to be had.
fn reuseport(pid: u32, inode: u64) -> Option<bool> {
    let process = Process::open(pid).ok()?;
    let fd = process.sockets().ok()?.into_iter().find(|socket| socket.inode == inode)?.fd;
    let socket = Socket::inspect(process.take_fd(fd).ok()?).ok()??;
    (socket.inode == inode).then_some(socket.reuseport)
}
