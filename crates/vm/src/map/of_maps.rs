//! ARRAY_OF_MAPS: maps by index.

use std::sync::{PoisonError, RwLock};

use sklookup_bpf::MapSpec;

use super::Map;
use crate::errno::Errno;

/// Maps of one shape by index.
#[derive(Debug)]
pub(crate) struct OfMaps {
    slots: Box<[RwLock<Option<Map>>]>,
    inner: MapSpec,
}

impl OfMaps {
    pub(super) fn new(spec: &MapSpec, inner: &MapSpec) -> OfMaps {
        OfMaps { slots: (0..spec.max_entries).map(|_| RwLock::new(None)).collect(), inner: inner.clone() }
    }

    pub(super) fn get(&self, index: u32) -> Option<Map> {
        self.slots.get(index as usize)?.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set(&self, index: u32, map: &Map) -> Result<(), Errno> {
        let (spec, inner) = (map.spec(), &self.inner);
        let same = (spec.kind, spec.key_size, spec.value_size, spec.flags)
            == (inner.kind, inner.key_size, inner.value_size, inner.flags);
        let slot = self.slots.get(index as usize).ok_or(Errno::TOOBIG)?;
        if !same {
            return Err(Errno::INVAL);
        }
        *slot.write().unwrap_or_else(PoisonError::into_inner) = Some(map.clone());
        Ok(())
    }

    pub(super) fn delete(&self, index: u32) -> Result<(), Errno> {
        let slot = self.slots.get(index as usize).ok_or(Errno::TOOBIG)?;
        slot.write().unwrap_or_else(PoisonError::into_inner).take().map(drop).ok_or(Errno::NOENT)
    }
}
