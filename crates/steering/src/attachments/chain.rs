//! All programs on the hook of a namespace: whose each is, and what is known of it.

use std::path::{Path, PathBuf};

use sklookup_kernel::{Errno, Link, Netns, Object, ProgramInfo};

use super::pins::Pins;
use super::{Attachment, Attachments};
use crate::error::Error;
use crate::state::{self, State};
use crate::status::{Attached, Hook, Unseen};

/// The programs on the hook, in the order in which they run.
#[derive(Debug)]
pub struct Chain {
    /// Each; `None` if we may not ask.
    pub programs: Option<Vec<OnHook>>,
    /// What is left of commands that were killed while they attached or detached; the next one sweeps it up.
    pub litter: Vec<String>,
    /// What could not be seen.
    pub unseen: Vec<Unseen>,
}

/// A program on the hook.
#[derive(Debug)]
pub struct OnHook {
    /// Its id.
    pub id: u32,
    /// Whose it is.
    pub whose: Whose,
    /// What the kernel knows about it; `None` if we may not ask.
    pub info: Option<ProgramInfo>,
    /// The links that hold it there: several where it is attached more than once.
    pub links: Vec<u32>,
    /// Where it or its links are pinned, as far as could be seen.
    pub pins: Vec<PathBuf>,
}

/// Whose a program on the hook is.
#[derive(Debug)]
pub enum Whose {
    /// The policy's.
    Policy,
    /// It was attached through us.
    Attached(Box<Attachment>),
    /// Anybody's.
    Other,
}

impl Chain {
    /// What can be seen of the hook of a namespace. `ours` is the bpffs with what we keep in it; `None` where there is none, so
    /// that nothing is ours.
    ///
    /// # Errors
    /// A call that failed for another reason than rights.
    pub fn of(netns: &Netns, ours: Option<(&Path, &State, &Attachments)>) -> Result<Chain, Error> {
        let policy = match ours.map(|(_, state, _)| state.live_id()) {
            Some(Err(error)) if !error.is_denied() => return Err(error),
            policy => policy.and_then(Result::ok).flatten(),
        };
        let Hook { programs, mut unseen } = Hook::of(netns, None);
        let (mut attachments, litter) = match ours.map(|(_, _, attachments)| attachments.list()) {
            None => Default::default(),
            Some(Err(error)) if error.is_denied() => {
                let why = format!("{error}; only their owner can");
                unseen.push(Unseen { what: "which of them were attached by `sklookup attach`", why });
                Default::default()
            }
            Some(listed) => listed?,
        };
        let links = Link::all_on(netns.inode()).map_err(|error| {
            let why = if error.errno() == Errno::PERM { "; that takes CAP_SYS_ADMIN" } else { "" };
            unseen.push(Unseen { what: "the links that hold them", why: format!("{error}{why}") });
        });
        let links = links.unwrap_or_default();
        let pins = ours.map(|(bpffs, ..)| Pins::below(bpffs, &bpffs.join(state::names::ROOT))).unwrap_or_default();
        if pins.incomplete {
            let why = "not every directory of the bpffs may be listed, or it has more than 10,000 names".to_owned();
            unseen.push(Unseen { what: "where some of them are pinned", why });
        }
        let mut on_hook = |Attached { id, info, .. }: Attached| {
            let whose = match attachments.iter().position(|attachment| attachment.program == id) {
                _ if policy == Some(id) => Whose::Policy,
                Some(index) => Whose::Attached(Box::new(attachments.swap_remove(index))),
                None => Whose::Other,
            };
            let links: Vec<u32> = links.iter().filter(|link| link.program_id == id).map(|link| link.id).collect();
            let of_links = links.iter().flat_map(|link| pins.of(Object::Link(*link)));
            let pins = of_links.chain(pins.of(Object::Program(id))).cloned();
            let own = ours.filter(|_| policy == Some(id)).map(|(_, state, _)| state.dir().join(state::names::LINK));
            let pins = own.into_iter().chain(pins).collect();
            OnHook { id, whose, info, links, pins }
        };
        let programs = programs.map(|programs| programs.into_iter().map(&mut on_hook).collect());
        Ok(Chain { programs, litter, unseen })
    }
}
