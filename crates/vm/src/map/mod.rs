//! Maps: what programs and their owners share.
//!
//! Each operation has Linux's errnos, in Linux's order of checks. A map may be used from any number of threads.

mod array;
mod hash;
mod lru;
mod objects;
mod owner;
mod program;
mod ring;
mod shape;
mod slab;
mod sockets;
mod trie;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sklookup_bpf::{Contents, MapFlags, MapSpec, MapType};

use crate::errno::Errno;
use crate::memory::{Memory, Taken};
use crate::socket::SocketId;
use crate::words::number;
use array::Array;
use hash::Hash;
use objects::{Indexed, KeyedMaps, Programs};
pub(crate) use program::Found;
use ring::Ring;
pub use sockets::Sockets;
use sockets::{Keyed, Slots};
use trie::Trie;

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

/// Bytes that an entry takes beside its key and value where keys are kept sorted: its share of a node, of a free list, and
/// what an allocation costs.
const KEYED_ENTRY: u64 = 128;

/// A map. Clones are the same map.
#[derive(Clone, Debug)]
pub struct Map(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    id: u32,
    /// What it was made from, without contents.
    spec: MapSpec,
    /// Values that a key has.
    cpus: u32,
    frozen: AtomicBool,
    taken: Taken,
    store: Store,
}

#[derive(Debug)]
enum Store {
    Array(Array),
    Hash(Hash),
    Trie(Trie),
    Maps(Indexed<Map>),
    KeyedMaps(KeyedMaps),
    Programs(Programs),
    Slots(Slots),
    Keyed(Keyed),
    Ring(Ring),
}

impl Map {
    /// Creates a map with this id on a machine of so many CPUs, fills it with a value, and freezes it where the blueprint says
    /// so. Programs and maps that the blueprint names are not put in: they may not be there yet.
    ///
    /// # Errors
    /// EINVAL for sizes, flags or contents that the type doesn't have; E2BIG for keys, values or numbers of entries that are
    /// too large; ENOTSUPP for what Linux has not made; ENOMEM for more than is left of `memory`.
    pub fn create(id: u32, spec: &MapSpec, cpus: u32, memory: &Memory) -> Result<Map, Errno> {
        let spec = &shape::checked(spec, cpus.max(1))?;
        let cpus = if spec.kind.is_per_cpu() { cpus.max(1) } else { 1 };
        let taken = memory.take(price(spec, cpus)?)?;
        let store = match spec.kind {
            MapType::Array | MapType::PercpuArray => Store::Array(Array::new(spec, cpus)?),
            MapType::Hash | MapType::PercpuHash | MapType::LruHash => Store::Hash(Hash::new(spec, cpus)),
            MapType::LpmTrie => Store::Trie(Trie::new(spec)),
            MapType::ArrayOfMaps => Store::Maps(Indexed::new(spec.max_entries)),
            MapType::HashOfMaps => Store::KeyedMaps(KeyedMaps::new(spec)),
            MapType::ProgArray => Store::Programs(Programs::new(spec)),
            MapType::Sockmap | MapType::ReuseportSockarray => Store::Slots(Slots::new(spec)?),
            MapType::Sockhash => Store::Keyed(Keyed::new(spec)),
            MapType::Ringbuf => Store::Ring(Ring::new(spec.max_entries)?),
        };
        let empty = MapSpec { contents: Contents::Empty, ..spec.clone() };
        let map = Map(Arc::new(Inner { id, spec: empty, cpus, frozen: AtomicBool::new(false), taken, store }));
        if let Contents::Value(value) = &spec.contents {
            if !(spec.kind == MapType::Array && spec.max_entries == 1) {
                return Err(Errno::INVAL);
            }
            map.write(&0u32.to_ne_bytes(), value, update::ANY, 0)?;
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

    fn has(&self, flags: MapFlags) -> bool {
        self.0.spec.flags.intersects(flags)
    }
}

/// Two handles of one map are equal, two maps never are.
impl PartialEq for Map {
    fn eq(&self, other: &Map) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Map {}

/// The bytes that a map takes from the start: those of all its entries, unless they come one by one.
fn price(spec: &MapSpec, cpus: u32) -> Result<u64, Errno> {
    let value = u64::from(spec.value_size).next_multiple_of(8) * u64::from(cpus);
    let entry = match spec.kind {
        MapType::Array | MapType::PercpuArray => value,
        MapType::Hash | MapType::PercpuHash | MapType::LruHash if !spec.flags.contains(MapFlags::NO_PREALLOC) => {
            value + Hash::overhead(spec)
        }
        MapType::ArrayOfMaps => Indexed::<Map>::SLOT,
        MapType::ProgArray => Indexed::<objects::Held>::SLOT,
        MapType::Sockmap | MapType::ReuseportSockarray => 8,
        MapType::Ringbuf => return Ok(size_of::<Inner>() as u64 + Ring::price(spec.max_entries)),
        _ => 0,
    };
    let entries = u64::from(spec.max_entries).checked_mul(entry).ok_or(Errno::NOMEM)?;
    entries.checked_add(size_of::<Inner>() as u64).ok_or(Errno::NOMEM)
}

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
