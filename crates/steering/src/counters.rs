//! Counts that outlive a generation.
//!
//! Counters belong to a generation, are numbered its way, new and zero. Its frozen `base` holds per binding what the
//! generations before its parent counted. What is shown is base + parent's counters + own; the parent was replaced, but
//! a packet that was inside its program may still be counting.

use std::path::{Path, PathBuf};

use sklookup_compiler::{Counters, Counts, HitsLayout};
use sklookup_kernel::{Map, grace_period};
use sklookup_policy::{Binding, CanonicalReader, Policy};

use crate::error::Error;
use crate::record::Record;
use crate::state::{Generation, State, names, read_text};
use crate::step::Step;
use crate::sums::add;

/// Numbers of a binding in a base: the hits and the five faults.
const FIELDS: usize = 6;

impl State {
    /// The live generation, and what was counted for each of its bindings, in the order of its policy.
    ///
    /// Counted are runs of the hook, not connections: some packets run it twice, many not at all.
    ///
    /// # Errors
    /// As [`State::generation`].
    pub fn counted(&self) -> Result<Option<(Generation, Vec<Counts>)>, Error> {
        self.at(Step::Reading);
        self.read(|live| {
            let generation = live.open()?;
            let mut counts = Own::of(&generation)?.read()?;
            add_all(&mut counts, &read_base(&generation)?);
            add_parent(self, &generation.record, &mut counts)?;
            Ok((generation, counts))
        })
    }
}

/// The counters that the program of a generation writes, open.
#[derive(Debug)]
pub(crate) struct Own {
    hits: Map,
    faults: Map,
    layout: Counters,
    dir: PathBuf,
}

impl Own {
    /// Opens those of a generation.
    pub(crate) fn of(generation: &Generation) -> Result<Own, Error> {
        let record = &generation.record;
        Own::open(&generation.live.dir, Counters { bindings: record.policy.len(), hits: record.hits })
    }

    fn open(dir: &Path, layout: Counters) -> Result<Own, Error> {
        let open = |name| Map::open_read_only(&dir.join(name));
        Ok(Own { hits: open(names::HITS)?, faults: open(names::FAULTS)?, layout, dir: dir.to_owned() })
    }

    /// What they say now. The faults are read first: a packet is a hit before it is a fault, and nobody should read of a
    /// fault without its hit.
    pub(crate) fn read(&self) -> Result<Vec<Counts>, Error> {
        let faults = words(&self.faults.value()?);
        let hits = match self.layout.hits {
            HitsLayout::PerCpu => self.hits.values_percpu(self.layout.bindings as u32)?,
            HitsLayout::Shards(_) => words(&self.hits.value()?),
        };
        self.layout.decode(&hits, &faults).ok_or_else(|| Error::Damaged {
            path: self.dir.clone(),
            what: format!("fewer counters than the {} bindings need", self.layout.bindings),
        })
    }
}

/// What earlier generations counted for the bindings of a live one, once and for all: it never changes again.
pub(crate) fn before(state: &State, generation: &Generation) -> Result<Vec<Counts>, Error> {
    let mut counts = read_base(generation)?;
    if generation.record.parent != 0 {
        // Whoever was inside the parent's program when it was replaced has left it: its counts are final.
        grace_period()?;
        add_parent(state, &generation.record, &mut counts)?;
    }
    Ok(counts)
}

/// The base of a generation on top of `base`: the bytes of its map, or nothing where all counts are zero.
pub(crate) fn carry(state: &State, base: &Generation, policy: &Policy) -> Result<Option<Vec<u8>>, Error> {
    let before = before(state, base)?;
    // Most bindings of most generations have counted nothing, and then need not be found again.
    let mut bytes = Vec::new();
    let counted = before.iter().zip(base.record.policy.entries()).filter(|(counts, _)| **counts != Counts::default());
    for (counts, entry) in counted {
        let Some(number) = number(policy, &entry.binding) else { continue };
        bytes.resize(policy.len() * FIELDS * 8, 0);
        for (field, place) in fields(counts).into_iter().zip(bytes[number * FIELDS * 8..].chunks_exact_mut(8)) {
            place.copy_from_slice(&field.to_ne_bytes());
        }
    }
    Ok((!bytes.is_empty()).then_some(bytes))
}

/// Adds what the parent of a generation counted for the bindings that both have.
fn add_parent(state: &State, record: &Record, counts: &mut [Counts]) -> Result<(), Error> {
    if record.parent == 0 {
        return Ok(());
    }
    let dir = state.generation_dir(record.parent);
    let text = match read_text(&dir) {
        Ok(text) => text,
        // A parent is kept while its child is live; one that is missing has no counts to give.
        Err(error) if error.is_missing() => return Ok(()),
        Err(error) => return Err(error),
    };
    let bindings: Vec<&str> = Record::bindings_of(&text).collect();
    let damaged =
        || Error::Damaged { path: dir.join(names::POLICY), what: "no line says how hits are kept".to_owned() };
    let hits = Record::hits_of(&text).ok_or_else(damaged)?;
    let counted = Own::open(&dir, Counters { bindings: bindings.len(), hits })?.read()?;
    let mut reader = CanonicalReader::default();
    for (text, count) in bindings.iter().zip(&counted).filter(|(_, count)| **count != Counts::default()) {
        let number = reader.read(text).and_then(|binding| number(&record.policy, &binding));
        if let Some(number) = number {
            add(&mut counts[number], count);
        }
    }
    Ok(())
}

/// The number of a binding in a policy.
fn number(policy: &Policy, binding: &Binding) -> Option<usize> {
    policy.entries().binary_search_by(|entry| entry.binding.cmp(binding)).ok()
}

/// Reads the base of a generation: zeros where it has none.
fn read_base(generation: &Generation) -> Result<Vec<Counts>, Error> {
    let bindings = generation.record.policy.len();
    if !generation.record.base {
        return Ok(vec![Counts::default(); bindings]);
    }
    let words = words_of(&generation.live.dir, names::BASE)?;
    let counts = words.as_chunks::<FIELDS>().0.iter().map(
        |&[hits, no_socket, unsupported, wrong_protocol, wrong_family, already_selected]| Counts {
            hits,
            no_socket,
            unsupported,
            wrong_protocol,
            wrong_family,
            already_selected,
        },
    );
    Ok(counts.take(bindings).collect())
}

fn words_of(dir: &Path, name: &str) -> Result<Vec<u64>, Error> {
    Ok(words(&Map::open_read_only(&dir.join(name))?.value()?))
}

fn words(bytes: &[u8]) -> Vec<u64> {
    bytes.as_chunks().0.iter().map(|bytes| u64::from_ne_bytes(*bytes)).collect()
}

fn fields(counts: &Counts) -> [u64; FIELDS] {
    let Counts { hits, no_socket, unsupported, wrong_protocol, wrong_family, already_selected } = *counts;
    [hits, no_socket, unsupported, wrong_protocol, wrong_family, already_selected]
}

/// Adds to the counts of each binding what else was counted for it.
pub(crate) fn add_all(sums: &mut [Counts], counts: &[Counts]) {
    sums.iter_mut().zip(counts).for_each(|(sum, counts)| add(sum, counts));
}
