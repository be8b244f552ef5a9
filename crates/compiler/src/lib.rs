//! Compiles a steering policy to an sk_lookup program and its maps.
//!
//! [`compile`] turns a [`Policy`] into a [`Compiled`]: one program and the maps it wants, as data. The program answers
//! every packet as [`sklookup_policy::decide`] does, counts under the winning binding's number (its index in
//! [`Policy::entries`]), and selects a socket from the label's SOCKMAP, whose layout is [`label_map`]. [`Counters`]
//! reads the counts back.
//!
//! The same policy and options give the same bytes on any machine: nothing here opens a file, reads a clock or asks a
//! kernel. What depends on the machine (interface numbers, CPUs) comes in through [`Options`].
//!
//! ```
//! use sklookup_compiler::{Options, Strategy, compile};
//! use sklookup_policy::{Policy, parse_file};
//!
//! let text = r#"bindings = ["web tcp 192.0.2.0/24 80", "refuse tcp 192.0.2.7 80"]"#;
//! let policy = Policy::new(parse_file(text, "policy.toml").unwrap()).unwrap();
//! let compiled = compile(&policy, &Options { cpus: 2, ..Options::default() }).unwrap();
//! assert_eq!(compiled.strategy, Strategy::Branches);
//! assert_eq!(compiled.labels.len(), 1);
//! ```

#![forbid(unsafe_code)]

mod counters;
mod error;
mod family;
pub mod label_map;

use std::collections::BTreeMap;
use std::fmt;

use sklookup_bpf::{MapSpec, ProgramSpec};
use sklookup_policy::{Interface, Label, Policy};

pub use counters::{Counters, Counts, HitsLayout};
pub use error::CompileError;
pub use family::Family;

/// How the program finds the binding of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Strategy {
    /// Compares and branches, no table: for small policies.
    Branches,
    /// Hash tables, one per prefix length, in the value of one frozen map.
    Hash,
}

/// What a compilation depends on besides the policy.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The index of each interface that the policy names.
    pub interfaces: BTreeMap<Interface, u32>,
    /// Possible CPUs: what the kernel multiplies the memory of per-CPU maps by.
    pub cpus: u32,
    /// The strategy; `None`: picked by size and shape.
    pub strategy: Option<Strategy>,
}

/// What a map of the program is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MapRole {
    /// The SOCKMAP of one label, by its index in [`Compiled::labels`].
    Label(usize),
    /// ARRAY_OF_MAPS with the SOCKMAP of each label at the label's index. Whoever loads the program fills and freezes it.
    Labels,
    /// The lookup table: frozen, read by the program only.
    Table,
    /// Counts of packets per binding; [`Counters::hits`] tells the layout.
    Hits,
    /// Counts of what kept a label's sockets from being selected, per binding.
    Faults,
}

/// A compiled policy.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// The program.
    pub program: ProgramSpec,
    /// The maps, in the order of `program.maps`.
    ///
    /// [`MapRole::Hits`] and [`MapRole::Faults`] are always among them, with room for one binding if there is none.
    pub maps: Vec<(MapRole, MapSpec)>,
    /// The labels, sorted: [`Policy::labels`].
    pub labels: Vec<Label>,
    /// How to read the counters.
    pub counters: Counters,
    /// How the program finds bindings.
    pub strategy: Strategy,
    /// Why this strategy, for people.
    pub why: String,
}

/// Compiles `policy`.
///
/// # Errors
/// An interface without a number, more overlapping conditions than a table can hold, or a strategy asked for that
/// can't hold the policy.
pub fn compile(policy: &Policy, options: &Options) -> Result<Compiled, CompileError> {
    let _ = (policy, options);
    Err(CompileError::Branches { why: "under construction".to_owned() })
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Strategy::Branches => "branches",
            Strategy::Hash => "hash",
        })
    }
}
