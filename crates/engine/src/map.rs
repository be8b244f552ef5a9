//! Maps: created from a blueprint, read and filled.

use std::sync::Arc;

use sklookup_bpf::{MapSpec, MapType};
use sklookup_vm as vm;
pub use sklookup_vm::update;
use sklookup_vm::{Errno, SocketId};

use crate::error::{Error, Result};
use crate::machine::Machine;
use crate::program::Program;
use crate::socket::Socket;

/// A map. Clones are the same map.
///
/// Programs and maps that use it keep it as well; but a PROG_ARRAY loses its programs with the last handle, as in the kernel
/// with the last fd.
#[derive(Clone, Debug)]
pub struct Map {
    machine: Machine,
    map: Arc<Owned>,
    info: MapInfo,
}

/// A map that somebody has a handle of.
#[derive(Debug)]
struct Owned(vm::Map);

impl Drop for Owned {
    fn drop(&mut self) {
        self.0.disown();
    }
}

/// What is known about a map; none of it ever changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapInfo {
    /// Type.
    pub kind: MapType,
    /// Id: unique on its machine.
    pub id: u32,
    /// Key size in bytes.
    pub key_size: u32,
    /// Value size in bytes.
    pub value_size: u32,
    /// Number of entries.
    pub max_entries: u32,
    /// Flags of creation.
    pub flags: u32,
    /// Name.
    pub name: String,
}

impl Map {
    /// Creates a map, fills it with a value, and freezes it where the blueprint says so. Programs and maps that the blueprint
    /// names are not put in: see [`Map::update_program`] and [`Map::update_map`].
    ///
    /// # Errors
    /// EINVAL for sizes, flags or contents that the type does not have; E2BIG for keys, values or numbers of entries that
    /// are too large; ENOTSUPP where Linux has it; ENOMEM for more than is left of the machine's memory.
    #[doc(alias = "BPF_MAP_CREATE")]
    pub fn create(machine: &Machine, spec: &MapSpec) -> Result<Map> {
        let id = machine.next_map_id();
        let map = vm::Map::create(id, spec, machine.config().cpus, machine.memory())
            .map_err(|errno| Error::new("BPF_MAP_CREATE", format!("`{}`", spec.name), errno))?;
        let info = MapInfo {
            kind: spec.kind,
            id,
            key_size: spec.key_size,
            value_size: spec.value_size,
            max_entries: map.spec().max_entries,
            flags: spec.flags.0,
            name: spec.name.clone(),
        };
        Ok(Map { machine: machine.clone(), map: Arc::new(Owned(map)), info })
    }

    /// The id: unique on its machine.
    pub fn id(&self) -> u32 {
        self.info.id
    }

    /// What is known about it.
    pub fn info(&self) -> &MapInfo {
        &self.info
    }

    /// The value under a key. Of a per-CPU map: the values of all CPUs, one after the other, each at a multiple of 8
    /// bytes. Of a map of sockets with 8-byte values: the cookie. Of a PROG_ARRAY and a map of maps: the id.
    ///
    /// # Errors
    /// ENOENT; EINVAL for a key of another length or any flag; EPERM for a map that may only be written; ENOSPC from a map
    /// of sockets with 4-byte values; ENOTSUPP from a RINGBUF.
    #[doc(alias = "BPF_MAP_LOOKUP_ELEM")]
    pub fn lookup(&self, key: &[u8], flags: u64) -> Result<Vec<u8>> {
        self.machine
            .look(|world| self.inner().lookup(key, flags, world))
            .map_err(|errno| self.error("BPF_MAP_LOOKUP_ELEM", errno))
    }

    /// Reads the value under a key and removes it, at once.
    ///
    /// # Errors
    /// As [`Map::lookup`] and [`Map::delete`]; ENOTSUPP from all but hash maps whose values are bytes.
    #[doc(alias = "BPF_MAP_LOOKUP_AND_DELETE_ELEM")]
    pub fn lookup_and_delete(&self, key: &[u8], flags: u64) -> Result<Vec<u8>> {
        let call = "BPF_MAP_LOOKUP_AND_DELETE_ELEM";
        self.inner().lookup_and_delete(key, flags).map_err(|errno| self.error(call, errno))
    }

    /// Writes the value under a key; of a per-CPU map the values of all CPUs. `flags`: see [`update`].
    ///
    /// # Errors
    /// EINVAL for lengths or flags that are wrong; E2BIG beyond the last index or when full, ENOSPC from a full LPM_TRIE;
    /// EEXIST; ENOENT; ENOMEM; EPERM when frozen.
    #[doc(alias = "BPF_MAP_UPDATE_ELEM")]
    pub fn update(&self, key: &[u8], value: &[u8], flags: u64) -> Result<()> {
        self.inner().update(key, value, flags).map_err(|errno| self.error("BPF_MAP_UPDATE_ELEM", errno))
    }

    /// Puts a socket under a key of a SOCKMAP, SOCKHASH or REUSEPORT_SOCKARRAY. `flags`: see [`update`].
    ///
    /// # Errors
    /// EBADF for one that was closed; EOPNOTSUPP for one that can't be there now; EINVAL, E2BIG, EBUSY, EEXIST and ENOENT as
    /// Linux has them.
    #[doc(alias = "BPF_MAP_UPDATE_ELEM")]
    pub fn update_socket(&self, key: &[u8], socket: SocketId, flags: u64) -> Result<()> {
        self.machine
            .look(|world| self.inner().update_socket(key, socket, flags, world))
            .map_err(|errno| self.error("BPF_MAP_UPDATE_ELEM", errno))
    }

    /// Puts a map under a key of an ARRAY_OF_MAPS or HASH_OF_MAPS. `flags`: see [`update`].
    ///
    /// # Errors
    /// EINVAL for a map that differs from the inner map in type, key, value or flags, and of an array in length; EINVAL, E2BIG,
    /// EEXIST, ENOENT and EPERM as [`Map::update`].
    #[doc(alias = "BPF_MAP_UPDATE_ELEM")]
    pub fn update_map(&self, key: &[u8], map: &Map, flags: u64) -> Result<()> {
        self.inner().update_map(key, map.inner(), flags).map_err(|errno| self.error("BPF_MAP_UPDATE_ELEM", errno))
    }

    /// Puts a program under an index of a PROG_ARRAY.
    ///
    /// # Errors
    /// EINVAL for a program of another type than the map was first used with, and for flags; E2BIG beyond the last index.
    #[doc(alias = "BPF_MAP_UPDATE_ELEM")]
    pub fn update_program(&self, index: u32, program: &Program, flags: u64) -> Result<()> {
        let held = (program.kind(), program.id(), program.code());
        self.inner()
            .update_program(&index.to_ne_bytes(), held, flags)
            .map_err(|errno| self.error("BPF_MAP_UPDATE_ELEM", errno))
    }

    /// Takes the next record out of a RINGBUF; `None` when all were read.
    ///
    /// # Errors
    /// EINVAL from any other map.
    pub fn next_record(&self) -> Result<Option<Vec<u8>>> {
        if self.info.kind != MapType::Ringbuf {
            let object = format!("`{}`, which is not a ring buffer", self.info.name);
            return Err(Error::new("mmap", object, Errno::INVAL));
        }
        Ok(self.inner().next_record())
    }

    /// Removes a key.
    ///
    /// # Errors
    /// ENOENT, and EINVAL where the type has it: an array's elements can't be removed, and an empty slot of a SOCKMAP
    /// isn't one.
    #[doc(alias = "BPF_MAP_DELETE_ELEM")]
    pub fn delete(&self, key: &[u8]) -> Result<()> {
        self.machine
            .look(|world| self.inner().delete(key, world))
            .map_err(|errno| self.error("BPF_MAP_DELETE_ELEM", errno))
    }

    /// The key after `key`; the first one for `None`.
    ///
    /// # Errors
    /// ENOENT after the last one.
    #[doc(alias = "BPF_MAP_GET_NEXT_KEY")]
    pub fn next_key(&self, key: Option<&[u8]>) -> Result<Vec<u8>> {
        self.machine
            .look(|world| self.inner().next_key(key, world))
            .map_err(|errno| self.error("BPF_MAP_GET_NEXT_KEY", errno))
    }

    /// The value of a one-element array.
    ///
    /// # Errors
    /// EINVAL if the map is something else.
    pub fn value(&self) -> Result<Vec<u8>> {
        self.expect_one_value("BPF_MAP_LOOKUP_ELEM")?;
        self.lookup(&0u32.to_ne_bytes(), 0)
    }

    /// Writes the value of a one-element array.
    ///
    /// # Errors
    /// EINVAL if the map is something else or the value of another length; EPERM if it is frozen.
    pub fn set_value(&self, value: &[u8]) -> Result<()> {
        self.expect_one_value("BPF_MAP_UPDATE_ELEM")?;
        self.update(&0u32.to_ne_bytes(), value, update::ANY)
    }

    /// The first `count` counters of a per-CPU array of 8-byte values, each the sum over all CPUs.
    ///
    /// # Errors
    /// EINVAL if the map is something else or has fewer entries.
    pub fn values_percpu(&self, count: u32) -> Result<Vec<u64>> {
        let info = &self.info;
        let counters = info.kind == MapType::PercpuArray && info.value_size == 8 && info.max_entries >= count;
        if !counters {
            let object = format!("`{}`, which is not a per-CPU array of {count} 8-byte counters", info.name);
            return Err(Error::new("BPF_MAP_LOOKUP_BATCH", object, Errno::INVAL));
        }
        let sum = |values: Vec<u8>| {
            let words = values.as_chunks().0.iter().map(|word| u64::from_ne_bytes(*word));
            words.fold(0, u64::wrapping_add)
        };
        (0..count).map(|index| self.lookup(&index.to_ne_bytes(), 0).map(sum)).collect()
    }

    /// Puts maps into a map of maps, the first at index 0.
    ///
    /// # Errors
    /// EINVAL if the map is something else or a map differs from the inner map in type, key, value or flags; E2BIG
    /// beyond the last index.
    pub fn fill_maps(&self, maps: &[&Map]) -> Result<()> {
        for (index, map) in (0u32..).zip(maps) {
            self.inner().update_map(&index.to_ne_bytes(), map.inner(), update::ANY).map_err(|errno| {
                Error::new("BPF_MAP_UPDATE_BATCH", format!("`{}` at index {index}", self.info.name), errno)
            })?;
        }
        Ok(())
    }

    /// Ends all writing by its owner for good; programs go on as the map's flags say.
    ///
    /// # Errors
    /// EPERM if it was frozen before.
    #[doc(alias = "BPF_MAP_FREEZE")]
    pub fn freeze(&self) -> Result<()> {
        self.inner().freeze().map_err(|errno| self.error("BPF_MAP_FREEZE", errno))
    }

    pub(crate) fn inner(&self) -> &vm::Map {
        &self.map.0
    }

    fn error(&self, call: &'static str, errno: Errno) -> Error {
        Error::new(call, format!("`{}`", self.info.name), errno)
    }

    fn expect_one_value(&self, call: &'static str) -> Result<()> {
        if self.info.kind == MapType::Array && self.info.max_entries == 1 {
            return Ok(());
        }
        let object = format!("`{}`, which is not a one-element array", self.info.name);
        Err(Error::new(call, object, Errno::INVAL))
    }
}

/// A map of sockets by slot, in which programs look up whom to select.
///
/// A socket leaves it by itself when it is closed, and only then.
#[derive(Clone, Debug)]
pub struct Sockmap(Map);

impl Sockmap {
    /// Creates a sockmap of this many slots.
    ///
    /// # Errors
    /// As [`Map::create`].
    pub fn create(machine: &Machine, name: &str, slots: u32) -> Result<Sockmap> {
        Map::create(machine, &Sockmap::spec(name, slots)).map(Sockmap)
    }

    /// The blueprint of a sockmap of this many slots. With 8-byte values it can be read who is in it.
    pub fn spec(name: &str, slots: u32) -> MapSpec {
        MapSpec::new(name, MapType::Sockmap, 4, 8, slots)
    }

    /// The map it is.
    pub fn map(&self) -> &Map {
        &self.0
    }

    /// The number of slots.
    pub fn slots(&self) -> u32 {
        self.0.info().max_entries
    }

    /// Puts a socket into a slot, in the place of who was there.
    ///
    /// # Errors
    /// EOPNOTSUPP for a socket that can't be in a sockmap now: TCP that neither listens nor is connected, UDP that was
    /// never bound; EBUSY for one in a reuseport array; E2BIG beyond the last slot.
    pub fn put(&self, slot: u32, socket: &Socket) -> Result<()> {
        self.0.update_socket(&slot.to_ne_bytes(), socket.id(), update::ANY)
    }

    /// Empties a slot; false if it was empty.
    ///
    /// # Errors
    /// EINVAL beyond the last slot.
    pub fn remove(&self, slot: u32) -> Result<bool> {
        let occupied = self.0.machine.look(|world| self.0.inner().socket(&slot.to_ne_bytes(), world)).is_some();
        if !occupied && slot < self.slots() {
            return Ok(false);
        }
        self.0.delete(&slot.to_ne_bytes()).map(|()| true)
    }

    /// The cookie of the socket in a slot.
    ///
    /// # Errors
    /// None; parallel to the kernel's, which can fail.
    pub fn cookie(&self, slot: u32) -> Result<Option<u64>> {
        let socket = self.0.machine.look(|world| self.0.inner().socket(&slot.to_ne_bytes(), world));
        Ok(socket.map(SocketId::cookie))
    }
}

impl TryFrom<Map> for Sockmap {
    type Error = Error;

    /// # Errors
    /// EINVAL for any other map, and for a sockmap of 4-byte values, which its owner can't read.
    fn try_from(map: Map) -> Result<Sockmap> {
        if map.info.kind == MapType::Sockmap && map.info.value_size == 8 {
            return Ok(Sockmap(map));
        }
        let object = format!("`{}`, which is not a sockmap of 8-byte values", map.info.name);
        Err(Error::new("BPF_OBJ_GET_INFO_BY_FD", object, Errno::INVAL))
    }
}

impl From<Sockmap> for Map {
    fn from(sockmap: Sockmap) -> Map {
        sockmap.0
    }
}
