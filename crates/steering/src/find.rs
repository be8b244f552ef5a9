//! Finding the sockets of a process that can be selected.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use sklookup_compiler::Family;
use sklookup_kernel::Netns;
use sklookup_kernel::process::{Process, ProcessError};
use sklookup_kernel::sock_diag::SockDiag;
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

/// What a search has found.
#[derive(Debug, Default)]
pub struct Search {
    /// Sockets that can be selected, each once, however many fds it has.
    pub found: Vec<Found>,
    /// Sockets that can't be: the first hundred, only where none can.
    pub rejected: Vec<Rejected>,
}

/// What several sockets are that differ in more than their membership of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ambiguous {
    /// What there is: protocol and local address.
    pub candidates: BTreeSet<(Protocol, SocketAddr)>,
}

/// How many unsuitable sockets are looked at to say why.
const REASONS: usize = 100;

/// The protocol of a policy, for a socket of the kernel's.
pub fn protocol(protocol: socket::Protocol) -> Protocol {
    match protocol {
        socket::Protocol::Tcp => Protocol::Tcp,
        socket::Protocol::Udp => Protocol::Udp,
    }
}

impl Search {
    /// Looks through every fd of some processes for sockets of this namespace.
    ///
    /// Processes that end meanwhile have none.
    ///
    /// # Errors
    /// The first process could not be looked at.
    pub fn processes(processes: &[Process], netns: &Netns) -> Result<Search, Error> {
        // Which sockets could be selected the kernel says at once; a server may have 100,000 others.
        let listeners = netns.run(|| SockDiag::open().and_then(|mut diag| diag.listeners()))??;
        let inodes: HashSet<u64> = listeners.iter().map(|entry| entry.inode).collect();
        let mut search = Search::default();
        let mut seen = HashSet::new();
        let mut others = Vec::new();
        for (index, process) in processes.iter().enumerate() {
            let sockets = match process.sockets() {
                Ok(sockets) => sockets,
                Err(error) if index == 0 => return Err(error.into()),
                Err(_) => continue,
            };
            for at in sockets {
                if seen.contains(&at.inode) {
                    continue;
                }
                if !inodes.contains(&at.inode) {
                    others.push((process, at.fd));
                    continue;
                }
                match process.take_fd(at.fd) {
                    Ok(fd) => {
                        seen.insert(at.inode);
                        search.add(fd, Some((process.pid(), at.fd)), netns)?;
                    }
                    Err(ProcessError::NotOpen { .. } | ProcessError::Gone { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        if search.found.is_empty() {
            for (process, fd) in others.into_iter().take(REASONS) {
                if let Ok(taken) = process.take_fd(fd) {
                    search.add(taken, Some((process.pid(), fd)), netns)?;
                }
            }
        }
        Ok(search)
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
