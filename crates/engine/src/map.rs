//! Maps: created from a blueprint, read and filled.

use sklookup_bpf::{MapSpec, MapType};

use sklookup_vm as vm;
pub use sklookup_vm::update;
use sklookup_vm::{Errno, SocketId};

use crate::error::{Error, Result};
use crate::machine::Machine;
use crate::socket::Socket;

/// A map. Clones are the same map.
#[derive(Clone, Debug)]
pub struct Map {
    machine: Machine,
    map: vm::Map,
    info: MapInfo,
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
    /// Creates a map, fills it with the contents of the blueprint, and freezes it where the blueprint says so.
    ///
    /// # Errors
    /// EINVAL for sizes, flags or contents that the type does not have; E2BIG for keys of a SOCKHASH above 512 bytes;
    /// ENOMEM above the machine's limit; ENOTSUPP for a type that is not implemented.
    #[doc(alias = "BPF_MAP_CREATE")]
    pub fn create(machine: &Machine, spec: &MapSpec) -> Result<Map> {
        let config = machine.config();
        let id = machine.next_map_id();
        let map = vm::Map::create(id, spec, config.cpus, config.map_bytes).map_err(|errno| {
            let why = match errno {
                Errno::NOTSUPP => format!(" of type {}, which is not implemented", spec.kind.name()),
                _ => String::new(),
            };
            Error::new("BPF_MAP_CREATE", format!("`{}`{why}", spec.name), errno)
        })?;
        let info = MapInfo {
            kind: spec.kind,
            id,
            key_size: spec.key_size,
            value_size: spec.value_size,
            max_entries: spec.max_entries,
            flags: spec.flags.0,
            name: spec.name.clone(),
        };
        Ok(Map { machine: machine.clone(), map, info })
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
    /// bytes. Of a map of sockets with 8-byte values: the cookie.
    ///
    /// # Errors
    /// ENOENT; EINVAL for a key of another length or any flag; ENOSPC from a map of sockets with 4-byte values.
    #[doc(alias = "BPF_MAP_LOOKUP_ELEM")]
    pub fn lookup(&self, key: &[u8], flags: u64) -> Result<Vec<u8>> {
        if flags != 0 {
            return Err(self.error("BPF_MAP_LOOKUP_ELEM", Errno::INVAL));
        }
        self.machine.look(|world| self.map.lookup(key, world)).map_err(|errno| self.error("BPF_MAP_LOOKUP_ELEM", errno))
    }

    /// Writes the value under a key; of a per-CPU map the values of all CPUs. `flags`: see [`update`].
    ///
    /// # Errors
    /// EINVAL for lengths or flags that are wrong; E2BIG beyond the last index or when full; EEXIST; ENOENT; EPERM when frozen.
    #[doc(alias = "BPF_MAP_UPDATE_ELEM")]
    pub fn update(&self, key: &[u8], value: &[u8], flags: u64) -> Result<()> {
        self.map.update(key, value, flags).map_err(|errno| self.error("BPF_MAP_UPDATE_ELEM", errno))
    }

    /// Puts a socket under a key of a SOCKMAP, SOCKHASH or REUSEPORT_SOCKARRAY. `flags`: see [`update`].
    ///
    /// # Errors
    /// EBADF for one that was closed; EOPNOTSUPP for one that can't be there now; EINVAL, E2BIG, EBUSY, EEXIST and ENOENT as
    /// Linux has them.
    #[doc(alias = "BPF_MAP_UPDATE_ELEM")]
    pub fn update_socket(&self, key: &[u8], socket: SocketId, flags: u64) -> Result<()> {
        self.machine
            .look(|world| self.map.update_socket(key, socket, flags, world))
            .map_err(|errno| self.error("BPF_MAP_UPDATE_ELEM", errno))
    }

    /// Removes a key.
    ///
    /// # Errors
    /// ENOENT, and EINVAL where the type has it: an array's elements can't be removed, and an empty slot of a SOCKMAP
    /// isn't one.
    #[doc(alias = "BPF_MAP_DELETE_ELEM")]
    pub fn delete(&self, key: &[u8]) -> Result<()> {
        self.machine.look(|world| self.map.delete(key, world)).map_err(|errno| self.error("BPF_MAP_DELETE_ELEM", errno))
    }

    /// The key after `key`; the first one for `None`.
    ///
    /// # Errors
    /// ENOENT after the last one.
    #[doc(alias = "BPF_MAP_GET_NEXT_KEY")]
    pub fn next_key(&self, key: Option<&[u8]>) -> Result<Vec<u8>> {
        self.machine
            .look(|world| self.map.next_key(key, world))
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
        for (index, map) in (0..).zip(maps) {
            self.map.update_map(index, &map.map).map_err(|errno| {
                Error::new("BPF_MAP_UPDATE_BATCH", format!("`{}` at index {index}", self.info.name), errno)
            })?;
        }
        Ok(())
    }

    /// Ends all writing by its owner for good; programs go on as the map's flags say.
    ///
    /// # Errors
    /// EBUSY if it was frozen before.
    #[doc(alias = "BPF_MAP_FREEZE")]
    pub fn freeze(&self) -> Result<()> {
        self.map.freeze().map_err(|errno| self.error("BPF_MAP_FREEZE", errno))
    }

    pub(crate) fn inner(&self) -> &vm::Map {
        &self.map
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
        let occupied = self.0.machine.look(|world| self.0.map.socket(&slot.to_ne_bytes(), world)).is_some();
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
        let socket = self.0.machine.look(|world| self.0.map.socket(&slot.to_ne_bytes(), world));
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
