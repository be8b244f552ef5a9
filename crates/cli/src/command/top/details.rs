//! More about a line: the text of `explain --to`, and of `list --sockets`.

use std::fmt;

use sklookup_explain::to_label;
use sklookup_policy::Label;
use sklookup_steering::State;

use super::tally::Tally;
use crate::command::explain::to;
use crate::command::list;
use crate::counts;

/// What more is asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A binding, by its number.
    Binding(usize),
    /// A label.
    Label(Label),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::Binding(_) => f.write_str("binding"),
            Subject::Label(label) => write!(f, "label {label}"),
        }
    }
}

/// All that is known of it. The kernel is not asked about packets: that would be counted.
pub fn of(state: &State, subject: &Subject, tally: &Tally) -> String {
    match subject {
        Subject::Label(label) => {
            let group = tally.groups.iter().find(|group| group.is_label && group.name == label.as_str());
            let counted = group.map(|group| format!("{}\n\n", counts::text(&group.row.sum))).unwrap_or_default();
            counted + &of_label(state, label)
        }
        Subject::Binding(number) => {
            let (Some(entry), Some(row)) = (tally.policy.entries().get(*number), tally.bindings.get(*number)) else {
                return String::new();
            };
            let share = to::share_text(&tally.policy, *number);
            let counted = counts::text(&row.sum);
            let label = entry.binding.label().map(|label| format!("\n{}", of_label(state, label)));
            format!("{share}\n{counted}\n{}", label.unwrap_or_default())
        }
    }
}

fn of_label(state: &State, label: &Label) -> String {
    match to_label(state.netns(), Some(state), label) {
        Ok(found) => to::label_text(&found),
        Err(error) => format!("{error}\n"),
    }
}

/// Which sockets are registered, whose they are and what they get.
pub fn sockets(state: &State) -> String {
    list::sockets_text(state).unwrap_or_else(|error| format!("{error}\n"))
}
