//! What the machine looks like to the safety catches.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::ops::RangeInclusive;

use sklookup_kernel::process::{self, ProcessName};
use sklookup_kernel::sock_diag::{Entry, SockDiag};
use sklookup_kernel::{interface, route};
use sklookup_policy::{Label, Policy};

use crate::error::Error;
use crate::find::protocol;
use crate::safety::{self, Catch, Hazard, Listener, World};
use crate::state::State;

/// What the safety catches say to a new policy.
#[derive(Debug, Default)]
pub struct Review {
    /// Those that it closes.
    pub catches: Vec<Catch>,
    /// What could not be found out, and matters to it.
    pub unseen: Option<String>,
}

/// What keeps us from telling whose a socket is.
const HIDDEN: &str = " that can't be looked at (that takes CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH)";

impl State {
    /// The safety catches that a new policy closes.
    ///
    /// `replaces` says whether it was given as a whole; `mine` are cookies of sockets that are about to be registered.
    ///
    /// # Errors
    /// The machine could not be looked at.
    pub fn review(&self, old: &Policy, new: &Policy, replaces: bool, mine: &[u64]) -> Result<Review, Error> {
        let mut world = self.world()?;
        world.registered = mine.iter().copied().collect();
        let mut catches = safety::review(old, new, &world, replaces);
        if catches.iter().any(|catch| catch.hazard == Hazard::Takeover) {
            // Which sockets are ours takes a look under every label, and whose the others are a walk through every
            // process: only where it matters.
            world.registered.extend(self.cookies()?);
            self.name_owners(&mut world.listeners)?;
            catches = safety::review(old, new, &world, replaces);
        }
        if replaces && new.is_empty() && old.is_empty() && self.live()?.is_none() {
            // Nothing would be lost, but nobody wants this: an empty file is a mistake of whoever made it.
            let message = "the policy has no bindings, and nothing is applied".to_owned();
            catches.push(Catch { hazard: Hazard::Empty, message, help: None });
        }
        let unseen = safety::unseen(old, new, &world);
        Ok(Review { catches, unseen })
    }

    /// Says of each listener which processes have it, as far as can be seen.
    fn name_owners(&self, listeners: &mut [Listener]) -> Result<(), Error> {
        let entries = self.listeners()?;
        let inodes = entries.iter().map(|entry| entry.inode).collect();
        let owners = process::owners(&inodes);
        let names: HashMap<u64, String> =
            entries.iter().filter_map(|entry| Some((entry.cookie, named(owners.of.get(&entry.inode)?)))).collect();
        for listener in listeners {
            match names.get(&listener.cookie) {
                Some(name) => listener.owner.clone_from(name),
                None if owners.hidden > 0 => listener.owner.push_str(HIDDEN),
                None => {}
            }
        }
        Ok(())
    }

    fn world(&self) -> Result<World, Error> {
        let (local, interfaces, ephemeral) = self
            .netns()
            .run(|| Ok::<_, Error>((route::local_prefixes()?, interface::list()?, ephemeral_ports())))??;
        let addresses = interfaces.iter().flat_map(|interface| &interface.addresses).map(ipnet::IpNet::addr).collect();
        let names: HashMap<u32, &str> =
            interfaces.iter().map(|interface| (interface.index, interface.name.as_str())).collect();
        let listeners = self.listeners()?.iter().map(|entry| listener(entry, &names)).collect();
        let login = self.login()?;
        Ok(World {
            ssh: login.sessions,
            hidden: login.hidden,
            listeners,
            local,
            addresses,
            ephemeral,
            registered: HashSet::new(),
            ip: self.ip_command(),
        })
    }

    fn listeners(&self) -> Result<Vec<Entry>, Error> {
        Ok(self.netns().run(|| SockDiag::open().and_then(|mut diag| diag.listeners()))??)
    }

    /// Cookies of every socket under any label.
    fn cookies(&self) -> Result<HashSet<u64>, Error> {
        let registered = self.read(|live| {
            let record = crate::state::read_record(&live.dir)?;
            record.labels.iter().map(|label: &Label| live.registered(label)).collect::<Result<Vec<_>, Error>>()
        })?;
        Ok(registered.into_iter().flatten().flatten().map(|registered| registered.cookie).collect())
    }

    /// The command that changes this namespace's routes.
    fn ip_command(&self) -> String {
        let name = self.netns().describe();
        if self.netns().is_current() {
            "ip".to_owned()
        } else if name.contains('/') {
            format!("nsenter --net={name} ip")
        } else if name.bytes().all(|byte| byte.is_ascii_digit()) {
            format!("nsenter --net=/proc/{name}/ns/net ip")
        } else {
            format!("ip -n {name}")
        }
    }
}

/// An IPv4 connection of an IPv6 socket, as the packets have it.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn listener(entry: &Entry, names: &HashMap<u32, &str>) -> Listener {
    let local = canonical(entry.local);
    Listener {
        protocol: protocol(entry.protocol),
        address: local,
        dual_stack: entry.ipv6 && !entry.v6only,
        // One whose name no policy can say is taken for bound to none: rather a word too many.
        interface: names.get(&entry.interface).and_then(|name| name.parse().ok()),
        cookie: entry.cookie,
        owner: format!("a process of user {}", entry.uid),
    }
}

fn named(processes: &[ProcessName]) -> String {
    let names: Vec<String> =
        processes.iter().take(3).map(|process| format!("{} (pid {})", process.name, process.pid)).collect();
    match processes.len().saturating_sub(names.len()) {
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    }
}

/// The ports that the kernel gives to sockets that ask for none, in the namespace of this thread.
fn ephemeral_ports() -> Option<RangeInclusive<u16>> {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let mut ports = text.split_whitespace().map(str::parse);
    Some(ports.next()?.ok()?..=ports.next()?.ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_owners_are_counted() {
        let of = |pid| ProcessName { pid, name: "nginx".to_owned() };
        assert_eq!(named(&[of(1)]), "nginx (pid 1)");
        assert_eq!(
            named(&(1..6).map(of).collect::<Vec<_>>()),
            "nginx (pid 1), nginx (pid 2), nginx (pid 3) and 2 more"
        );
    }
}
