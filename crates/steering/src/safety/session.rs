//! The port through which whoever types came in.

use std::net::SocketAddr;

use sklookup_policy::{Binding, Policy, Protocol};

use super::{Catch, Hazard, World, taker};

/// An ssh connection to this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Where it came from.
    pub remote: SocketAddr,
    /// Where it came in.
    pub local: SocketAddr,
    /// Whose it is.
    pub whose: Whose,
}

/// Whether a session is the one that the command was typed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// It is.
    Yours,
    /// It may be; why nobody knows.
    Perhaps(String),
}

/// A session that could not be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hidden {
    /// The daemon that has it.
    pub daemon: String,
    /// Connections that nobody we may look at has: it is one of these. Remote and local end.
    pub connections: Vec<(SocketAddr, SocketAddr)>,
}

/// A session whose port would be taken.
pub(super) fn catches(old: &Policy, new: &Policy, world: &World, catches: &mut Vec<Catch>) {
    for Session { remote, local, whose } in &world.ssh {
        let Some(binding) = newly_taken(old, new, *remote, *local) else { continue };
        let (session, doubt) = match whose {
            Whose::Yours => ("your ssh session", String::new()),
            Whose::Perhaps(why) => ("an ssh session", format!("; it may be yours: {why}")),
        };
        catches.push(Catch {
            hazard: Hazard::Ssh,
            message: format!(
                "`{binding}` takes new connections to {local}, where {session} from {} came in{doubt}",
                remote.ip()
            ),
            help: Some(format!("carve it out: pass tcp {} {}", local.ip(), local.port())),
        });
    }
}

/// What may happen to the session that could not be looked at.
pub(super) fn unseen(old: &Policy, new: &Policy, world: &World) -> Option<String> {
    let Hidden { daemon, connections } = world.hidden.as_ref()?;
    let (binding, local) =
        connections.iter().find_map(|&(remote, local)| Some((newly_taken(old, new, remote, local)?, local)))?;
    Some(format!(
        "`{binding}` takes new connections to {local}, where your ssh session may have come in: {daemon} can't be looked at; \
         that takes CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH"
    ))
}

/// The binding that takes connections like this one and did not before.
fn newly_taken<'a>(old: &Policy, new: &'a Policy, remote: SocketAddr, local: SocketAddr) -> Option<&'a Binding> {
    let binding = taker(new, Protocol::Tcp, remote, local)?;
    taker(old, Protocol::Tcp, remote, local).is_none().then_some(binding)
}
