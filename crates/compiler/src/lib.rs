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

mod branches;
mod counters;
mod emit;
mod error;
mod event;
mod family;
mod hash;
pub mod label_map;
mod rules;

use std::collections::BTreeMap;
use std::fmt;

use sklookup_bpf::{Builder, Code, MapSpec, ProgramSpec};
use sklookup_policy::{Interface, Label, Policy};

pub use counters::{Counters, Counts, HitsLayout};
pub use emit::observe::{EVENT_BYTES, Watching};
pub use error::CompileError;
pub use event::{Event, EventKind, LeftOut};
pub use family::Family;

use emit::ending::Ending;

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
    /// ARRAY_OF_MAPS with the SOCKMAP of each label at the label's index. Whoever loads the program fills and freezes
    /// it.
    Labels,
    /// The lookup table: frozen, read by the program only.
    Table,
    /// Counts of packets per binding; [`Counters::hits`] tells the layout.
    Hits,
    /// Counts of what kept a label's sockets from being selected, per binding.
    Faults,
    /// The ring buffer of events, in a program that watches.
    Events,
    /// What such a program counts: [`LeftOut`].
    Watch,
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
    let domains = rules::domains(policy, options)?;
    let counters = Counters::new(policy.len(), options.cpus);
    let own = vec![(MapRole::Hits, counters.hits_map()), (MapRole::Faults, counters.faults_map())];
    let compilation = Compilation { policy, domains, ending: Ending::Deliver(&counters), own };
    let Parts { code, maps, strategy, why } = compilation.choose(options.strategy)?;
    let names = maps.iter().map(|(_, spec)| spec.name.clone()).collect();
    Ok(Compiled {
        program: ProgramSpec::sk_lookup(format!("sklookup_{strategy}"), code, names),
        maps,
        labels: policy.labels().to_vec(),
        counters,
        strategy,
        why,
    })
}

/// A program that watches what the one of the same policy does, attached after it, and its maps.
///
/// It finds the binding by the same code, looks at what was selected, and writes an [`Event`] where a socket was not. It
/// selects nothing and drops nothing: to the lookup it is as if it were not there.
#[derive(Clone, Debug)]
pub struct Observer {
    /// The program.
    pub program: ProgramSpec,
    /// The maps, in the order of `program.maps`: [`MapRole::Events`], [`MapRole::Watch`], then those that find and name labels,
    /// which are the labels' own.
    pub maps: Vec<(MapRole, MapSpec)>,
    /// The labels, sorted: [`Policy::labels`].
    pub labels: Vec<Label>,
}

/// Compiles what watches the program of `policy`.
///
/// # Errors
/// As [`compile`].
pub fn compile_observer(policy: &Policy, options: &Options, watching: &Watching) -> Result<Observer, CompileError> {
    let domains = rules::domains(policy, options)?;
    let own = vec![(MapRole::Events, watching.events_map()), (MapRole::Watch, LeftOut::map())];
    let compilation = Compilation { policy, domains, ending: Ending::Observe(watching), own };
    let Parts { code, maps, .. } = compilation.choose(options.strategy)?;
    let names = maps.iter().map(|(_, spec)| spec.name.clone()).collect();
    let program = ProgramSpec::sk_lookup(OBSERVER, code, names);
    Ok(Observer { program, maps, labels: policy.labels().to_vec() })
}

/// What programs are called that watch, by which they are known among others on the hook.
pub const OBSERVER: &str = "sklookup_watch";

/// Policies of up to so many bindings become branches if they can. There a lookup costs 2 to 4 ns less than in a table,
/// and the code stays small enough for the instruction cache.
const MAX_BRANCHED: usize = 100;

/// What both strategies start from.
struct Compilation<'a> {
    policy: &'a Policy,
    domains: Vec<rules::Domain>,
    ending: Ending<'a>,
    /// The two maps of the ending.
    own: Vec<(MapRole, MapSpec)>,
}

/// What a strategy makes.
struct Parts {
    code: Code,
    maps: Vec<(MapRole, MapSpec)>,
    strategy: Strategy,
    why: String,
}

impl Compilation<'_> {
    fn choose(&self, strategy: Option<Strategy>) -> Result<Parts, CompileError> {
        match strategy {
            Some(Strategy::Branches) => self.branches("it was asked for".to_owned()),
            Some(Strategy::Hash) => self.hash("it was asked for".to_owned()),
            None if self.policy.len() > MAX_BRANCHED => {
                self.hash(format!("{} bindings are more than {MAX_BRANCHED}", self.policy.len()))
            }
            None => {
                let few = match self.policy.len() {
                    1 => format!("1 binding is at most {MAX_BRANCHED}"),
                    many => format!("{many} bindings are at most {MAX_BRANCHED}"),
                };
                self.branches(few).or_else(|error| self.hash(error.to_string()))
            }
        }
    }

    fn branches(&self, why: String) -> Result<Parts, CompileError> {
        let builder = branches::emit(self.policy, &self.domains, self.ending)?;
        let labels = self.policy.labels().iter().enumerate();
        let maps = labels.map(|(index, label)| (MapRole::Label(index), label_map::spec(map_name(index, label))));
        Ok(self.finish(builder, maps.collect(), Strategy::Branches, why))
    }

    fn hash(&self, why: String) -> Result<Parts, CompileError> {
        // After the two of the ending; without labels or without a table the indices are not used.
        let indices = hash::MapIndices { labels: 2, table: 2 + u32::from(!self.policy.labels().is_empty()) };
        let hash::Emitted { builder, table } = hash::emit(&self.domains, self.ending, indices)?;
        let mut maps = Vec::new();
        if !self.policy.labels().is_empty() {
            maps.push((MapRole::Labels, hash::labels_map(self.policy)));
        }
        maps.extend(table.map(|table| (MapRole::Table, table)));
        Ok(self.finish(builder, maps, Strategy::Hash, why))
    }

    fn finish(&self, builder: Builder, maps: Vec<(MapRole, MapSpec)>, strategy: Strategy, why: String) -> Parts {
        let maps = [self.own.clone(), maps].concat();
        let code = builder.finish().expect("every label is placed, and those far ahead have relays");
        Parts { code, maps, strategy, why }
    }
}

/// A name for a label's map as the kernel takes it: at most 15 bytes of `A-Za-z0-9_.`, and unique.
fn map_name(index: usize, label: &Label) -> String {
    let tame = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '_' };
    let name = format!("l{index}_");
    name.chars().chain(label.as_str().chars().map(tame)).take(15).collect()
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Strategy::Branches => "branches",
            Strategy::Hash => "hash",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sklookup_policy::{Origin, parse_binding};

    pub(crate) fn policy(bindings: &[&str]) -> Policy {
        let entries = bindings.iter().flat_map(|words| parse_binding(words, Origin::Command("test".into())).unwrap());
        Policy::new(entries.collect()).unwrap()
    }

    fn compiled(bindings: &[String], strategy: Option<Strategy>) -> Compiled {
        let policy = policy(&bindings.iter().map(String::as_str).collect::<Vec<_>>());
        compile(&policy, &Options { cpus: 2, strategy, ..Options::default() }).unwrap()
    }

    fn hosts(count: usize, labels: usize) -> Vec<String> {
        (0..count).map(|n| format!("l{} tcp 10.0.{}.{} 80", n % labels, n / 256, n % 256)).collect()
    }

    #[test]
    fn few_bindings_become_branches_and_many_a_table() {
        for (bindings, strategy, why) in [
            (hosts(1, 1), Strategy::Branches, "1 binding is at most 100"),
            (hosts(100, 2), Strategy::Branches, "100 bindings are at most 100"),
            (hosts(101, 2), Strategy::Hash, "101 bindings are more than 100"),
            (hosts(40, 33), Strategy::Hash, "the policy can't be compiled to branches: 33 labels, at most 32 fit"),
        ] {
            let compiled = compiled(&bindings, None);
            assert_eq!((compiled.strategy, compiled.why.as_str()), (strategy, why));
        }
    }

    #[test]
    fn branches_that_would_explode_become_a_table() {
        let bindings: Vec<String> =
            (1..=60).map(|n| format!("l tcp 0.0.0.0/0 {}-{} from 10.{n}.0.0/16", n * 10, 1000 + n * 11)).collect();
        let compiled = compiled(&bindings, None);
        assert_eq!(compiled.strategy, Strategy::Hash);
        assert!(compiled.why.contains("the overlaps of tcp over IPv4 make too many cases"), "{}", compiled.why);
    }

    #[test]
    fn maps_are_in_the_order_of_the_program_and_named_for_the_kernel() {
        let bindings = ["a-label-longer-than-a-name tcp ::/0 80".to_owned(), "b tcp 10.0.0.1 80".to_owned()];
        let roles = |strategy| {
            let compiled = compiled(&bindings, Some(strategy));
            let names: Vec<_> = compiled.maps.iter().map(|(_, map)| map.name.clone()).collect();
            assert_eq!(compiled.program.maps, names);
            (compiled.maps.iter().map(|(role, _)| *role).collect::<Vec<_>>(), names)
        };
        let (of_branches, names) = roles(Strategy::Branches);
        assert_eq!(of_branches, [MapRole::Hits, MapRole::Faults, MapRole::Label(0), MapRole::Label(1)]);
        assert_eq!(names, ["hits", "faults", "l0_a_label_long", "l1_b"]);
        let (of_hash, names) = roles(Strategy::Hash);
        assert_eq!(of_hash, [MapRole::Hits, MapRole::Faults, MapRole::Labels, MapRole::Table]);
        assert_eq!(names, ["hits", "faults", "labels", "table"]);
    }
}
