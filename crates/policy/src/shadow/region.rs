//! Sets of (port, source) pairs.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::cover::{Block, Net};

/// How many prefixes may be looked at to make all the regions of one search; then regions count as empty, which hides
/// nothing. Ten thousand ranges that overlap, each with a source of its own, fall into fifty million pieces.
#[derive(Debug)]
pub(super) struct Budget(usize);

impl Default for Budget {
    fn default() -> Self {
        Self(30_000_000)
    }
}

impl Budget {
    /// Takes `pieces` out, if there are so many left.
    fn spend(&mut self, pieces: usize) -> Option<()> {
        let left = self.0.checked_sub(pieces);
        self.0 = left.unwrap_or(0);
        left.map(|_| ())
    }
}

/// A set of (port, source) pairs: port intervals in ascending order, each with the sources that it holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Region {
    slabs: Vec<Slab>,
}

/// Ports `first` to `last`, for each of which the sources are the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Slab {
    pub(super) first: u16,
    pub(super) last: u16,
    /// Ascending, none in another; never empty.
    pub(super) sources: Rc<[Net]>,
}

impl Region {
    pub(super) fn is_empty(&self) -> bool {
        self.slabs.is_empty()
    }

    pub(super) fn slabs(&self) -> &[Slab] {
        &self.slabs
    }

    /// The pairs that both hold.
    pub(super) fn intersection(&self, other: &Self, budget: &mut Budget) -> Self {
        let mut both = Builder::default();
        let (mut mine, mut theirs) = (self.slabs.iter().peekable(), other.slabs.iter().peekable());
        while let (Some(a), Some(b)) = (mine.peek(), theirs.peek()) {
            if budget.spend(a.sources.len() + b.sources.len()).is_none() {
                return Self::default();
            }
            let (first, last) = (a.first.max(b.first), a.last.min(b.last));
            if first <= last {
                both.push(first, last, common(&a.sources, &b.sources));
            }
            if a.last <= b.last {
                mine.next();
            } else {
                theirs.next();
            }
        }
        Self { slabs: both.slabs }
    }

    /// The pairs of this region and those of `blocks`.
    pub(super) fn union(&self, blocks: &[Block], budget: &mut Budget) -> Self {
        // Where a source comes (+1) or goes (-1), by port; u32, for the last port has a next one too.
        let mut changes: Vec<(u32, Net, i32)> = Vec::new();
        let mut add = |first: u16, last: u16, source: Net| {
            changes.push((u32::from(first), source, 1));
            changes.push((u32::from(last) + 1, source, -1));
        };
        for slab in &self.slabs {
            slab.sources.iter().for_each(|&source| add(slab.first, slab.last, source));
        }
        blocks.iter().for_each(|block| add(block.first, block.last, block.source));
        changes.sort_unstable();

        let mut union = Builder::default();
        let mut active: BTreeMap<Net, i32> = BTreeMap::new();
        let mut sources: Rc<[Net]> = Rc::default();
        for here in changes.chunk_by(|a, b| a.0 == b.0) {
            let mut changed = false;
            for &(_, source, change) in here {
                let count = active.entry(source).or_default();
                changed |= *count == 0 || *count + change == 0;
                *count += change;
            }
            if changed {
                if budget.spend(active.len()).is_none() {
                    return Self::default();
                }
                active.retain(|_, count| *count > 0);
                sources = merged(active.keys().copied()).into();
            }
            // The slab ends where the next change is; the last change leaves nothing.
            union.start(here[0].0, &sources);
        }
        Self { slabs: union.slabs }
    }
}

#[derive(Default)]
struct Builder {
    slabs: Vec<Slab>,
    /// Of a slab whose end is not known yet.
    open: Option<(u32, Rc<[Net]>)>,
}

impl Builder {
    fn push(&mut self, first: u16, last: u16, sources: Rc<[Net]>) {
        match self.slabs.last_mut() {
            _ if sources.is_empty() => {}
            Some(before) if u32::from(before.last) + 1 == u32::from(first) && before.sources == sources => {
                before.last = last;
            }
            _ => self.slabs.push(Slab { first, last, sources }),
        }
    }

    /// Ends the open slab before `port` and opens the next one there.
    fn start(&mut self, port: u32, sources: &Rc<[Net]>) {
        if let Some((first, sources)) = self.open.replace((port, sources.clone())) {
            // Ports of slabs are 0 to 65535, and only the empty one after the last stays open.
            self.push(first as u16, (port - 1) as u16, sources);
        }
    }
}

/// The sources that are in both.
fn common(a: &Rc<[Net]>, b: &Rc<[Net]>) -> Rc<[Net]> {
    if a == b {
        return a.clone();
    }
    let mut both = Vec::new();
    let (mut mine, mut theirs) = (a.iter().copied().peekable(), b.iter().copied().peekable());
    while let (Some(&x), Some(&y)) = (mine.peek(), theirs.peek()) {
        // Prefixes contain one another or are apart.
        if x.contains(y) {
            both.push(y);
            theirs.next();
        } else if y.contains(x) {
            both.push(x);
            mine.next();
        } else if x < y {
            mine.next();
        } else {
            theirs.next();
        }
    }
    both.into()
}

/// The same addresses in the fewest prefixes; `sources` ascend.
fn merged(sources: impl Iterator<Item = Net>) -> Vec<Net> {
    let mut merged: Vec<Net> = Vec::new();
    for mut source in sources {
        if merged.last().is_some_and(|before| before.contains(source)) {
            continue;
        }
        // Two halves are one whole, which may be a half itself.
        while let Some(&before) = merged.last() {
            let whole = before.join(source);
            if before.length != source.length || whole.length + 1 != source.length {
                break;
            }
            merged.pop();
            source = whole;
        }
        merged.push(source);
    }
    merged
}
