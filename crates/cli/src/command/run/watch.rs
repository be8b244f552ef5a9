//! Watching what a command and those it starts listen on, without touching a socket.
//!
//! Whoever holds a duplicate of a listener keeps it open: a server that closes its socket and binds the address again
//! would find it taken. So looking is done with sock_diag and /proc, and fds are taken only to be registered. Processes are
//! looked at one by one: a server may have more workers than we may have fds.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::SocketAddr;

use sklookup_compiler::Family;
use sklookup_kernel::process::{self, Process};
use sklookup_kernel::sock_diag::{Entry, SockDiag};
use sklookup_policy::Protocol;
use sklookup_steering::find::{Found, Search, protocol, sockets_of};
use sklookup_steering::{Error, State};

use crate::command::run::asked::{Asked, Kind};
use crate::command::run::service::{Seen, Service};

/// The eye on the processes below this one.
#[derive(Debug)]
pub struct Watch<'a> {
    state: &'a State,
    asked: &'a Asked,
    diag: SockDiag,
    /// Children that were there before the command: whoever became sklookup by exec had them.
    strangers: Vec<u32>,
    /// Cookies of listeners that we hold ourselves: those passed on as standard input and output.
    inherited: HashSet<u64>,
    /// Cookies of all that listened in the namespace at the last look.
    last: BTreeSet<u64>,
}

impl<'a> Watch<'a> {
    /// Starts to watch; to be made before the command is started.
    pub fn new(state: &'a State, asked: &'a Asked) -> Result<Watch<'a>, Error> {
        let own = std::process::id();
        let mut diag = state.netns().run(SockDiag::open)??;
        let held: HashSet<u64> = Process::open(own)?.sockets()?.iter().map(|socket| socket.inode).collect();
        let listening = diag.listeners()?;
        let inherited =
            listening.iter().filter(|entry| held.contains(&entry.inode)).map(|entry| entry.cookie).collect();
        let strangers = process::descendants(own)?;
        Ok(Watch { state, asked, diag, strangers, inherited, last: BTreeSet::new() })
    }

    /// The sockets that could be meant, in a fixed order.
    pub fn look(&mut self) -> Result<Vec<Seen>, Error> {
        let listening = self.diag.listeners()?;
        let by_inode: HashMap<u64, &Entry> = listening.iter().map(|entry| (entry.inode, entry)).collect();
        let mut seen = Vec::new();
        let mut known = HashSet::new();
        for pid in self.pids()? {
            let Some((_, sockets)) = sockets_of(pid)? else { continue };
            for socket in sockets {
                let Some(entry) = by_inode.get(&socket.inode) else { continue };
                if !known.insert(socket.inode) {
                    continue;
                }
                let (protocol, local) = (protocol(entry.protocol), entry.local);
                if let Ok(kinds) = self.uses(protocol, local, families(entry), entry.cookie) {
                    seen.push(Seen { protocol, local, cookie: entry.cookie, kinds, pid });
                }
            }
        }
        seen.sort();
        // Only now: a look that failed has to be had again.
        self.last = listening.iter().map(|entry| entry.cookie).collect();
        Ok(seen)
    }

    /// The kinds of packets that a socket could get; or why it gets none.
    pub fn uses(
        &self,
        protocol: Protocol,
        local: SocketAddr,
        families: &[Family],
        cookie: u64,
    ) -> Result<Vec<Kind>, String> {
        // Passed down to us, it may be anybody's; only a word of the user makes it the server's.
        if self.inherited.contains(&cookie) && !self.asked.is_matched(protocol, local) {
            return Err(format!("was open before it started; if it is meant: --match '{protocol} {local}'"));
        }
        self.asked.uses(protocol, local, families)
    }

    /// Whether the namespace has other listeners than at the last look. Cheap, and all there is to do while nothing
    /// happens.
    pub fn changed(&mut self) -> Result<bool, Error> {
        let now: BTreeSet<u64> = self.diag.listeners()?.iter().map(|entry| entry.cookie).collect();
        Ok(now != self.last)
    }

    /// What the processes hold, with reasons: for saying why nothing was found.
    pub fn search(&self) -> Result<Search, Error> {
        const MOST: usize = 100; // sockets; more reasons than anyone reads
        Search::overview(&self.pids()?, MOST, self.state.netns())
    }

    /// The sockets of a service, taken to be registered, each for what it is to serve.
    pub fn take(&self, service: &Service) -> Result<Vec<Found>, Error> {
        let mut found = Search::cookies(&self.pids()?, &service.cookies(), self.state.netns())?;
        found.retain_mut(|found| {
            found.member.families = service.families(found.member.cookie);
            !found.member.families.is_empty()
        });
        Ok(found)
    }

    /// The command and all that it started.
    pub fn pids(&self) -> Result<Vec<u32>, Error> {
        let mut pids: BTreeSet<u32> = process::descendants(std::process::id())?.into_iter().collect();
        for stranger in &self.strangers {
            pids.remove(stranger);
            for theirs in process::descendants(*stranger)? {
                pids.remove(&theirs);
            }
        }
        Ok(pids.into_iter().collect())
    }

    /// Whether neither the command nor anyone that it started is left.
    ///
    /// Whoever loses its parent is given to us, so as long as there is anyone we have a child. Those that have ended count
    /// until they were waited for.
    pub fn is_alone(&self) -> Result<bool, Error> {
        Ok(self.daemons()?.is_empty())
    }

    /// Those of them that are our children: the command, and whoever was given to us when its parent ended.
    pub fn daemons(&self) -> Result<Vec<u32>, Error> {
        let mut children = process::children(std::process::id())?;
        children.retain(|child| !self.strangers.contains(child));
        Ok(children)
    }
}

fn families(entry: &Entry) -> &'static [Family] {
    match (entry.ipv6, entry.v6only) {
        (false, _) => &[Family::V4],
        (true, true) => &[Family::V6],
        (true, false) => &[Family::V4, Family::V6],
    }
}
