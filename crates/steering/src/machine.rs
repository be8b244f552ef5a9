//! What the machine looks like to the safety catches.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::ops::RangeInclusive;

use sklookup_kernel::process::{self, Process, ProcessName};
use sklookup_kernel::sock_diag::{Entry, SockDiag, State as SocketState};
use sklookup_kernel::{interface, route, socket};
use sklookup_policy::{Label, Policy};

use crate::error::Error;
use crate::find::protocol;
use crate::safety::{self, Catch, Hazard, Listener, World};
use crate::state::State;

/// What keeps us from telling whose a socket is.
const HIDDEN: &str = " that can't be looked at (that takes CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH)";

impl State {
    /// The safety catches that a new policy closes.
    ///
    /// `replaces` says whether it was given as a whole; `mine` are cookies of sockets that are about to be registered.
    ///
    /// # Errors
    /// The machine could not be looked at.
    pub fn review(&self, old: &Policy, new: &Policy, replaces: bool, mine: &[u64]) -> Result<Vec<Catch>, Error> {
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
        Ok(catches)
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
        let listeners = self.listeners()?.iter().map(listener).collect();
        let (local, addresses, ephemeral) = self.netns().run(|| {
            let local = route::local_prefixes()?;
            let interfaces = interface::list()?;
            let addresses =
                interfaces.iter().flat_map(|interface| &interface.addresses).map(ipnet::IpNet::addr).collect();
            Ok::<_, Error>((local, addresses, ephemeral_ports()))
        })??;
        Ok(World {
            ssh: self.ssh_sessions()?,
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

    /// The connections through which the processes above us were reached.
    ///
    /// sudo takes `SSH_CONNECTION` out of the environment, so the daemon's own sockets are asked first.
    fn ssh_sessions(&self) -> Result<Vec<(SocketAddr, SocketAddr)>, Error> {
        let mut inodes = HashSet::new();
        for pid in process::ancestors(std::process::id()) {
            let Ok(process) = Process::open(pid) else { continue };
            if process.name().is_ok_and(|name| name.starts_with("sshd") || name.starts_with("dropbear")) {
                inodes.extend(process.sockets().unwrap_or_default().iter().map(|socket| socket.inode));
            }
        }
        if inodes.is_empty() {
            return Ok(session_of(std::env::var("SSH_CONNECTION").ok().as_deref()).into_iter().collect());
        }
        let established = self.netns().run(|| {
            SockDiag::open().and_then(|mut diag| diag.dump(socket::Protocol::Tcp, &[SocketState::Connected]))
        })??;
        let sessions = established.into_iter().filter(|entry| inodes.contains(&entry.inode));
        Ok(sessions.map(|entry| (canonical(entry.remote), canonical(entry.local))).collect())
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
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn listener(entry: &Entry) -> Listener {
    let local = canonical(entry.local);
    Listener {
        protocol: protocol(entry.protocol),
        address: local,
        dual_stack: entry.ipv6 && !entry.v6only,
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

/// Reads `SSH_CONNECTION`: client address, client port, server address, server port.
fn session_of(variable: Option<&str>) -> Option<(SocketAddr, SocketAddr)> {
    let mut words = variable?.split_whitespace();
    let mut end = || Some(SocketAddr::new(words.next()?.parse().ok()?, words.next()?.parse().ok()?));
    Some((end()?, end()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ssh_variable_names_both_ends() {
        let both = session_of(Some("198.51.100.9 50000 192.0.2.7 22")).unwrap();
        assert_eq!(both, ("198.51.100.9:50000".parse().unwrap(), "192.0.2.7:22".parse().unwrap()));
        assert_eq!(session_of(Some("nonsense")), None);
        assert_eq!(session_of(None), None);
    }

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
