//! Which socket gets a packet, and why: the answer of `explain`.
//!
//! Two witnesses are heard. **Our own account**: the sockets that the kernel lists, the sockets under the labels and the
//! applied policy are put into an engine, and the way of the packet through it is followed step by step. **The kernel's
//! answer**: asked about one socket, it runs its whole lookup for the packet, every program on the hook included, and
//! names who would get it. [`explain`] gives both and says where they differ: the kernel is right about who gets the
//! packet, the account says why.
//!
//! What a program that is not ours decides is never guessed: [`Others`] says what follows from the two.
//!
//! It changes nothing. But programs can't tell the kernel's question from a packet, and count it.

#![forbid(unsafe_code)]

mod account;
mod arrival;
mod census;
mod explain;
mod fate;
mod replica;

pub use account::{Account, Decision, Regular, Run, Tried, Verdict};
pub use arrival::{Arrival, Astray, How, Way};
pub use census::{Holder, Seen};
pub use explain::{Explanation, Limit, Others, explain};
pub use fate::Fate;
pub use sklookup_engine::Errno;
