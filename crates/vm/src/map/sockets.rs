//! SOCKMAP, REUSEPORT_SOCKARRAY and SOCKHASH: sockets by index or key.
//!
//! A map holds no reference that keeps a socket open. An entry whose socket was closed counts as absent from that moment
//! on; it is overwritten or swept when its place is wanted.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use sklookup_bpf::{MapSpec, MapType};

use zerocopy::FromZeros;

use super::{KEYED_ENTRY, Map, check_existence, next_of};
use crate::errno::Errno;
use crate::memory::Taken;
use crate::socket::SocketId;

/// What maps of sockets ask about sockets.
pub trait Sockets {
    /// Whether the socket is still open.
    fn is_open(&self, socket: SocketId) -> bool;

    /// Whether its protocol and state let it into a map of this type now.
    fn is_suitable(&self, socket: SocketId, kind: MapType) -> Result<(), Errno>;

    /// Whether another map has it that excludes this one.
    fn is_free_for(&self, socket: SocketId, map: &Map) -> Result<(), Errno>;
}

/// Sockets by index.
#[derive(Debug)]
pub(crate) struct Slots(Box<[AtomicU64]>);

impl Slots {
    pub(super) fn new(spec: &MapSpec) -> Result<Slots, Errno> {
        <[AtomicU64]>::new_box_zeroed_with_elems(spec.max_entries as usize).map(Slots).map_err(|_| Errno::NOMEM)
    }

    pub(super) fn get(&self, index: u32, sockets: &impl Sockets) -> Option<SocketId> {
        self.occupant(index).filter(|socket| sockets.is_open(*socket))
    }

    pub(super) fn contains_index(&self, index: u32) -> bool {
        (index as usize) < self.0.len()
    }

    /// Whoever was put there last, open or not.
    pub(super) fn occupant(&self, index: u32) -> Option<SocketId> {
        SocketId::from_cookie(self.0.get(index as usize)?.load(Ordering::Relaxed))
    }

    /// The caller has checked the index.
    pub(super) fn set(&self, index: u32, socket: Option<SocketId>) {
        self.0[index as usize].store(socket.map_or(0, SocketId::cookie), Ordering::Relaxed);
    }

    pub(super) fn holds(&self, socket: SocketId) -> bool {
        self.0.iter().any(|slot| slot.load(Ordering::Relaxed) == socket.cookie())
    }

    pub(super) fn forget(&self, socket: SocketId) {
        for slot in &self.0 {
            let _ = slot.compare_exchange(socket.cookie(), 0, Ordering::Relaxed, Ordering::Relaxed);
        }
    }
}

/// Sockets by key, sorted for the reason given at [`super::hash::Hash`].
#[derive(Debug)]
pub(crate) struct Keyed {
    sockets: RwLock<BTreeMap<Box<[u8]>, SocketId>>,
    max_entries: usize,
}

impl Keyed {
    pub(super) fn new(spec: &MapSpec) -> Keyed {
        Keyed { sockets: RwLock::default(), max_entries: spec.max_entries as usize }
    }

    pub(super) fn get(&self, key: &[u8], sockets: &impl Sockets) -> Option<SocketId> {
        self.read().get(key).copied().filter(|socket| sockets.is_open(*socket))
    }

    pub(super) fn put(
        &self,
        key: &[u8],
        socket: SocketId,
        flags: u64,
        sockets: &impl Sockets,
        taken: &Taken,
    ) -> Result<(), Errno> {
        let mut entries = self.write();
        let known = entries.get(key).is_some_and(|known| sockets.is_open(*known));
        check_existence(known, flags)?;
        if !known && entries.len() >= self.max_entries {
            let before = entries.len();
            entries.retain(|_, known| sockets.is_open(*known));
            taken.shrink((before - entries.len()) as u64 * Keyed::price(key));
            if entries.len() >= self.max_entries {
                return Err(Errno::TOOBIG);
            }
        }
        if !entries.contains_key(key) {
            taken.grow(Keyed::price(key))?;
        }
        entries.insert(key.into(), socket);
        Ok(())
    }

    pub(super) fn delete(&self, key: &[u8], sockets: &impl Sockets, taken: &Taken) -> Result<(), Errno> {
        let removed = self.write().remove(key).ok_or(Errno::NOENT)?;
        taken.shrink(Keyed::price(key));
        if sockets.is_open(removed) { Ok(()) } else { Err(Errno::NOENT) }
    }

    /// Bytes that an entry takes.
    fn price(key: &[u8]) -> u64 {
        KEYED_ENTRY + key.len() as u64
    }

    pub(super) fn next_key(&self, key: Option<&[u8]>, sockets: &impl Sockets) -> Result<Vec<u8>, Errno> {
        let entries = self.read();
        // A key that isn't there, or whose socket has gone, is followed by the first.
        let mut key = key.filter(|key| entries.get(*key).is_some_and(|socket| sockets.is_open(*socket)));
        loop {
            let (next, socket) = next_of(&entries, key).ok_or(Errno::NOENT)?;
            if sockets.is_open(*socket) {
                return Ok(next.to_vec());
            }
            key = Some(next);
        }
    }

    pub(super) fn holds(&self, socket: SocketId) -> bool {
        self.read().values().any(|known| *known == socket)
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<Box<[u8]>, SocketId>> {
        self.sockets.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<Box<[u8]>, SocketId>> {
        self.sockets.write().unwrap_or_else(PoisonError::into_inner)
    }
}
