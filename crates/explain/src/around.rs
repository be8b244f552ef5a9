//! What is known beside an answer about many packets.

use std::collections::BTreeMap;

use sklookup_policy::Policy;
use sklookup_steering::status::{Attached, Unseen};

use crate::census::Seen;

/// What is known beside an answer about many packets, and what it rests on.
#[derive(Clone, Debug)]
pub struct Around {
    /// The applied policy; empty where nothing is applied or it may not be read.
    pub policy: Policy,
    /// Whether what is applied could be read.
    pub readable: bool,
    /// Every socket that is named, by its cookie.
    pub sockets: BTreeMap<u64, Seen>,
    /// The names of interfaces by index.
    pub interfaces: BTreeMap<u32, String>,
    /// The programs on the hook, in the order in which they run; `None` if we may not ask.
    pub programs: Option<Vec<Attached>>,
    /// What could not be seen.
    pub unseen: Vec<Unseen>,
}

impl Around {
    /// Whether nothing else has a say: what is applied was read, and no program on the hook is somebody else's, whose
    /// decisions nobody knows.
    pub fn is_whole(&self) -> bool {
        self.readable && self.programs.as_ref().is_some_and(|programs| programs.iter().all(|program| program.ours))
    }
}
