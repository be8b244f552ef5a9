//! What was done and seen, each with the time that it took, and whether some order of it all explains what was seen.
//!
//! The namespace is a set of registers: a binding is applied or not, a label has its socket or not. A write that was
//! acknowledged took effect at some moment between its start and its end; one that was killed may have, or not; one that
//! said that it failed must not have. What is read of a register has to be the value of a write that began before the
//! reading ended and was not overwritten for certain before it began.

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// When something began and ended.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    pub start: Instant,
    pub end: Instant,
}

impl Span {
    /// Does it, and says how long it took.
    pub fn of<T>(act: impl FnOnce() -> T) -> (T, Span) {
        let start = Instant::now();
        let done = act();
        (done, Span { start, end: Instant::now() })
    }
}

/// What is known of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It said that it is done.
    Done,
    /// It was killed.
    Unknown,
}

#[derive(Debug)]
struct Write {
    value: bool,
    span: Span,
    outcome: Outcome,
}

/// Everything that was written.
#[derive(Debug)]
pub struct History<K> {
    began: Instant,
    writes: Mutex<HashMap<K, Vec<Write>>>,
}

impl<K: Clone + Debug + Eq + Hash> History<K> {
    /// All registers are false.
    pub fn new() -> History<K> {
        History { began: Instant::now(), writes: Mutex::default() }
    }

    /// One write to several registers, which took effect at one moment.
    pub fn wrote(&self, span: Span, outcome: Outcome, values: impl IntoIterator<Item = (K, bool)>) {
        let mut writes = self.writes.lock().unwrap();
        for (key, value) in values {
            writes.entry(key).or_default().push(Write { value, span, outcome });
        }
    }

    /// The values that a register can have had at some moment of `seen`.
    ///
    /// Call it when everything that began before `seen` ended is in the history: after the run.
    pub fn possible(&self, key: &K, seen: Span) -> Vec<bool> {
        let nothing = Span { start: self.began, end: self.began };
        let first = [Write { value: false, span: nothing, outcome: Outcome::Done }];
        let all = self.writes.lock().unwrap();
        let writes: Vec<&Write> = first.iter().chain(all.get(key).into_iter().flatten()).collect();
        // Whatever had ended before this began is overwritten for certain.
        let overwritten = writes
            .iter()
            .filter(|write| write.outcome == Outcome::Done && write.span.end < seen.start)
            .map(|write| write.span.start)
            .max();
        let gone = |write: &Write| overwritten.is_some_and(|start| write.span.end < start);
        let mut values: Vec<bool> = writes
            .iter()
            .filter(|write| write.span.start < seen.end && !gone(write))
            .map(|write| write.value)
            .collect();
        values.sort_unstable();
        values.dedup();
        values
    }

    /// What was written in the second before, to be read by who looks for a reason: milliseconds from the beginning of `seen`.
    pub fn around(&self, seen: Span) -> String {
        let all = self.writes.lock().unwrap();
        let mut near: Vec<(&K, &Write)> = all
            .iter()
            .flat_map(|(key, writes)| writes.iter().map(move |write| (key, write)))
            .filter(|(_, write)| write.span.start < seen.end && write.span.end + Duration::from_secs(1) > seen.start)
            .collect();
        near.sort_by_key(|(_, write)| write.span.start);
        let since = |then: Instant| {
            then.checked_duration_since(seen.start)
                .map_or_else(|| -(seen.start - then).as_secs_f64(), |later| later.as_secs_f64())
                * 1e3
        };
        near.iter()
            .map(|(key, Write { value, span, outcome })| {
                format!("{:9.1} to {:7.1}: {key:?} {value} {outcome:?}\n", since(span.start), since(span.end))
            })
            .collect()
    }

    /// How many writes there were.
    pub fn len(&self) -> usize {
        self.writes.lock().unwrap().values().map(Vec::len).sum()
    }
}
