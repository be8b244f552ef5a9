//! Maps and programs in maps: ARRAY_OF_MAPS, HASH_OF_MAPS and PROG_ARRAY.

use std::collections::BTreeMap;
use std::sync::{OnceLock, PoisonError, RwLock};

use sklookup_bpf::{MapFlags, MapSpec, MapType, ProgramType};

use super::{KEYED_ENTRY, Map, check_existence, next_of, update};
use crate::errno::Errno;
use crate::memory::Taken;
use crate::program::Program;

/// Objects by index.
#[derive(Debug)]
pub(super) struct Indexed<T>(Box<[RwLock<Option<T>>]>);

impl<T: Clone> Indexed<T> {
    /// Bytes of a slot.
    pub(super) const SLOT: u64 = size_of::<RwLock<Option<T>>>() as u64;

    pub(super) fn new(entries: u32) -> Indexed<T> {
        Indexed((0..entries).map(|_| RwLock::new(None)).collect())
    }

    pub(super) fn get(&self, index: u32) -> Option<T> {
        self.0.get(index as usize)?.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts what `checked` answers, once everything else is right.
    pub(super) fn set(&self, index: u32, flags: u64, checked: impl FnOnce() -> Result<T, Errno>) -> Result<(), Errno> {
        if flags != update::ANY {
            return Err(Errno::INVAL);
        }
        let slot = self.0.get(index as usize).ok_or(Errno::TOOBIG)?;
        let object = checked()?;
        *slot.write().unwrap_or_else(PoisonError::into_inner) = Some(object);
        Ok(())
    }

    pub(super) fn delete(&self, index: u32) -> Result<(), Errno> {
        let slot = self.0.get(index as usize).ok_or(Errno::TOOBIG)?;
        slot.write().unwrap_or_else(PoisonError::into_inner).take().map(drop).ok_or(Errno::NOENT)
    }

    pub(super) fn clear(&self) {
        for slot in &self.0 {
            *slot.write().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }
}

/// Maps by key.
#[derive(Debug)]
pub(super) struct KeyedMaps {
    maps: RwLock<BTreeMap<Box<[u8]>, Map>>,
    max_entries: usize,
}

impl KeyedMaps {
    pub(super) fn new(spec: &MapSpec) -> KeyedMaps {
        KeyedMaps { maps: RwLock::default(), max_entries: spec.max_entries as usize }
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<Map> {
        self.maps.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    pub(super) fn put(&self, key: &[u8], map: &Map, flags: u64, taken: &Taken) -> Result<(), Errno> {
        let mut maps = self.maps.write().unwrap_or_else(PoisonError::into_inner);
        let known = maps.contains_key(key);
        check_existence(known, flags)?;
        if !known {
            if maps.len() >= self.max_entries {
                return Err(Errno::TOOBIG);
            }
            taken.grow(KEYED_ENTRY + key.len() as u64)?;
        }
        maps.insert(key.into(), map.clone());
        Ok(())
    }

    pub(super) fn delete(&self, key: &[u8], taken: &Taken) -> Result<(), Errno> {
        let removed = self.maps.write().unwrap_or_else(PoisonError::into_inner).remove(key);
        removed.ok_or(Errno::NOENT)?;
        taken.shrink(KEYED_ENTRY + key.len() as u64);
        Ok(())
    }

    pub(super) fn next_key(&self, key: Option<&[u8]>) -> Result<Vec<u8>, Errno> {
        let maps = self.maps.read().unwrap_or_else(PoisonError::into_inner);
        next_of(&maps, key).map(|(next, _)| next.to_vec()).ok_or(Errno::NOENT)
    }
}

/// Whether a map may stand where `inner` says what they look like.
pub(super) fn fits(map: &Map, inner: &MapSpec) -> bool {
    let spec = map.spec();
    let same_length = spec.kind != MapType::Array
        || inner.flags.contains(MapFlags::INNER_MAP)
        || spec.max_entries == inner.max_entries;
    let shape = |spec: &MapSpec| (spec.kind, spec.key_size, spec.value_size, spec.flags);
    shape(spec) == shape(inner) && same_length
}

/// Programs by index, all of one type.
#[derive(Debug)]
pub(super) struct Programs {
    pub(super) slots: Indexed<Held>,
    /// Of the program that was first put here, or loaded with this map.
    kind: OnceLock<ProgramType>,
}

/// A program in a map.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) id: u32,
    pub(super) program: Program,
}

impl Programs {
    pub(super) fn new(spec: &MapSpec) -> Programs {
        Programs { slots: Indexed::new(spec.max_entries), kind: OnceLock::new() }
    }

    /// Whether programs of this type can use it; the first that asks decides.
    pub(super) fn is_for(&self, kind: ProgramType) -> bool {
        *self.kind.get_or_init(|| kind) == kind
    }
}
