//! Which entry of a full LRU_HASH goes.

use std::sync::atomic::{AtomicBool, Ordering};

/// The entries in a circle. A hand goes round; it takes the first that was not used since it came by last.
///
/// Linux promises no more than that used entries tend to stay, and may let entries go before the map is full.
#[derive(Debug, Default)]
pub(super) struct Lru {
    entries: Vec<Entry>,
    hand: usize,
}

#[derive(Debug, Default)]
struct Entry {
    key: Option<Box<[u8]>>,
    used: AtomicBool,
}

impl Lru {
    /// An entry got a key.
    pub(super) fn enter(&mut self, entry: usize, key: &[u8]) {
        if self.entries.len() <= entry {
            self.entries.resize_with(entry + 1, Entry::default);
        }
        self.entries[entry] = Entry { key: Some(key.into()), used: AtomicBool::new(false) };
    }

    /// An entry lost its key.
    pub(super) fn leave(&mut self, entry: usize) {
        self.entries[entry].key = None;
    }

    /// A program found an entry, or it was written again.
    pub(super) fn used(&self, entry: usize) {
        self.entries[entry].used.store(true, Ordering::Relaxed);
    }

    /// Takes the entry out whose turn it is; `None` if there is none.
    pub(super) fn victim(&mut self) -> Option<(usize, Box<[u8]>)> {
        // In the second round none is marked any more.
        for _ in 0..2 * self.entries.len() {
            let at = self.hand;
            self.hand = (at + 1) % self.entries.len();
            let entry = &mut self.entries[at];
            let spared = std::mem::take(entry.used.get_mut());
            if !spared && let Some(key) = entry.key.take() {
                return Some((at, key));
            }
        }
        None
    }
}
