//! What a `run` was asked to do: its bindings, its label, and the sockets that can serve them.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use sklookup_compiler::Family;
use sklookup_kernel::process::{Process, pid_namespace};
use sklookup_policy::{Entry, Label, Origin, Owner, Policy, Protocol, WhenEmpty, parse_match};
use sklookup_steering::Error;

use crate::args::{Run, SocketMatch};
use crate::output::{COULD_NOT, Failure, Said};
use crate::typed::typed;

/// A protocol and family of packets: what a label has sockets for.
pub type Kind = (Protocol, Family);

/// What was asked for, found to be right in itself.
#[derive(Debug)]
pub struct Asked {
    /// The label that the bindings steer to; nobody else's.
    pub label: Label,
    /// This process.
    pub owner: Owner,
    /// The bindings.
    pub entries: Vec<Entry>,
    /// The packets that they speak of.
    pub kinds: BTreeSet<Kind>,
    matches: Vec<SocketMatch>,
}

impl Asked {
    /// Reads the bindings. Everything wrong with them is said at once.
    pub fn read(args: &Run) -> Result<Asked, Failure> {
        let pid = std::process::id();
        let start = Process::open(pid).and_then(|own| own.start_time()).map_err(Error::from)?;
        let pid_namespace = pid_namespace().map_err(Error::from)?;
        let owner = Owner { pid, start, pid_namespace: Some(pid_namespace) };
        // Named after its owner: a pid comes back, and the label of a killed run may still hold its server's sockets.
        let label: Label =
            format!("run:{pid}.{start}.{pid_namespace}").parse().expect("letters, digits, a colon and dots");
        let origin = Origin::Command(typed().into());

        let mut entries = Vec::new();
        let mut said = Vec::new();
        for text in &args.bindings {
            match parse_match(text, label.clone(), WhenEmpty::Pass, origin.clone()) {
                Ok(parsed) => entries.extend(parsed.into_iter().map(|entry| Entry { owner: Some(owner), ..entry })),
                Err(problem) => said.push(Said {
                    message: format!("--bind '{text}': {}", problem.message),
                    help: problem.help,
                    place: None,
                }),
            }
        }
        if !said.is_empty() {
            return Err(Failure { exit: COULD_NOT, said });
        }
        Policy::new(entries.clone()).map_err(|problems| Failure::problems(COULD_NOT, &problems))?;
        let kinds = entries.iter().map(kind).collect();
        Ok(Asked { label, owner, entries, kinds, matches: args.matches.clone() })
    }

    /// The kinds of packets that a socket could get; or why it gets none.
    pub fn uses(&self, protocol: Protocol, local: SocketAddr, families: &[Family]) -> Result<Vec<Kind>, String> {
        if !self.kinds.iter().any(|kind| kind.0 == protocol) {
            return Err(format!("no --bind names {protocol}"));
        }
        let kinds: Vec<Kind> =
            families.iter().map(|&family| (protocol, family)).filter(|kind| self.kinds.contains(kind)).collect();
        if kinds.is_empty() {
            return Err(match families {
                [Family::V4] => "takes IPv4 only, and no --bind has an IPv4 prefix".to_owned(),
                _ => "takes IPv6 only, and no --bind has an IPv6 prefix".to_owned(),
            });
        }
        if !self.matches.is_empty() && !self.is_matched(protocol, local) {
            return Err("--match does not describe it".to_owned());
        }
        Ok(kinds)
    }

    /// Whether `--match` speaks of it.
    pub fn is_matched(&self, protocol: Protocol, local: SocketAddr) -> bool {
        self.matches.iter().any(|socket| socket.describes(protocol, local))
    }

    /// The protocols that the bindings name.
    pub fn protocols(&self) -> BTreeSet<Protocol> {
        self.kinds.iter().map(|kind| kind.0).collect()
    }
}

fn kind(entry: &Entry) -> Kind {
    (entry.binding.protocol, Family::from(&entry.binding.destination))
}
