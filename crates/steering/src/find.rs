//! Finding the sockets of a process that can be selected.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use sklookup_compiler::Family;
use sklookup_compiler::label_map::MEMBERS;
use sklookup_kernel::Netns;
use sklookup_kernel::process::{self, FdSocket, Process, ProcessError, ProcessName};
use sklookup_kernel::sock_diag::{Entry, SockDiag};
use sklookup_kernel::socket::{self, Socket};
use sklookup_policy::Protocol;

use crate::error::Error;
use crate::registration::Member;

/// A socket that can be selected, taken from where it was found.
#[derive(Debug)]
pub struct Found {
    /// Its local address.
    pub local: SocketAddr,
    /// Whether it may belong to a group.
    pub reuseport: bool,
    /// The process, and its fd there.
    pub place: Option<(u32, u32)>,
    /// The socket.
    pub member: Member,
}

/// A socket that can't be selected, and why.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rejected {
    /// Fd in the process.
    pub fd: u32,
    /// Why not.
    pub why: String,
}

/// A member of a reuseport group that another process has, and that could not be taken from it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Missed {
    /// That process, where it could be seen.
    pub pid: Option<u32>,
    /// Its protocol.
    pub protocol: Protocol,
    /// Its local address, the same for the whole group.
    pub local: SocketAddr,
    /// Why not.
    pub why: String,
}

/// What a search has found.
#[derive(Debug, Default)]
pub struct Search {
    /// Sockets that can be selected, each once, however many fds it has.
    pub found: Vec<Found>,
    /// Sockets that can't be: the first hundred, only where none can.
    pub rejected: Vec<Rejected>,
    /// Other members of the groups found, that could not be taken.
    pub missed: Vec<Missed>,
    /// Other members of the groups found, beyond those that a label has slots for: left where they are.
    pub surplus: Vec<(Protocol, SocketAddr)>,
}

/// What several sockets are that differ in more than their membership of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ambiguous {
    /// What there is: protocol and local address.
    pub candidates: BTreeSet<(Protocol, SocketAddr)>,
}

/// Whether a socket became one of those found: `false` when it has closed meanwhile, or is of no group. Else who has it and
/// why it may not be taken.
type Joined = Result<bool, (Option<u32>, String)>;

/// What the members of a reuseport group have in common, as Linux 6.18 groups them.
type Group = (socket::Protocol, SocketAddr, bool, bool, u32, u32);

/// How many unsuitable sockets are looked at to say why.
const REASONS: usize = 100;

/// The protocol of a policy, for a socket of the kernel's.
pub fn protocol(protocol: socket::Protocol) -> Protocol {
    match protocol {
        socket::Protocol::Tcp => Protocol::Tcp,
        socket::Protocol::Udp => Protocol::Udp,
    }
}

/// A process and its sockets; `None`: it has ended, or we may not look into it.
///
/// # Errors
/// Anything else: that there was no fd left to look with says nothing about the process.
pub fn sockets_of(pid: u32) -> Result<Option<(Process, Vec<FdSocket>)>, Error> {
    let looked = Process::open(pid).and_then(|process| {
        let sockets = process.sockets()?;
        Ok((process, sockets))
    });
    match looked {
        Ok(both) => Ok(Some(both)),
        Err(ProcessError::Failed(error)) => Err(error.into()),
        Err(_) => Ok(None),
    }
}

impl Search {
    /// Looks through every fd of a process for sockets of this namespace, and in other processes for those of one
    /// reuseport group with them: with all members registered, a group is served until the last one closes.
    ///
    /// # Errors
    /// The process could not be looked at.
    pub fn process(process: &Process, netns: &Netns) -> Result<Search, Error> {
        let listeners = listeners(netns)?;
        let inodes: HashSet<u64> = listeners.iter().map(|entry| entry.inode).collect();
        let mut search = Search::default();
        let mut seen = HashSet::new();
        let mut others = Vec::new();
        for at in process.sockets()? {
            if !inodes.contains(&at.inode) {
                others.push((process.pid(), at.fd));
            } else if !seen.contains(&at.inode) {
                match process.take_fd(at.fd) {
                    Ok(fd) => {
                        seen.insert(at.inode);
                        search.add(fd, Some((process.pid(), at.fd)), netns)?;
                    }
                    Err(ProcessError::NotOpen { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        search.explain(others, netns)?;
        search.join_groups(&listeners, netns)?;
        Ok(search)
    }

    /// What could be selected in some processes, but no more than `most` sockets; where there is nothing, what there is
    /// instead.
    ///
    /// Processes that end meanwhile, or that we may not look into, have none.
    ///
    /// # Errors
    /// A call that failed.
    pub fn overview(pids: &[u32], most: usize, netns: &Netns) -> Result<Search, Error> {
        let inodes: HashSet<u64> = listeners(netns)?.iter().map(|entry| entry.inode).collect();
        let mut search = Search::default();
        let mut seen = HashSet::new();
        let mut others = Vec::new();
        for &pid in pids {
            let Some((process, sockets)) = sockets_of(pid)? else { continue };
            for at in sockets {
                if !inodes.contains(&at.inode) {
                    others.push((pid, at.fd));
                } else if search.found.len() < most && seen.insert(at.inode) {
                    match process.take_fd(at.fd) {
                        Ok(fd) => search.add(fd, Some((pid, at.fd)), netns)?,
                        Err(ProcessError::Failed(error)) => return Err(error.into()),
                        Err(ProcessError::Denied { .. }) => {
                            let why = ProcessError::Denied { pid }.to_string();
                            search.rejected.push(Rejected { fd: at.fd, why });
                        }
                        Err(_) => {}
                    }
                }
            }
            others.truncate(REASONS);
        }
        search.explain(others, netns)?;
        Ok(search)
    }

    /// Takes the sockets with these cookies from some processes. Those that have closed meanwhile are missing.
    ///
    /// # Errors
    /// One may not be taken, or a call failed.
    pub fn cookies(pids: &[u32], cookies: &BTreeSet<u64>, netns: &Netns) -> Result<Vec<Found>, Error> {
        let listeners = listeners(netns)?;
        let mut wanted: HashSet<u64> =
            listeners.iter().filter(|entry| cookies.contains(&entry.cookie)).map(|entry| entry.inode).collect();
        let mut search = Search::default();
        let mut denied = None;
        for &pid in pids {
            if wanted.is_empty() {
                break;
            }
            let Some((process, sockets)) = sockets_of(pid)? else { continue };
            for at in sockets {
                if !wanted.contains(&at.inode) {
                    continue;
                }
                match process.take_fd(at.fd) {
                    Ok(fd) => {
                        wanted.remove(&at.inode);
                        search.add(fd, Some((pid, at.fd)), netns)?;
                    }
                    Err(ProcessError::Failed(error)) => return Err(error.into()),
                    // Another one may have it too, and be ours to look into.
                    Err(error @ ProcessError::Denied { .. }) => denied = Some(error),
                    Err(_) => {}
                }
            }
        }
        match denied {
            Some(error) if !wanted.is_empty() => Err(error.into()),
            _ => Ok(search.found),
        }
    }

    /// Looks at sockets that we were given, each with the number of its fd.
    ///
    /// # Errors
    /// One could not be inspected.
    pub fn given(fds: impl IntoIterator<Item = (u32, OwnedFd)>, netns: &Netns) -> Result<Search, Error> {
        let mut search = Search::default();
        for (number, fd) in fds {
            search.add(fd, Some((std::process::id(), number)), netns)?;
        }
        Ok(search)
    }

    /// Where nothing was found, says of what there is why it won't do.
    fn explain(&mut self, others: Vec<(u32, u32)>, netns: &Netns) -> Result<(), Error> {
        if !self.found.is_empty() {
            return Ok(());
        }
        for (pid, fd) in others.into_iter().take(REASONS) {
            if let Ok(taken) = Process::open(pid).and_then(|process| process.take_fd(fd)) {
                self.add(taken, Some((pid, fd)), netns)?;
            }
        }
        Ok(())
    }

    /// Takes from other processes what is of one group with a socket that was found, as far as a label has slots.
    fn join_groups(&mut self, listeners: &[Entry], netns: &Netns) -> Result<(), Error> {
        let cookies = |found: &Found| found.member.cookie;
        let ours: HashSet<u64> = self.found.iter().map(cookies).collect();
        let grouped: HashSet<u64> = self.found.iter().filter(|found| found.reuseport).map(cookies).collect();
        let mut groups: HashMap<Group, u32> = HashMap::new();
        for entry in listeners.iter().filter(|entry| grouped.contains(&entry.cookie)) {
            *groups.entry(group(entry)).or_default() += 1;
        }
        let others: Vec<&Entry> = listeners
            .iter()
            .filter(|entry| !ours.contains(&entry.cookie) && groups.contains_key(&group(entry)))
            .collect();
        if others.is_empty() {
            return Ok(());
        }
        let owners = process::owners(&others.iter().map(|entry| entry.inode).collect());
        for entry in others {
            let members = groups.entry(group(entry)).or_default();
            if *members >= MEMBERS {
                self.surplus.push((protocol(entry.protocol), entry.local));
                continue;
            }
            let holders = owners.of.get(&entry.inode).map_or(&[][..], Vec::as_slice);
            match self.join(entry, holders, netns)? {
                Ok(true) => *members += 1,
                Ok(false) => {}
                Err((pid, why)) => {
                    self.missed.push(Missed { pid, protocol: protocol(entry.protocol), local: entry.local, why });
                }
            }
        }
        Ok(())
    }

    /// Takes a socket from whichever of its holders allows it.
    fn join(&mut self, entry: &Entry, holders: &[ProcessName], netns: &Netns) -> Result<Joined, Error> {
        let mut joined = match holders {
            [] => Err((None, "no process that we may look into has it".to_owned())),
            _ => Ok(false),
        };
        for &ProcessName { pid, .. } in holders {
            let taken = Process::open(pid).and_then(|process| {
                let at = process.sockets()?.into_iter().find(|at| at.inode == entry.inode);
                at.map(|at| Ok((process.take_fd(at.fd)?, at.fd))).transpose()
            });
            match taken {
                Ok(Some((fd, number))) => {
                    self.add(fd, Some((pid, number)), netns)?;
                    // At the same address without SO_REUSEPORT it is of no group.
                    let alone = self.found.pop_if(|found| found.member.cookie == entry.cookie && !found.reuseport);
                    return Ok(Ok(alone.is_none()));
                }
                Ok(None) | Err(ProcessError::Gone { .. } | ProcessError::NotOpen { .. }) => {}
                Err(error) => joined = Err((Some(pid), error.to_string())),
            }
        }
        Ok(joined)
    }

    fn add(&mut self, fd: OwnedFd, place: Option<(u32, u32)>, netns: &Netns) -> Result<(), Error> {
        let number = place.map_or(0, |(_, fd)| fd);
        let Some(socket) = Socket::inspect(fd.as_fd())? else {
            self.rejected.push(Rejected { fd: number, why: socket::Unsuitable::NotSocket.to_string() });
            return Ok(());
        };
        if socket.netns.is_some_and(|inode| inode != netns.inode()) {
            let why = "a socket of another network namespace: connections to it would hang".to_owned();
            self.rejected.push(Rejected { fd: number, why });
            return Ok(());
        }
        match (socket.suitability(), socket.local) {
            (Ok(suitable), Some(local)) => {
                let families = [(suitable.v4, Family::V4), (suitable.v6, Family::V6)];
                let families = families.into_iter().filter_map(|(takes, family)| takes.then_some(family)).collect();
                let member = Member { fd, protocol: protocol(suitable.protocol), families, cookie: socket.cookie };
                self.found.push(Found { local, reuseport: socket.reuseport, place, member });
            }
            (Ok(_), None) => {}
            (Err(why), _) => self.rejected.push(Rejected { fd: number, why: why.to_string() }),
        }
        Ok(())
    }
}

/// What could be selected, as the kernel says at once; a server may have 100,000 other sockets.
fn listeners(netns: &Netns) -> Result<Vec<Entry>, Error> {
    Ok(netns.run(|| SockDiag::open().and_then(|mut diag| diag.listeners()))??)
}

fn group(entry: &Entry) -> Group {
    (entry.protocol, entry.local, entry.ipv6, entry.v6only, entry.interface, entry.uid)
}

/// Makes sure that what was found is one service: for each protocol and family one socket, or one reuseport group.
///
/// # Errors
/// [`Ambiguous`]: somebody has to say which is meant.
pub fn one_service(found: &[Found]) -> Result<(), Ambiguous> {
    let mut addresses: BTreeMap<(Protocol, Family), BTreeSet<SocketAddr>> = BTreeMap::new();
    for found in found {
        for &family in &found.member.families {
            addresses.entry((found.member.protocol, family)).or_default().insert(found.local);
        }
    }
    if addresses.values().all(|addresses| addresses.len() == 1) {
        return Ok(());
    }
    Err(Ambiguous { candidates: found.iter().map(|found| (found.member.protocol, found.local)).collect() })
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_process_that_has_ended_shows_nothing_and_is_no_failure() {
        let netns = Netns::current().unwrap();
        let mut child = Command::new("true").spawn().unwrap();
        let gone = child.id();
        child.wait().unwrap();
        // First in the list too: the starter of a daemon.
        let pids = [gone, std::process::id()];
        assert!(sockets_of(gone).unwrap().is_none());
        assert!(Search::cookies(&pids, &BTreeSet::from([1]), &netns).unwrap().is_empty());
        Search::overview(&pids, 1, &netns).unwrap();
    }

    #[test]
    fn no_more_sockets_are_taken_than_were_asked_for() {
        let netns = Netns::current().unwrap();
        let _held: Vec<_> = (0..3).map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let own = std::process::id();
        assert_eq!(Search::overview(&[own], 2, &netns).unwrap().found.len(), 2);
    }
}
