//! The commands that are swept over, and what each starts from.
//!
//! A command that changes something belongs here, with one that takes it back: from which state they start, and what they
//! are. Everything else follows from [`Effect::after`](crate::world::Effect::after).

use crate::world::Step;

/// A command in a situation, and the way back, which is swept over as well.
#[derive(Clone, Debug)]
pub struct Subject {
    pub name: &'static str,
    /// From nothing to where it starts.
    pub before: &'static [Step],
    /// The command.
    pub there: Step,
    /// From what it leads to, back to where it starts.
    pub back: Option<Step>,
    /// Whether to start from nothing each time: `back` leaves more than there was, or there is no way back.
    pub anew: bool,
}

const WEB: &str = "web tcp 127.7.0.0/16 80";
const API: &str = "api tcp 127.8.0.0/16 80";
const OLD: &str = "old tcp 127.8.0.0/16 80-81";
/// What another command binds meanwhile.
pub const OTHER: &str = "web tcp 127.9.0.0/16 80";

pub const BOUND: &[Step] = &[Step::Bind(WEB), Step::Register("web", "first")];

/// Every command that changes something, but `run` and `rollback`.
pub const SUBJECTS: [Subject; 7] = [
    Subject {
        name: "first_apply_and_unload",
        before: &[],
        there: Step::Apply(&[WEB, API]),
        back: Some(Step::Unload),
        anew: false,
    },
    Subject {
        name: "apply_over_a_dead_link",
        before: &[Step::Bind(WEB), Step::Die],
        there: Step::Apply(&[WEB, API]),
        back: None,
        anew: true,
    },
    Subject {
        // Labels come and go: one that has no socket any more, and one that stays for the sake of its socket.
        name: "apply",
        before: &[Step::Apply(&[WEB, OLD]), Step::Register("web", "first")],
        there: Step::Apply(&[API]),
        back: Some(Step::Apply(&[WEB, OLD])),
        anew: false,
    },
    Subject {
        name: "bind_and_unbind",
        before: BOUND,
        there: Step::Bind(API),
        back: Some(Step::Unbind(API)),
        anew: false,
    },
    Subject {
        name: "register",
        before: BOUND,
        there: Step::Register("web", "second"),
        back: Some(Step::Register("web", "first")),
        anew: false,
    },
    Subject {
        name: "register_under_a_new_label_and_unregister",
        before: BOUND,
        there: Step::Register("new", "second"),
        back: Some(Step::Unregister("new")),
        anew: true,
    },
    Subject { name: "upgrade", before: BOUND, there: Step::Upgrade, back: None, anew: false },
];

/// What is gone back to is what has the number when it is read: another command meanwhile moves the numbers on. So it is killed
/// and failed as the others are, but not stopped.
pub const ROLLBACK: Subject = Subject {
    name: "rollback_and_apply_of_what_is_kept",
    before: &[Step::Name, Step::Apply(&[WEB, OLD]), Step::Register("web", "first"), Step::Apply(&[WEB, API])],
    there: Step::Rollback(&[WEB, OLD]),
    back: Some(Step::Apply(&[WEB, API])),
    anew: false,
};
