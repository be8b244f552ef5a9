//! Counts that outlive a generation.
//!
//! Counters belong to a generation, are numbered its way, new and zero. Its frozen `base` holds per binding what the
//! generations before its parent counted. What is shown is base + parent's counters + own; the parent was replaced, but
//! a packet that was inside its program may still be counting.

use std::path::Path;

use sklookup_compiler::{Counters, Counts, HitsLayout};
use sklookup_kernel::{Map, grace_period};
use sklookup_policy::{Binding, CanonicalReader, Policy};

use crate::error::Error;
use crate::record::Record;
use crate::state::{Generation, State, names, read_text};
use crate::step::Step;

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
            let policy = &generation.record.policy;
            let mut counts = vec![Counts::default(); policy.len()];
            let own = read_counters(&generation.live.dir, policy.len(), generation.record.hits)?;
            for (sum, count) in counts.iter_mut().zip(own) {
                add(sum, &count);
            }
            for (sum, count) in counts.iter_mut().zip(read_base(&generation)?) {
                add(sum, &count);
            }
            add_parent(self, &generation.record, &mut counts)?;
            Ok((generation, counts))
        })
    }
}

/// The base of a generation on top of `base`: the bytes of its map, or nothing where all counts are zero.
pub(crate) fn carry(state: &State, base: &Generation, policy: &Policy) -> Result<Option<Vec<u8>>, Error> {
    let mut before = read_base(base)?;
    if base.record.parent != 0 {
        // Whoever was inside the parent's program when the base replaced it has left it: its counts are final.
        grace_period()?;
        add_parent(state, &base.record, &mut before)?;
    }
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
    let counted = read_counters(&dir, bindings.len(), hits)?;
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

/// Reads the counters that a generation's program writes.
fn read_counters(dir: &Path, bindings: usize, hits: HitsLayout) -> Result<Vec<Counts>, Error> {
    let map = Map::open_read_only(&dir.join(names::HITS))?;
    let words = match hits {
        HitsLayout::PerCpu => map.values_percpu(bindings as u32)?,
        HitsLayout::Shards(_) => words(&map.value()?),
    };
    let faults = words_of(dir, names::FAULTS)?;
    Counters { bindings, hits }.decode(&words, &faults).ok_or_else(|| Error::Damaged {
        path: dir.to_owned(),
        what: format!("fewer counters than the {bindings} bindings need"),
    })
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

/// Adds one binding's counts to a sum.
pub fn add(sum: &mut Counts, counts: &Counts) {
    sum.hits += counts.hits;
    sum.no_socket += counts.no_socket;
    sum.unsupported += counts.unsupported;
    sum.wrong_protocol += counts.wrong_protocol;
    sum.wrong_family += counts.wrong_family;
    sum.already_selected += counts.already_selected;
}
