//! What is in effect, compared with what should be: a policy file, and what the history says.

use std::path::Path;

use sklookup_policy::{Binding, Policy, difference};

use super::{Finding, InEffect, Kind, Status, Steering};
use crate::history::{Fate, Page};
use crate::record::digest;

impl Status {
    /// Each binding that only one of the two has, or that is applied otherwise; `None` where what is applied can't be seen.
    ///
    /// `name` is what the file is called. Bindings of a living `run` are no difference.
    pub fn against_file(&self, file: &Policy, name: &str) -> Option<Vec<Finding>> {
        let applied = match &self.steering {
            Steering::Live(in_effect) => in_effect.lasting(),
            Steering::Nothing | Steering::Replaced { .. } => Policy::default(),
            Steering::Hidden { .. } => return None,
        };
        let origin = |policy: &Policy, binding: &Binding| {
            let found = policy.entries().binary_search_by(|entry| entry.binding.cmp_match(binding));
            found.map(|index| policy.entries()[index].origin.to_string()).unwrap_or_default()
        };
        let help =
            format!("`sklookup diff {name}` shows all that applying it would change; `sklookup apply {name}` does it");
        let difference = difference(&applied, file);
        let added = difference.added.iter().map(|binding| Finding {
            kind: Kind::NotApplied,
            message: format!("{}: `{binding}` is not applied", origin(file, binding)),
            help: help.clone(),
        });
        let changed = difference.changed.iter().map(|change| Finding {
            kind: Kind::NotApplied,
            message: format!("{}: `{}` is applied as `{}`", origin(file, change.after), change.after, change.before),
            help: help.clone(),
        });
        let removed = difference.removed.iter().map(|binding| Finding {
            kind: Kind::NotInFile,
            message: format!("{name}: does not have `{binding}`, which is applied, from {}", origin(&applied, binding)),
            help: help.clone(),
        });
        Some(added.chain(changed).chain(removed).collect())
    }

    /// What is kept on disk in a page of the history, if that is not what is in effect.
    pub fn against_page(&self, page: &Page, file: &Path) -> Option<Finding> {
        let (file, time, command) = (file.display(), &page.time, &page.command);
        let (message, help) = match (&self.steering, page.fate) {
            (Steering::Hidden { .. } | Steering::Replaced { .. }, _) | (Steering::Nothing, Fate::TakenAway) => {
                return None;
            }
            (Steering::Nothing, Fate::Applied) => (
                format!(
                    "nothing is steered, and nobody took it away: {file} says what was put into effect {time} by: {command}"
                ),
                "`sklookup apply --last` brings it back; `sklookup unload` says that it should be gone",
            ),
            (Steering::Live(in_effect), Fate::Applied) if in_effect.is(page) => return None,
            (Steering::Live(_), Fate::Applied) => (
                format!("{file}: another policy is kept for after a reboot, put into effect {time} by: {command}"),
                "any command that changes something keeps what is in effect then",
            ),
            (Steering::Live(_), Fate::TakenAway) => (
                format!(
                    "{file}: says that steering was taken away {time} by: {command}; after a reboot it would not come back"
                ),
                "any command that changes something keeps what is in effect then",
            ),
        };
        Some(Finding { kind: Kind::Kept, message, help: help.to_owned() })
    }
}

impl InEffect {
    /// The policy without what living `run`s added.
    fn lasting(&self) -> Policy {
        self.record.policy.filtered(|entry| entry.owner.is_none())
    }

    /// Whether a page has this policy.
    fn is(&self, page: &Page) -> bool {
        // Most have no `run`, and hashing a million bindings takes its time.
        let same =
            if self.runs.is_empty() { page.digest == self.digest } else { page.digest == digest(&self.lasting()) };
        // A page of an older version does not name a digest.
        same || (page.digest.is_empty() && page.bindings() == self.lasting().canonical())
    }
}
