//! The control plane: what is applied to a network namespace, and how that changes.
//!
//! There is no daemon. A [`State`] is a directory in bpffs per namespace, whose pinned link decides which **generation**
//! is in effect: a compiled policy, its counters and its labels' sockets. [`State::commit`] makes a generation and puts it in
//! effect with one system call; killed at any instruction, a command leaves the old generation or the new one. [`State::register`]
//! puts sockets under a label, in all generations at once. [`safety`] knows what a policy would take from whom.
//!
//! The protocol, who locks what and why, is in `ARCHITECTURE.md`; the layout in `docs/state.md`.

#![forbid(unsafe_code)]

pub mod attachments;
mod build;
mod commit;
mod counters;
mod error;
pub mod find;
pub mod history;
mod hook;
mod leaving;
mod lock;
mod login;
mod machine;
mod presence;
mod record;
mod registration;
pub mod safety;
mod sampler;
mod state;
pub mod status;
mod step;
mod sums;
mod sweep;
mod trust;
mod wait;
pub mod watch;

pub use commit::{Committed, Current, EditFn};
pub use error::Error;
pub use hook::MOST_PROGRAMS;
pub use machine::Review;
pub use presence::Presence;
pub use record::{Record, STATE_VERSION, digest};
pub use registration::{Member, Placement, Registered, Slots};
pub use sampler::{Observation, Sample, Sampler};
pub use state::{Generation, Live, State};
pub use status::Status;
pub use step::Step;
pub use sums::{Fates, Sum, Sums};
