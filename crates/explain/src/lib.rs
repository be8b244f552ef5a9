//! Which socket gets a packet, and why: the answer of `explain`.
//!
//! Two witnesses are heard. **Our own account**: the sockets that the kernel lists, the sockets under the labels and the
//! applied policy are put into an engine, and the way of the packet through it is followed step by step. **The kernel's
//! answer**: asked about one socket, it runs its whole lookup for the packet, every program on the hook included, and
//! names who would get it. [`explain`] gives both and says where they differ: the kernel is right about who gets the
//! packet, the account says why.
//!
//! What a program that is not ours decides is never guessed: [`Others`] says what follows from the two. Whoever wants more
//! can have each of them run once, alone ([`Explanation::run_others`]): that shows what it does by itself, and has its side
//! effects.
//!
//! [`ports`] draws what every port of an address does, [`to_label`] and [`to_sockets`] say who sends to a label and to
//! sockets: these are our account alone, for nobody could be asked about so many packets.
//!
//! But for [`Explanation::run_others`] it changes nothing. Programs can't tell the kernel's question from a packet, though,
//! and count it.

#![forbid(unsafe_code)]

mod account;
mod alone;
mod around;
mod arrival;
mod census;
mod error;
mod explain;
mod fate;
mod ports;
mod reach;
mod receivers;
mod replica;
mod steered;

pub use account::{Account, Decision, Regular, Run, Tried, Verdict};
pub use alone::Alone;
pub use around::Around;
pub use arrival::{Arrival, Astray, How, Way};
pub use census::{Holder, Seen};
pub use error::Error;
pub use explain::{Explanation, Limit, Others, explain};
pub use fate::Fate;
pub use ports::{Found, Gets, PortMap, Span, ports};
pub use reach::{ByLabel, OwnBind, Rival, Serving, Share, ToLabel, ToSocket, ToSockets, to_label, to_sockets};
pub use sklookup_engine::Errno;
