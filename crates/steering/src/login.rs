//! How whoever typed the command came in: the ssh session whose port must not be taken.
//!
//! A session is known by what could be seen of it, and each way is blind where another one sees:
//!
//! - the connections that an ssh daemon above us holds: sudo and su strip the environment, and not the ancestors; but the
//!   daemon may belong to another user;
//! - `SSH_CONNECTION` in the environments of this process and of those above it, where the kernel knows the connection:
//!   the shell below sudo still has it;
//! - where the ancestors end without a daemon and there is a terminal (tmux, screen and mosh leave their servers to pid
//!   1): the connections of every ssh daemon. One of them may lead to that terminal.

use std::collections::HashSet;
use std::net::SocketAddr;

use sklookup_kernel::process::{self, Process, ProcessName};
use sklookup_kernel::sock_diag::{Entry, SockDiag, State as SocketState};
use sklookup_kernel::socket;

use crate::error::Error;
use crate::machine::canonical;
use crate::safety::{Hidden, Session, Whose};
use crate::state::State;

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Login {
    pub(crate) sessions: Vec<Session>,
    /// A session that could not be looked at.
    pub(crate) hidden: Option<Hidden>,
}

/// Both ends of a connection: remote, local.
type Ends = (SocketAddr, SocketAddr);

/// The sockets of some daemons.
#[derive(Default)]
struct Held {
    inodes: HashSet<u64>,
    /// Those of them that may not be looked at.
    hidden: Vec<ProcessName>,
}

impl State {
    /// The ssh session that the command was typed in.
    ///
    /// # Errors
    /// The connections of the namespace could not be listed.
    pub(crate) fn login(&self) -> Result<Login, Error> {
        let own = std::process::id();
        let chain = process::ancestors(own);
        let above: Vec<ProcessName> = chain.iter().filter_map(|&pid| named(pid)).collect();
        let daemons: Vec<ProcessName> = above.iter().filter(|process| is_daemon(process)).cloned().collect();
        let held = Held::by(&daemons);
        let claims = claims(&chain);

        let mut connections = Connections { state: self, listed: None };
        let mut login = Login::default();
        if !held.inodes.is_empty() || !claims.is_empty() {
            for entry in connections.all()? {
                let ends = (canonical(entry.remote), canonical(entry.local));
                if held.inodes.contains(&entry.inode) || claims.contains(&ends) {
                    login.sessions.push(Session { remote: ends.0, local: ends.1, whose: Whose::Yours });
                }
            }
        }
        if !login.sessions.is_empty() || (!daemons.is_empty() && held.hidden.is_empty()) {
            return Ok(login);
        }
        let (why, suspects) = if !daemons.is_empty() {
            ("it is above this command".to_owned(), held)
        } else if Process::open(own).and_then(|own| own.has_terminal()).unwrap_or(false) {
            let last = above.iter().rfind(|process| process.pid != 1);
            let end = last.map_or_else(|| "this command".to_owned(), described);
            let every: Vec<ProcessName> = process::every_name().into_iter().filter(is_daemon).collect();
            (format!("nothing above {end} says how this terminal was reached"), Held::by(&every))
        } else {
            return Ok(login);
        };
        if !suspects.inodes.is_empty() {
            for entry in connections.all()?.iter().filter(|entry| suspects.inodes.contains(&entry.inode)) {
                let (remote, local) = (canonical(entry.remote), canonical(entry.local));
                login.sessions.push(Session { remote, local, whose: Whose::Perhaps(why.clone()) });
            }
        }
        // A claim that the kernel knows nothing of is of another namespace, where nothing is taken.
        if let Some(daemon) = suspects.hidden.first()
            && claims.is_empty()
        {
            let entries = connections.all()?;
            let owners = process::owners(&entries.iter().map(|entry| entry.inode).collect());
            let nobodys = entries.iter().filter(|entry| !owners.of.contains_key(&entry.inode));
            let mut connections: Vec<Ends> =
                nobodys.map(|entry| (canonical(entry.remote), canonical(entry.local))).collect();
            // Services have low ports, and whoever goes out has a high one.
            connections.sort_by_key(|(_, local)| local.port());
            login.hidden = Some(Hidden { daemon: described(daemon), connections });
        }
        Ok(login)
    }
}

impl Held {
    fn by(daemons: &[ProcessName]) -> Held {
        let mut held = Held::default();
        for daemon in daemons {
            match Process::open(daemon.pid).and_then(|process| process.sockets()) {
                Ok(sockets) => held.inodes.extend(sockets.iter().map(|socket| socket.inode)),
                Err(process::ProcessError::Gone { .. }) => {}
                Err(_) => held.hidden.push(daemon.clone()),
            }
        }
        held
    }
}

/// The established connections of the namespace, listed when they are first asked for: there may be 100,000.
struct Connections<'a> {
    state: &'a State,
    listed: Option<Vec<Entry>>,
}

impl Connections<'_> {
    fn all(&mut self) -> Result<&[Entry], Error> {
        if self.listed.is_none() {
            let list =
                || SockDiag::open().and_then(|mut diag| diag.dump(socket::Protocol::Tcp, &[SocketState::Connected]));
            self.listed = Some(self.state.netns().run(list)??);
        }
        Ok(self.listed.as_deref().unwrap_or_default())
    }
}

fn named(pid: u32) -> Option<ProcessName> {
    Some(ProcessName { pid, name: Process::open(pid).and_then(|process| process.name()).ok()? })
}

fn described(process: &ProcessName) -> String {
    format!("{} (pid {})", process.name, process.pid)
}

/// `sshd`, and `sshd-session` since OpenSSH 9.8.
fn is_daemon(process: &ProcessName) -> bool {
    process.name.starts_with("sshd") || process.name.starts_with("dropbear")
}

/// What the environments of this process and of some others say.
fn claims(chain: &[u32]) -> HashSet<Ends> {
    const VARIABLE: &str = "SSH_CONNECTION";
    let of = |&pid: &u32| Process::open(pid).and_then(|process| process.variable(VARIABLE)).ok().flatten();
    let own = std::env::var(VARIABLE).ok();
    chain.iter().filter_map(of).chain(own).filter_map(|value| ends_of(&value)).collect()
}

/// Reads `SSH_CONNECTION`: client address, client port, server address, server port.
fn ends_of(variable: &str) -> Option<Ends> {
    let mut words = variable.split_whitespace();
    let mut end = || {
        // A link-local address comes with its interface.
        let (address, port) = (words.next()?.split('%').next()?, words.next()?);
        Some(canonical(SocketAddr::new(address.parse().ok()?, port.parse().ok()?)))
    };
    Some((end()?, end()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ssh_variable_names_both_ends() {
        let both = ends_of("198.51.100.9 50000 192.0.2.7 22").unwrap();
        assert_eq!(both, ("198.51.100.9:50000".parse().unwrap(), "192.0.2.7:22".parse().unwrap()));
        assert_eq!(ends_of("::ffff:198.51.100.9 50000 ::ffff:192.0.2.7 22"), Some(both));
        let local = ends_of("fe80::1%eth0 50000 fe80::2%eth0 22").unwrap();
        assert_eq!(local.1, "[fe80::2]:22".parse().unwrap());
        for other in ["nonsense", "", "UNKNOWN 65535 UNKNOWN 65535"] {
            assert_eq!(ends_of(other), None);
        }
    }
}
