//! The steering policy: which traffic belongs to which label.
//!
//! A [`Binding`] says that packets of one protocol, to one destination prefix and port range, perhaps from one
//! source prefix and over one interface, get one [`Outcome`]. A [`Policy`] is a set of bindings without conflicts,
//! and [`decide`] is the definition of what it does to a [`Packet`]: every compiled form must answer the same.
//!
//! Text comes in through [`parse_file`] (TOML), [`parse_binding`] (the one-line form) and [`parse_match`] (the same
//! without a label); [`Policy::canonical`] writes it back. [`shadowed`] finds bindings that no packet can reach,
//! [`deciding`] those that some traffic meets, [`by_port`] what becomes of every port of an address, and [`difference`] what
//! would change between two policies.
//!
//! This crate opens no file and no socket and reads no clock. It knows nothing of BPF, of the sockets registered under
//! a label, or of the interfaces a machine has.
//!
//! ```
//! use sklookup_policy::{Packet, Policy, decide, parse_file};
//!
//! let text = r#"bindings = ["web tcp 192.0.2.0/24 80", "host tcp 192.0.2.7 80"]"#;
//! let policy = Policy::new(parse_file(text, "policy.toml").unwrap()).unwrap();
//! let packet: Packet = "tcp 198.51.100.9:40000 > 192.0.2.7:80".parse().unwrap();
//!
//! let decision = decide(&policy, &packet);
//! let winner = &policy.entries()[decision.winner.unwrap()];
//! assert_eq!(winner.binding.to_string(), "host tcp 192.0.2.7 80");
//! assert_eq!(decision.runners_up.len(), 1);
//! ```
#![forbid(unsafe_code)]

mod binding;
mod by_port;
mod canonical;
mod decide;
mod difference;
mod entry;
mod expand;
mod file;
mod finder;
mod line;
mod lines;
mod names;
mod packet;
mod policy;
mod ports;
mod prefix;
mod problem;
mod protocol;
pub mod reading;
mod reason;
mod shadow;
mod table;
mod toward;

pub use binding::{Binding, Outcome, Precedence, WhenEmpty};
pub use by_port::{PortSpan, ToAddress, by_port};
pub use canonical::CanonicalReader;
pub use decide::{Decision, decide};
pub use difference::{Change, Difference, difference};
pub use entry::{Entry, Origin, Owner};
pub use file::{MAX_FILE_BYTES, parse_file};
pub use finder::{Finder, winner};
pub use line::{parse_binding, parse_match};
pub use names::{Interface, Label};
pub use packet::Packet;
pub use policy::{MAX_BINDINGS, MAX_LABELS, Policy};
pub use ports::{PortRange, Ports};
pub use prefix::{Shown, parse_prefix};
pub use problem::{MAX_PROBLEMS, Problem};
pub use protocol::Protocol;
pub use reason::Reason;
pub use shadow::{Deciders, Shadow, Traffic, deciding, shadowed};
pub use toward::toward;
