//! HASH, PERCPU_HASH and LRU_HASH: values by key.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use sklookup_bpf::{MapFlags, MapSpec, MapType};

use super::lru::Lru;
use super::slab::Slab;
use super::{KEYED_ENTRY, check_existence, next_of, update};
use crate::errno::Errno;
use crate::memory::Taken;
use crate::words::Words;

/// Values by key, one for each CPU where they are per CPU. Keys are sorted, so that listing them gives the same order in
/// every run; Linux promises none.
#[derive(Debug)]
pub(crate) struct Hash {
    slab: Slab,
    value_size: usize,
    /// Values that a key has.
    cpus: usize,
    per_cpu: bool,
    max_entries: usize,
    /// The memory of all entries was taken when the map was made.
    preallocated: bool,
    keys: RwLock<Keys>,
}

#[derive(Debug)]
struct Keys {
    places: BTreeMap<Box<[u8]>, usize>,
    /// Places that had a key once.
    free: Vec<usize>,
    /// Places that ever had one: the first so many.
    opened: usize,
    lru: Option<Lru>,
}

impl Hash {
    pub(super) fn new(spec: &MapSpec, cpus: u32) -> Hash {
        let (value_size, cpus) = (spec.value_size as usize, cpus as usize);
        let lru = (spec.kind == MapType::LruHash).then(Lru::default);
        Hash {
            slab: Slab::new(spec.max_entries, value_size.next_multiple_of(8) * cpus),
            value_size,
            cpus,
            per_cpu: spec.kind == MapType::PercpuHash,
            max_entries: spec.max_entries as usize,
            preallocated: !spec.flags.contains(MapFlags::NO_PREALLOC),
            keys: RwLock::new(Keys { places: BTreeMap::new(), free: Vec::new(), opened: 0, lru }),
        }
    }

    /// Bytes that an entry takes beside its values.
    pub(super) fn overhead(spec: &MapSpec) -> u64 {
        let copies = if spec.kind == MapType::LruHash { 2 } else { 1 };
        KEYED_ENTRY + copies * u64::from(spec.key_size)
    }

    /// The memory of the value at a place, and the byte where it begins.
    pub(super) fn value_at(&self, place: usize) -> (&Words, usize) {
        let (words, start) = self.slab.place(place / self.cpus);
        (words, start + place % self.cpus * self.stride())
    }

    /// The place of the value that a program on this CPU finds.
    pub(super) fn place(&self, key: &[u8], cpu: u32) -> Option<usize> {
        let keys = self.read();
        let entry = *keys.places.get(key)?;
        if let Some(lru) = &keys.lru {
            lru.used(entry);
        }
        Some(self.of_cpu(entry, cpu))
    }

    pub(super) fn lookup(&self, key: &[u8]) -> Result<Vec<u8>, Errno> {
        let entry = self.read().places.get(key).copied().ok_or(Errno::NOENT)?;
        Ok(self.visible(entry))
    }

    /// Writes what a program on `cpu` writes, or for `None` the values of all CPUs.
    pub(super) fn update(
        &self,
        key: &[u8],
        value: &[u8],
        flags: u64,
        cpu: Option<u32>,
        taken: &Taken,
    ) -> Result<(), Errno> {
        let all = self.per_cpu && cpu.is_none();
        if flags > update::EXIST || value.len() != if all { self.stride() * self.cpus } else { self.value_size } {
            return Err(Errno::INVAL);
        }
        let mut keys = self.write();
        let known = keys.places.get(key).copied();
        check_existence(known.is_some(), flags)?;
        let entry = match known {
            Some(entry) => {
                if let Some(lru) = &keys.lru {
                    lru.used(entry);
                }
                entry
            }
            None => self.enter(&mut keys, key, taken)?,
        };
        if all {
            for (cpu, value) in (0..).zip(value.chunks(self.stride())) {
                self.set(self.of_cpu(entry, cpu), value);
            }
        } else {
            if known.is_none() {
                (0..self.cpus as u32).for_each(|cpu| self.set(self.of_cpu(entry, cpu), &vec![0; self.value_size]));
            }
            self.set(self.of_cpu(entry, cpu.unwrap_or(0)), value);
        }
        Ok(())
    }

    pub(super) fn delete(&self, key: &[u8]) -> Result<(), Errno> {
        self.write().remove(key).map(drop).ok_or(Errno::NOENT)
    }

    pub(super) fn take(&self, key: &[u8]) -> Result<Vec<u8>, Errno> {
        let mut keys = self.write();
        let entry = keys.remove(key).ok_or(Errno::NOENT)?;
        Ok(self.visible(entry))
    }

    pub(super) fn next_key(&self, key: Option<&[u8]>) -> Result<Vec<u8>, Errno> {
        let keys = self.read();
        next_of(&keys.places, key).map(|(next, _)| next.to_vec()).ok_or(Errno::NOENT)
    }

    /// The first entry behind a key, which need not be there any more, as a program on this CPU sees it.
    pub(super) fn behind(&self, key: Option<&[u8]>, cpu: u32) -> Option<(Vec<u8>, usize)> {
        let from = key.map_or(Bound::Unbounded, Bound::Excluded);
        let keys = self.read();
        let (key, entry) = keys.places.range::<[u8], _>((from, Bound::Unbounded)).next()?;
        Some((key.to_vec(), self.of_cpu(*entry, cpu)))
    }

    /// Makes an entry; of a full LRU_HASH in the place of one that was not used lately.
    fn enter(&self, keys: &mut Keys, key: &[u8], taken: &Taken) -> Result<usize, Errno> {
        let entry = match keys.free.pop() {
            Some(entry) => entry,
            None if keys.opened < self.max_entries => {
                let entry = keys.opened;
                if !self.preallocated {
                    taken.grow(self.slab.price(entry) + KEYED_ENTRY + key.len() as u64)?;
                }
                self.slab.make_room(entry)?;
                keys.opened += 1;
                entry
            }
            None => keys.evict().ok_or(Errno::TOOBIG)?,
        };
        keys.places.insert(key.into(), entry);
        if let Some(lru) = &mut keys.lru {
            lru.enter(entry, key);
        }
        Ok(entry)
    }

    fn set(&self, place: usize, value: &[u8]) {
        let (words, start) = self.value_at(place);
        words.write(start, value);
    }

    /// What the owner of the map reads of an entry.
    fn visible(&self, entry: usize) -> Vec<u8> {
        let (words, start) = self.slab.place(entry);
        let mut value = vec![0; if self.per_cpu { self.stride() * self.cpus } else { self.value_size }];
        words.read(start, &mut value);
        value
    }

    fn of_cpu(&self, entry: usize, cpu: u32) -> usize {
        entry * self.cpus + cpu as usize % self.cpus
    }

    /// Bytes from one CPU's value to the next.
    fn stride(&self) -> usize {
        self.value_size.next_multiple_of(8)
    }

    fn read(&self) -> RwLockReadGuard<'_, Keys> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Keys> {
        self.keys.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Keys {
    fn remove(&mut self, key: &[u8]) -> Option<usize> {
        let entry = self.places.remove(key)?;
        if let Some(lru) = &mut self.lru {
            lru.leave(entry);
        }
        self.free.push(entry);
        Some(entry)
    }

    /// Removes the entry whose turn it is, of an LRU_HASH.
    fn evict(&mut self) -> Option<usize> {
        let (entry, key) = self.lru.as_mut()?.victim()?;
        self.places.remove(&key);
        Some(entry)
    }
}
