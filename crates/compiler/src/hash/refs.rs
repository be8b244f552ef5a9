//! What a key or an interval leads to, as it stands in the table.
//!
//! ```text
//!   63    62    61     60   59                32 31                 0
//! +-----+-----+------+------+-------------------+--------------------+
//! |  1  |  0  |return| pass |       label       |   binding number   |  outcome
//! |  0  |  1  |    kind     |      entries      | offset / 8 bytes   |  list
//! |  0                                                               |  miss
//! +-----+-----+------+------+-------------------+--------------------+
//! ```
//!
//! `pass` is the verdict if no socket is selected; with `return` none is looked for. A list's offset counts from the
//! start of all lists. The sign bit alone tells an outcome: the path of most packets.

use sklookup_policy::WhenEmpty;

use crate::rules::{Action, Rule};

/// The bit with the verdict.
pub(super) const VERDICT_BIT: i32 = 60;
/// The bit that says that no socket is selected.
pub(super) const RETURN_BIT: i32 = 61;
/// The label, once the binding number is shifted out. Also the number of entries of a list.
pub(super) const LABEL_MASK: u32 = (1 << 28) - 1;
/// Where the kind of a list starts; a reference shifted by this is 4 + kind.
pub(super) const KIND_SHIFT: i32 = 60;

const OUTCOME: u64 = 1 << 63;
const LIST: u64 = 1 << 62;

/// A reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Ref(u64);

/// What the intervals of a list are of. Lists lead to lists of later kinds only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    Ports,
    Sources,
    Interfaces,
}

impl Ref {
    /// No binding here: the search goes on with shorter prefixes.
    pub(super) const MISS: Ref = Ref(0);

    /// What the rule does with its packets.
    pub(super) fn outcome(rule: &Rule) -> Ref {
        let (label, returns, verdict) = match rule.action {
            Action::Steer { label, when_empty } => (label, 0, u64::from(when_empty == WhenEmpty::Pass)),
            Action::Pass => (0, 1, 1),
            Action::Refuse => (0, 1, 0),
        };
        let label = u64::from(label) << 32;
        Ref(OUTCOME | returns << RETURN_BIT | verdict << VERDICT_BIT | label | u64::from(rule.number))
    }

    /// The list at this offset, in words of 8 bytes from the start of all lists.
    pub(super) fn list(kind: Kind, offset: u32, entries: u32) -> Ref {
        debug_assert!(entries <= LABEL_MASK);
        Ref(LIST | (kind as u64) << KIND_SHIFT | u64::from(entries) << 32 | u64::from(offset))
    }

    /// As it stands in the table.
    pub(super) fn word(self) -> u64 {
        self.0
    }

    pub(super) fn is_outcome(self) -> bool {
        self.0 & OUTCOME != 0
    }

    pub(super) fn is_list(self) -> bool {
        self.0 & LIST != 0
    }

    /// Whether it leads to a list of this kind.
    pub(super) fn is(self, kind: Kind) -> bool {
        self.0 >> KIND_SHIFT == kind.tag() as u64
    }

    /// Where the list starts, in words from the start of all lists.
    pub(super) fn offset_words(self) -> usize {
        self.0 as u32 as usize
    }
}

impl Kind {
    /// What is left of a reference to a list of this kind when it is shifted by [`KIND_SHIFT`].
    pub(super) fn tag(self) -> i32 {
        4 + self as i32
    }
}
