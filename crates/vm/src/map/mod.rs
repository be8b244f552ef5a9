//! Maps: what programs and their owners share.
//!
//! Each operation has Linux's errnos, in Linux's order of checks. A map may be used from any number of threads.

mod array;
mod hash;
mod of_maps;
mod shape;
mod sockets;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sklookup_bpf::{Contents, MapSpec, MapType};

use crate::errno::Errno;
use crate::socket::SocketId;
use crate::words::{Words, number};
use array::Array;
use hash::Hash;
use of_maps::OfMaps;
use shape::flag;
pub use sockets::Sockets;
use sockets::{Keyed, Slots};

/// What an update wants of the key.
pub mod update {
    /// Whether it is there or not (`BPF_ANY`).
    pub const ANY: u64 = 0;
    /// It must not be there, else EEXIST (`BPF_NOEXIST`).
    pub const NOEXIST: u64 = 1;
    /// It must be there, else ENOENT (`BPF_EXIST`).
    pub const EXIST: u64 = 2;
    /// `BPF_F_LOCK`, for values with a spin lock, which no map here has.
    pub(super) const LOCK: u64 = 4;
}

/// A map. Clones are the same map.
#[derive(Clone, Debug)]
pub struct Map(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    id: u32,
    /// What it was made from, without contents.
    spec: MapSpec,
    frozen: AtomicBool,
    store: Store,
}

#[derive(Debug)]
enum Store {
    Array(Array),
    Hash(Hash),
    OfMaps(OfMaps),
    Slots(Slots),
    Keyed(Keyed),
}

/// What a program's lookup finds.
#[derive(Debug)]
pub(crate) enum Found {
    /// The value at this place.
    Value(usize),
    Map(Map),
    Socket(SocketId),
}

impl Map {
    /// Creates a map with this id on a machine of so many CPUs, fills it, and freezes it where the blueprint says so.
    ///
    /// # Errors
    /// EINVAL for sizes, flags or contents that the type doesn't have; E2BIG for keys or values that are too long; ENOMEM
    /// for values of more than `limit` bytes together.
    pub fn create(id: u32, spec: &MapSpec, cpus: u32, limit: u64) -> Result<Map, Errno> {
        shape::check(spec)?;
        if let Some(inner) = &spec.inner {
            shape::check(inner)?;
        }
        let values = match spec.kind {
            MapType::PercpuArray => u64::from(cpus.max(1)),
            // It takes memory as sockets come.
            MapType::Sockhash => 0,
            _ => 1,
        };
        let places = values * u64::from(spec.max_entries);
        let bytes = places.saturating_mul(u64::from(spec.value_size).next_multiple_of(8));
        if bytes > limit || u32::try_from(places).is_err() {
            return Err(Errno::NOMEM);
        }
        let store = match (spec.kind, spec.inner.as_deref()) {
            (MapType::ArrayOfMaps, Some(inner)) => Store::OfMaps(OfMaps::new(spec, inner)),
            (MapType::ArrayOfMaps, None) => return Err(Errno::INVAL),
            (MapType::Array, _) => Store::Array(Array::new(spec, 1)),
            (MapType::PercpuArray, _) => Store::Array(Array::new(spec, cpus.max(1))),
            (MapType::Hash, _) => Store::Hash(Hash::new(spec)),
            (MapType::Sockmap | MapType::ReuseportSockarray, _) => Store::Slots(Slots::new(spec)),
            (MapType::Sockhash, _) => Store::Keyed(Keyed::new(spec)),
            _ => return Err(Errno::NOTSUPP),
        };
        let empty = MapSpec { contents: Contents::Empty, ..spec.clone() };
        let map = Map(Arc::new(Inner { id, spec: empty, frozen: AtomicBool::new(false), store }));
        if let Contents::Value(value) = &spec.contents {
            if !(spec.kind == MapType::Array && spec.max_entries == 1) {
                return Err(Errno::INVAL);
            }
            map.update(&0u32.to_ne_bytes(), value, update::ANY)?;
        }
        map.0.frozen.store(spec.frozen, Ordering::Relaxed);
        Ok(map)
    }

    /// Its id.
    pub fn id(&self) -> u32 {
        self.0.id
    }

    /// What it was made from, without contents.
    pub fn spec(&self) -> &MapSpec {
        &self.0.spec
    }

    /// Its type.
    pub fn kind(&self) -> MapType {
        self.0.spec.kind
    }

    /// Ends all writing by its owner.
    ///
    /// # Errors
    /// EBUSY if that was done before.
    pub fn freeze(&self) -> Result<(), Errno> {
        if self.0.frozen.swap(true, Ordering::Relaxed) { Err(Errno::BUSY) } else { Ok(()) }
    }

    /// What its owner reads under a key: the value; of a per-CPU map those of all CPUs, each from a multiple of 8 bytes on;
    /// the id of an inner map; the cookie of a socket.
    ///
    /// # Errors
    /// ENOENT; EINVAL for a key of another length; EPERM for a map that may only be written; ENOSPC for sockets in
    /// 4-byte values.
    pub fn lookup(&self, key: &[u8], sockets: &impl Sockets) -> Result<Vec<u8>, Errno> {
        self.check_key(key)?;
        if self.has(flag::WRONLY) {
            return Err(Errno::PERM);
        }
        let cookie = |socket: Option<SocketId>| {
            if self.0.spec.value_size != 8 {
                return Err(Errno::NOSPC);
            }
            socket.map(|socket| socket.cookie().to_ne_bytes().to_vec()).ok_or(Errno::NOENT)
        };
        match &self.0.store {
            Store::Array(array) => array.lookup(key),
            Store::Hash(hash) => hash.lookup(key),
            Store::OfMaps(maps) => {
                let map = maps.get(number(key) as u32).ok_or(Errno::NOENT)?;
                Ok(map.id().to_ne_bytes().to_vec())
            }
            Store::Slots(slots) => cookie(slots.get(number(key) as u32, sockets)),
            Store::Keyed(keyed) => cookie(keyed.get(key, sockets)),
        }
    }

    /// Writes bytes under a key; of a per-CPU map for all CPUs.
    ///
    /// # Errors
    /// EINVAL for lengths or flags that are wrong, and for maps that don't hold bytes; E2BIG beyond the last index or when
    /// full; EEXIST and ENOENT as the flags say; EPERM when frozen or read-only.
    pub fn update(&self, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
        self.check_writable()?;
        self.check_key(key)?;
        match &self.0.store {
            Store::Array(array) => array.update(key, value, flags, None),
            Store::Hash(hash) => hash.update(key, value, flags),
            Store::OfMaps(_) | Store::Slots(_) | Store::Keyed(_) => Err(Errno::INVAL),
        }
    }

    /// Puts a map into a map of maps.
    ///
    /// # Errors
    /// EINVAL for another map, or an inner one of another shape; E2BIG beyond the last index; EPERM when frozen.
    pub fn update_map(&self, index: u32, map: &Map) -> Result<(), Errno> {
        self.check_writable()?;
        match &self.0.store {
            Store::OfMaps(maps) => maps.set(index, map),
            _ => Err(Errno::INVAL),
        }
    }

    /// Puts a socket under a key, on behalf of its owner.
    ///
    /// # Errors
    /// In this order, for SOCKMAP and SOCKHASH: EPERM; EINVAL for a lock; EOPNOTSUPP for a socket that can't be there;
    /// EINVAL for unknown flags; E2BIG beyond the last index; EBUSY; EEXIST or ENOENT; E2BIG when full.
    pub fn update_socket(&self, key: &[u8], socket: SocketId, flags: u64, sockets: &impl Sockets) -> Result<(), Errno> {
        self.check_writable()?;
        self.check_key(key)?;
        self.put_socket(key, socket, flags, sockets)
    }

    /// Removes a key.
    ///
    /// # Errors
    /// ENOENT; EINVAL for an array, and for an empty or missing slot of a SOCKMAP; EPERM when frozen.
    pub fn delete(&self, key: &[u8], sockets: &impl Sockets) -> Result<(), Errno> {
        self.check_writable()?;
        self.check_key(key)?;
        self.remove(key, sockets)
    }

    /// The key after `key`, or the first one. Indices are all listed, whether something is there or not.
    ///
    /// # Errors
    /// ENOENT after the last one; EINVAL for a key of another length.
    pub fn next_key(&self, key: Option<&[u8]>, sockets: &impl Sockets) -> Result<Vec<u8>, Errno> {
        if let Some(key) = key {
            self.check_key(key)?;
        }
        match &self.0.store {
            Store::Array(_) | Store::OfMaps(_) | Store::Slots(_) => {
                let last = self.0.spec.max_entries - 1;
                match key.map(|key| number(key) as u32) {
                    Some(index) if index == last => Err(Errno::NOENT),
                    Some(index) if index < last => Ok((index + 1).to_ne_bytes().to_vec()),
                    _ => Ok(0u32.to_ne_bytes().to_vec()),
                }
            }
            Store::Hash(hash) => hash.next_key(key),
            Store::Keyed(keyed) => keyed.next_key(key, sockets),
        }
    }

    /// Whether the socket is under some key.
    pub fn holds(&self, socket: SocketId) -> bool {
        match &self.0.store {
            Store::Slots(slots) => slots.holds(socket),
            Store::Keyed(keyed) => keyed.holds(socket),
            _ => false,
        }
    }

    /// The socket under a key of a map of sockets.
    pub fn socket(&self, key: &[u8], sockets: &impl Sockets) -> Option<SocketId> {
        match &self.0.store {
            Store::Slots(slots) => slots.get(number(key) as u32, sockets),
            Store::Keyed(keyed) => keyed.get(key, sockets),
            _ => None,
        }
    }

    /// Takes a socket out of an indexed map of sockets, wherever it is.
    pub fn forget(&self, socket: SocketId) {
        if let Store::Slots(slots) = &self.0.store {
            slots.forget(socket);
        }
    }

    /// What a program on `cpu` finds under a key.
    pub(crate) fn find(&self, key: &[u8], cpu: u32, sockets: &impl Sockets) -> Option<Found> {
        match &self.0.store {
            Store::Array(array) => array.place(number(key) as u32, cpu).map(Found::Value),
            Store::Hash(hash) => hash.place(key).map(Found::Value),
            Store::OfMaps(maps) => maps.get(number(key) as u32).map(Found::Map),
            Store::Slots(slots) => slots.get(number(key) as u32, sockets).map(Found::Socket),
            Store::Keyed(keyed) => keyed.get(key, sockets).map(Found::Socket),
        }
    }

    /// What a program on `cpu` writes under a key.
    pub(crate) fn write(&self, key: &[u8], value: &[u8], flags: u64, cpu: u32) -> Result<(), Errno> {
        match &self.0.store {
            Store::Array(array) => array.update(key, value, flags, Some(cpu)),
            Store::Hash(hash) => hash.update(key, value, flags),
            Store::OfMaps(_) | Store::Slots(_) | Store::Keyed(_) => Err(Errno::INVAL),
        }
    }

    /// As [`Map::update_socket`], on behalf of a program.
    pub(crate) fn put_socket(
        &self,
        key: &[u8],
        socket: SocketId,
        flags: u64,
        sockets: &impl Sockets,
    ) -> Result<(), Errno> {
        if flags & update::LOCK != 0 {
            return Err(Errno::INVAL);
        }
        let known_flags = |()| if flags > update::EXIST { Err(Errno::INVAL) } else { Ok(()) };
        match &self.0.store {
            Store::Slots(slots) if self.kind() == MapType::Sockmap => {
                sockets.is_suitable(socket, self.kind()).and_then(known_flags)?;
                let index = number(key) as u32;
                if !slots.contains_index(index) {
                    return Err(Errno::TOOBIG);
                }
                sockets.is_free_for(socket, self)?;
                check_existence(slots.get(index, sockets).is_some(), flags)?;
                slots.set(index, Some(socket));
                Ok(())
            }
            // Here the type is looked at last.
            Store::Slots(slots) => {
                known_flags(())?;
                let index = number(key) as u32;
                if !slots.contains_index(index) {
                    return Err(Errno::TOOBIG);
                }
                check_existence(slots.get(index, sockets).is_some(), flags)?;
                sockets.is_suitable(socket, self.kind())?;
                sockets.is_free_for(socket, self)?;
                slots.set(index, Some(socket));
                Ok(())
            }
            Store::Keyed(keyed) => {
                sockets.is_suitable(socket, self.kind()).and_then(known_flags)?;
                sockets.is_free_for(socket, self)?;
                keyed.put(key, socket, flags, sockets)
            }
            Store::Array(_) | Store::Hash(_) | Store::OfMaps(_) => Err(Errno::INVAL),
        }
    }

    /// As [`Map::delete`], on behalf of a program.
    pub(crate) fn remove(&self, key: &[u8], sockets: &impl Sockets) -> Result<(), Errno> {
        match &self.0.store {
            Store::Array(_) => Err(Errno::INVAL),
            Store::Hash(hash) => hash.delete(key),
            Store::OfMaps(maps) => maps.delete(number(key) as u32),
            Store::Slots(slots) => {
                let index = number(key) as u32;
                let missing = match self.kind() {
                    MapType::Sockmap => Errno::INVAL,
                    _ if !slots.contains_index(index) => Errno::TOOBIG,
                    _ => Errno::NOENT,
                };
                slots.get(index, sockets).ok_or(missing)?;
                slots.set(index, None);
                Ok(())
            }
            Store::Keyed(keyed) => keyed.delete(key, sockets),
        }
    }

    /// The memory of the value at a place, and the byte in it where the value begins; `None` for maps whose values aren't
    /// bytes.
    pub(crate) fn value_at(&self, place: usize) -> Option<(&Words, usize)> {
        match &self.0.store {
            Store::Array(array) => Some((array.words(), place * array.stride())),
            Store::Hash(hash) => Some((hash.words(), place * hash.stride())),
            _ => None,
        }
    }

    /// Whether its values are bytes.
    pub(crate) fn holds_bytes(&self) -> bool {
        matches!(self.0.store, Store::Array(_) | Store::Hash(_))
    }

    /// Whether programs may write its values.
    pub(crate) fn is_writable_by_programs(&self) -> bool {
        !self.has(flag::RDONLY_PROG)
    }

    /// Whether programs may read its values.
    pub(crate) fn is_readable_by_programs(&self) -> bool {
        !self.has(flag::WRONLY_PROG)
    }

    fn has(&self, flag: u32) -> bool {
        self.0.spec.flags.0 & flag != 0
    }

    fn check_key(&self, key: &[u8]) -> Result<(), Errno> {
        if key.len() == self.0.spec.key_size as usize { Ok(()) } else { Err(Errno::INVAL) }
    }

    fn check_writable(&self) -> Result<(), Errno> {
        if self.has(flag::RDONLY) || self.0.frozen.load(Ordering::Relaxed) { Err(Errno::PERM) } else { Ok(()) }
    }
}

/// Two handles of one map are equal, two maps never are.
impl PartialEq for Map {
    fn eq(&self, other: &Map) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Map {}

/// What the flags of an update want of a key that is there or not.
fn check_existence(exists: bool, flags: u64) -> Result<(), Errno> {
    match (flags, exists) {
        (update::NOEXIST, true) => Err(Errno::EXIST),
        (update::EXIST, false) => Err(Errno::NOENT),
        (update::ANY | update::NOEXIST | update::EXIST, _) => Ok(()),
        _ => Err(Errno::INVAL),
    }
}

/// The entry after `key`; the first one for `None` and for a key that is not there.
fn next_of<'a, V>(entries: &'a BTreeMap<Box<[u8]>, V>, key: Option<&[u8]>) -> Option<(&'a [u8], &'a V)> {
    let from = match key {
        Some(key) if entries.contains_key(key) => Bound::Excluded(key),
        _ => Bound::Unbounded,
    };
    entries.range::<[u8], _>((from, Bound::Unbounded)).next().map(|(key, value)| (&**key, value))
}
