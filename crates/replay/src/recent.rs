//! What was seen lately, in bounded memory.

use std::collections::HashMap;
use std::hash::Hash;

/// A map that forgets what was not asked for longest, half at a time.
///
/// Two generations: when the young one is full, the old one is forgotten and the young one takes its place. What is asked
/// for becomes young again. So between half and all of the entries are remembered, without an order to keep.
#[derive(Debug)]
pub struct Recent<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    /// Entries of a generation.
    most: usize,
    forgotten: u64,
}

impl<K: Hash + Eq, V> Recent<K, V> {
    /// Room for so many entries, at least two.
    pub fn new(entries: usize) -> Recent<K, V> {
        Recent { young: HashMap::new(), old: HashMap::new(), most: (entries / 2).max(1), forgotten: 0 }
    }

    /// The value of a key, if it is remembered.
    pub fn get(&mut self, key: &K) -> Option<&mut V> {
        if let Some((key, value)) = self.old.remove_entry(key) {
            self.insert(key, value);
        }
        self.young.get_mut(key)
    }

    /// Remembers a value for a key.
    pub fn insert(&mut self, key: K, value: V) {
        self.old.remove(&key);
        if self.young.len() >= self.most && !self.young.contains_key(&key) {
            // The memory of the old one is used again.
            std::mem::swap(&mut self.young, &mut self.old);
            self.forgotten += self.young.len() as u64;
            self.young.clear();
        }
        self.young.insert(key, value);
    }

    /// How many entries were forgotten.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_stays_and_what_is_not_is_forgotten() {
        let mut recent = Recent::new(8);
        recent.insert("kept", 0);
        for other in 0..100 {
            recent.insert(Box::leak(format!("{other}").into_boxed_str()), other);
            assert_eq!(recent.get(&"kept").copied(), Some(0), "{other}");
        }
        assert_eq!(recent.get(&"99").copied(), Some(99));
        assert_eq!(recent.get(&"0"), None);
        assert!(recent.young.len() <= 4 && recent.old.len() <= 4);
        let remembered = recent.young.len() + recent.old.len();
        assert_eq!(recent.forgotten() as usize + remembered, 101);
    }

    #[test]
    fn a_key_that_comes_again_takes_no_more_room() {
        let mut recent = Recent::new(2);
        for round in 0..10 {
            recent.insert("a", round);
        }
        assert_eq!((recent.get(&"a").copied(), recent.forgotten()), (Some(9), 0));
    }
}
