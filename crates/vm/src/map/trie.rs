//! LPM_TRIE: values by prefix, of which the longest is found that begins a key.
//!
//! A key is a length in bits, 4 bytes in host order, and the bytes whose first bits count. Kept sorted in the order in which
//! Linux lists them: a prefix behind those that it begins, and of two others the one with a 0 where they differ first.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use sklookup_bpf::MapSpec;

use super::slab::Slab;
use super::{KEYED_ENTRY, update};
use crate::errno::Errno;
use crate::memory::Taken;
use crate::words::{Words, number};

/// Values by prefix.
#[derive(Debug)]
pub(crate) struct Trie {
    slab: Slab,
    value_size: usize,
    /// Bits of the longest prefix.
    longest: u32,
    max_entries: usize,
    prefixes: RwLock<Prefixes>,
}

#[derive(Debug)]
struct Prefixes {
    entries: BTreeMap<Prefix, Entry>,
    free: Vec<usize>,
    /// Places that were ever taken.
    opened: usize,
}

#[derive(Debug)]
struct Entry {
    /// As it was given, with bits behind the prefix.
    key: Box<[u8]>,
    place: usize,
}

impl Trie {
    pub(super) fn new(spec: &MapSpec) -> Trie {
        let value_size = spec.value_size as usize;
        Trie {
            slab: Slab::new(spec.max_entries, value_size.next_multiple_of(8)),
            value_size,
            longest: (spec.key_size - LENGTH as u32) * 8,
            max_entries: spec.max_entries as usize,
            prefixes: RwLock::new(Prefixes { entries: BTreeMap::new(), free: Vec::new(), opened: 0 }),
        }
    }

    pub(super) fn value_at(&self, place: usize) -> (&Words, usize) {
        self.slab.place(place)
    }

    /// The value of the longest prefix that begins the key.
    pub(super) fn place(&self, key: &[u8]) -> Option<usize> {
        let prefixes = self.read();
        let mut wanted = self.prefix(key).ok()?;
        // Prefixes of a key stand behind it, longer ones first, and between them others that differ from it in some bit.
        // No prefix of the key that is longer than that bit can stand behind such a one.
        loop {
            let (found, entry) = prefixes.entries.range(&wanted..).next()?;
            let common = found.common(&wanted);
            if common == found.length {
                return Some(entry.place);
            }
            wanted.cut(common);
        }
    }

    pub(super) fn lookup(&self, key: &[u8]) -> Result<Vec<u8>, Errno> {
        let (words, start) = self.slab.place(self.place(key).ok_or(Errno::NOENT)?);
        let mut value = vec![0; self.value_size];
        words.read(start, &mut value);
        Ok(value)
    }

    pub(super) fn update(&self, key: &[u8], value: &[u8], flags: u64, taken: &Taken) -> Result<(), Errno> {
        if flags > update::EXIST || value.len() != self.value_size {
            return Err(Errno::INVAL);
        }
        let prefix = self.prefix(key)?;
        let mut prefixes = self.write();
        let place = match (prefixes.entries.get_mut(&prefix), flags) {
            (Some(_), update::NOEXIST) => return Err(Errno::EXIST),
            (None, update::EXIST) => return Err(Errno::NOENT),
            (Some(entry), _) => {
                entry.key = key.into();
                entry.place
            }
            (None, _) => {
                let place = self.new_place(&mut prefixes, taken)?;
                prefixes.entries.insert(prefix, Entry { key: key.into(), place });
                place
            }
        };
        let (words, start) = self.slab.place(place);
        words.write(start, value);
        Ok(())
    }

    pub(super) fn delete(&self, key: &[u8]) -> Result<(), Errno> {
        let prefix = self.prefix(key)?;
        let mut prefixes = self.write();
        let entry = prefixes.entries.remove(&prefix).ok_or(Errno::NOENT)?;
        prefixes.free.push(entry.place);
        Ok(())
    }

    /// The key behind this one; the first for one that isn't there or is too long.
    pub(super) fn next_key(&self, key: Option<&[u8]>) -> Result<Vec<u8>, Errno> {
        let prefixes = self.read();
        let known = key.and_then(|key| self.prefix(key).ok()).filter(|prefix| prefixes.entries.contains_key(prefix));
        let from = known.map_or(Bound::Unbounded, Bound::Excluded);
        let (_, entry) = prefixes.entries.range((from, Bound::Unbounded)).next().ok_or(Errno::NOENT)?;
        Ok(entry.key.to_vec())
    }

    fn new_place(&self, prefixes: &mut Prefixes, taken: &Taken) -> Result<usize, Errno> {
        if prefixes.entries.len() >= self.max_entries {
            return Err(Errno::NOSPC);
        }
        if let Some(place) = prefixes.free.pop() {
            return Ok(place);
        }
        let place = prefixes.opened;
        // The key stands there twice, masked and as given.
        taken.grow(self.slab.price(place) + KEYED_ENTRY + 2 * (u64::from(self.longest) / 8 + LENGTH as u64))?;
        self.slab.make_room(place)?;
        prefixes.opened += 1;
        Ok(place)
    }

    fn prefix(&self, key: &[u8]) -> Result<Prefix, Errno> {
        let (length, bytes) = key.split_at(LENGTH);
        let length = number(length) as u32;
        if length > self.longest {
            return Err(Errno::INVAL);
        }
        let mut prefix = Prefix { length: self.longest, bytes: bytes.into() };
        prefix.cut(length);
        Ok(prefix)
    }

    fn read(&self) -> RwLockReadGuard<'_, Prefixes> {
        self.prefixes.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Prefixes> {
        self.prefixes.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes of the length at the beginning of a key.
const LENGTH: usize = 4;

/// So many bits; those behind them are 0.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Prefix {
    length: u32,
    bytes: Box<[u8]>,
}

impl Prefix {
    /// How many bits both begin with.
    fn common(&self, other: &Prefix) -> u32 {
        let shorter = self.length.min(other.length);
        let mut pairs = self.bytes.iter().zip(&other.bytes);
        let same = match pairs.position(|(one, other)| one != other) {
            Some(at) => at as u32 * 8 + (self.bytes[at] ^ other.bytes[at]).leading_zeros(),
            None => shorter,
        };
        same.min(shorter)
    }

    /// Leaves the first `length` bits.
    fn cut(&mut self, length: u32) {
        self.length = length;
        let whole = (length / 8) as usize;
        if let Some(byte) = self.bytes.get_mut(whole) {
            *byte &= !(0xff >> (length % 8));
        }
        self.bytes.iter_mut().skip(whole + 1).for_each(|byte| *byte = 0);
    }
}

impl Ord for Prefix {
    fn cmp(&self, other: &Prefix) -> Ordering {
        if self.common(other) == self.length.min(other.length) {
            return other.length.cmp(&self.length);
        }
        self.bytes.cmp(&other.bytes)
    }
}

impl PartialOrd for Prefix {
    fn partial_cmp(&self, other: &Prefix) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
