//! HASH: values by key.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use sklookup_bpf::MapSpec;

use super::{check_existence, next_of};
use crate::errno::Errno;
use crate::words::Words;

/// Values by key. Keys are sorted, so that listing them gives the same order in every run; Linux promises none.
#[derive(Debug)]
pub(crate) struct Hash {
    words: Words,
    value_size: usize,
    keys: RwLock<Keys>,
}

#[derive(Debug)]
struct Keys {
    places: BTreeMap<Box<[u8]>, usize>,
    /// Places that no key has.
    free: Vec<usize>,
}

impl Hash {
    pub(super) fn new(spec: &MapSpec) -> Hash {
        let value_size = spec.value_size as usize;
        let words = Words::zeroed(spec.max_entries as usize * value_size.div_ceil(8));
        let keys = Keys { places: BTreeMap::new(), free: (0..spec.max_entries as usize).rev().collect() };
        Hash { words, value_size, keys: RwLock::new(keys) }
    }

    pub(super) fn words(&self) -> &Words {
        &self.words
    }

    pub(super) fn stride(&self) -> usize {
        self.value_size.next_multiple_of(8)
    }

    pub(super) fn place(&self, key: &[u8]) -> Option<usize> {
        self.read().places.get(key).copied()
    }

    pub(super) fn lookup(&self, key: &[u8]) -> Result<Vec<u8>, Errno> {
        let place = self.place(key).ok_or(Errno::NOENT)?;
        let mut value = vec![0; self.value_size];
        self.words.read(place * self.stride(), &mut value);
        Ok(value)
    }

    pub(super) fn update(&self, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
        if value.len() != self.value_size {
            return Err(Errno::INVAL);
        }
        let mut keys = self.write();
        let known = keys.places.get(key).copied();
        check_existence(known.is_some(), flags)?;
        let place = match known {
            Some(place) => place,
            None => {
                let place = keys.free.pop().ok_or(Errno::TOOBIG)?;
                keys.places.insert(key.into(), place);
                place
            }
        };
        self.words.write(place * self.stride(), value);
        Ok(())
    }

    pub(super) fn delete(&self, key: &[u8]) -> Result<(), Errno> {
        let mut keys = self.write();
        let place = keys.places.remove(key).ok_or(Errno::NOENT)?;
        keys.free.push(place);
        Ok(())
    }

    pub(super) fn next_key(&self, key: Option<&[u8]>) -> Result<Vec<u8>, Errno> {
        let keys = self.read();
        next_of(&keys.places, key).map(|(next, _)| next.to_vec()).ok_or(Errno::NOENT)
    }

    fn read(&self) -> RwLockReadGuard<'_, Keys> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Keys> {
        self.keys.write().unwrap_or_else(PoisonError::into_inner)
    }
}
