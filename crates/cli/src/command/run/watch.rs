//! Watching what a command and those it starts listen on, without touching a socket.
//!
//! Whoever holds a duplicate of a listener keeps it open: a server that closes its socket and binds the address again
//! would find it taken. So looking is done with sock_diag and /proc, and fds are taken only to be registered.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::SocketAddr;

use sklookup_compiler::Family;
use sklookup_kernel::process::{self, Process};
use sklookup_kernel::sock_diag::{Entry, SockDiag};
use sklookup_policy::Protocol;
use sklookup_steering::find::{Found, Search, protocol};
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
        Ok(Watch { state, asked, diag, strangers: process::descendants(own), inherited, last: BTreeSet::new() })
    }

    /// The sockets that could be meant, in a fixed order.
    pub fn look(&mut self) -> Result<Vec<Seen>, Error> {
        let listening = self.diag.listeners()?;
        self.last = listening.iter().map(|entry| entry.cookie).collect();
        let by_inode: HashMap<u64, &Entry> = listening.iter().map(|entry| (entry.inode, entry)).collect();
        let mut seen = Vec::new();
        let mut known = HashSet::new();
        for process in self.processes() {
            // One that has ended meanwhile, or that we may not look into, shows nothing.
            for socket in process.sockets().unwrap_or_default() {
                let Some(entry) = by_inode.get(&socket.inode) else { continue };
                if !known.insert(socket.inode) {
                    continue;
                }
                let (protocol, local) = (protocol(entry.protocol), entry.local);
                if let Ok(kinds) = self.uses(protocol, local, families(entry), entry.cookie) {
                    seen.push(Seen { protocol, local, cookie: entry.cookie, kinds, pid: process.pid() });
                }
            }
        }
        seen.sort();
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

    /// Everything the processes hold, with reasons: for saying why nothing was found.
    pub fn search(&self) -> Result<Search, Error> {
        Search::processes(&self.processes(), self.state.netns())
    }

    /// The sockets of a service, taken to be registered, each for what it is to serve.
    pub fn take(&self, service: &Service) -> Result<Vec<Found>, Error> {
        let mut found = self.search()?.found;
        found.retain_mut(|found| {
            found.member.families = service.families(found.member.cookie);
            !found.member.families.is_empty()
        });
        Ok(found)
    }

    /// The command and all that it started, as long as they live.
    pub fn processes(&self) -> Vec<Process> {
        let mut pids: BTreeSet<u32> = process::descendants(std::process::id()).into_iter().collect();
        for stranger in &self.strangers {
            pids.remove(stranger);
            for theirs in process::descendants(*stranger) {
                pids.remove(&theirs);
            }
        }
        pids.into_iter().filter_map(|pid| Process::open(pid).ok()).collect()
    }
}

fn families(entry: &Entry) -> &'static [Family] {
    match (entry.ipv6, entry.v6only) {
        (false, _) => &[Family::V4],
        (true, true) => &[Family::V6],
        (true, false) => &[Family::V4, Family::V6],
    }
}
