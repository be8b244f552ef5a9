//! Maps: created from a blueprint, opened from a pin, read and filled.
//!
//! # Safety
//!
//! How many bytes the kernel moves is a property of the map. A [`Map`] asks the kernel for it once, when it is made, and
//! keeps the answer: key size, value size and type of a map never change. The blocks below refer to that.
#![allow(unsafe_code)]

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::io::Errno;
use sklookup_bpf::{Contents, MapSpec, MapType};
use zerocopy::IntoBytes;

use crate::bpffs::{self, ObjectKind};
use crate::error::{Error, NOT_SUPPORTED, Result, errno_of};
use crate::program::Program;
use crate::sys::{self, Access, attr};

/// Most maps put into a map of maps by one call.
const BATCH: usize = 4096;

/// Most bytes of counters that one batch call copies: what a command holds of them at a time.
const BATCH_BYTES: usize = 4 << 20;

/// Map types with a value for each CPU under a key: PERCPU_HASH, PERCPU_ARRAY, LRU_PERCPU_HASH, PERCPU_CGROUP_STORAGE.
const PER_CPU: [u32; 4] = [5, 6, 10, 21];

/// A map in the kernel.
#[derive(Debug)]
pub struct Map {
    fd: OwnedFd,
    info: MapInfo,
    /// Bytes that a lookup or an update moves: a value, or of a per-CPU map one for each possible CPU.
    moved: usize,
    /// The name or path it is known by, for errors.
    known_as: String,
}

/// What the kernel knows about a map; none of it ever changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapInfo {
    /// Type by the kernel's number, which may be one that [`MapType`] does not have.
    pub kind: u32,
    /// Id: unique until the map is gone.
    pub id: u32,
    /// Key size in bytes.
    pub key_size: u32,
    /// Value size in bytes.
    pub value_size: u32,
    /// Number of entries.
    pub max_entries: u32,
    /// Flags of creation.
    pub flags: u32,
    /// Name; what is not UTF-8 in it is replaced.
    pub name: String,
}

impl MapInfo {
    /// Whether the map is of this type.
    pub fn is(&self, kind: MapType) -> bool {
        self.kind == kind as u32
    }
}

impl Map {
    /// Creates a map, fills it with a value in one call, and freezes it where the blueprint says so. Programs and maps that
    /// the blueprint names are not put in: see [`Map::update_program`] and [`Map::update_map`].
    ///
    /// # Errors
    /// EPERM without CAP_BPF, and without CAP_NET_ADMIN for a sockmap; EINVAL for contents that are not the one value
    /// of a one-element array; ENOMEM, E2BIG and others as the kernel has them.
    #[doc(alias = "BPF_MAP_CREATE")]
    pub fn create(spec: &MapSpec) -> Result<Map> {
        let known_as = format!("`{}`", spec.name);
        let inner = spec.inner.as_deref().map(|inner| create_empty(inner, None)).transpose()?;
        let map = Map::new(create_empty(spec, inner.as_ref().map(AsFd::as_fd))?, known_as)?;
        if let Contents::Value(value) = &spec.contents {
            map.set_value(value)?;
        }
        if spec.frozen {
            map.freeze()?;
        }
        Ok(map)
    }

    /// Opens a pinned map for reading and writing.
    ///
    /// # Errors
    /// ENOENT; EACCES without the right to read and write the pin; EINVAL if something else is pinned there.
    #[doc(alias = "BPF_OBJ_GET")]
    pub fn open(path: &Path) -> Result<Map> {
        Map::open_as(path, Access::ReadWrite)
    }

    /// Opens a pinned map for reading, for which the right to read the pin is enough.
    ///
    /// # Errors
    /// As [`Map::open`].
    #[doc(alias = "BPF_OBJ_GET")]
    pub fn open_read_only(path: &Path) -> Result<Map> {
        Map::open_as(path, Access::ReadOnly)
    }

    /// Opens the map of this id, whoever made it, for reading and writing.
    ///
    /// # Errors
    /// EPERM without CAP_SYS_ADMIN; ENOENT if there is none (any more).
    #[doc(alias = "BPF_MAP_GET_FD_BY_ID")]
    pub fn by_id(id: u32) -> Result<Map> {
        let known_as = format!("map {id}");
        Map::new(sys::map_by_id(id).map_err(|f| f.on(&known_as))?, known_as)
    }

    /// The id: unique until the map is gone.
    pub fn id(&self) -> u32 {
        self.info.id
    }

    /// What the kernel knows about it.
    pub fn info(&self) -> &MapInfo {
        &self.info
    }

    /// The value of a one-element array.
    ///
    /// # Errors
    /// EINVAL if the map is something else.
    #[doc(alias = "BPF_MAP_LOOKUP_ELEM")]
    pub fn value(&self) -> Result<Vec<u8>> {
        self.expect_one_value("BPF_MAP_LOOKUP_ELEM")?;
        let mut value = vec![0; self.info.value_size as usize];
        // SAFETY: arrays have 4-byte keys, and the buffer is as long as a value.
        unsafe { sys::map_lookup(self.as_fd(), &0u32.to_ne_bytes(), &mut value, 0) }
            .map_err(|f| f.on(&self.known_as))?;
        Ok(value)
    }

    /// Writes the value of a one-element array, all of it in one call.
    ///
    /// # Errors
    /// EINVAL if the map is something else or the value of another length; EPERM if it is frozen.
    #[doc(alias = "BPF_MAP_UPDATE_ELEM")]
    pub fn set_value(&self, value: &[u8]) -> Result<()> {
        let call = "BPF_MAP_UPDATE_ELEM";
        self.expect_one_value(call)?;
        if value.len() != self.info.value_size as usize {
            let object =
                format!("{} of {}-byte values with {} bytes", self.known_as, self.info.value_size, value.len());
            return Err(Error::new(call, object, Errno::INVAL));
        }
        // SAFETY: arrays have 4-byte keys, and the value's length was compared with the map's above.
        unsafe { sys::map_update(self.as_fd(), &0u32.to_ne_bytes(), value, 0) }.map_err(|f| f.on(&self.known_as))
    }

    /// The value under a key. Of a per-CPU map: the values of all possible CPUs, one after the other, each at a multiple of 8
    /// bytes. Of a map of sockets with 8-byte values: the cookie. Of a PROG_ARRAY and a map of maps: the id.
    ///
    /// # Errors
    /// ENOENT; EINVAL for a key of another length, and what else the kind of map answers.
    #[doc(alias = "BPF_MAP_LOOKUP_ELEM")]
    pub fn lookup(&self, key: &[u8], flags: u64) -> Result<Vec<u8>> {
        self.expect_lengths("BPF_MAP_LOOKUP_ELEM", Some(key), None)?;
        let mut value = vec![0; self.moved];
        // SAFETY: the key's length was compared with the map's above, and the buffer has what the kernel moves.
        unsafe { sys::map_lookup(self.as_fd(), key, &mut value, flags) }.map_err(|f| f.on(&self.known_as))?;
        Ok(value)
    }

    /// Reads the value under a key and removes it, at once. Since 5.14 for hash maps.
    ///
    /// # Errors
    /// As [`Map::lookup`] and [`Map::delete`]; ENOTSUPP from all but hash maps whose values are bytes.
    #[doc(alias = "BPF_MAP_LOOKUP_AND_DELETE_ELEM")]
    pub fn lookup_and_delete(&self, key: &[u8], flags: u64) -> Result<Vec<u8>> {
        self.expect_lengths("BPF_MAP_LOOKUP_AND_DELETE_ELEM", Some(key), None)?;
        let mut value = vec![0; self.moved];
        // SAFETY: the key's length was compared with the map's above, and the buffer has what the kernel moves.
        unsafe { sys::map_take(self.as_fd(), key, &mut value, flags) }.map_err(|f| f.on(&self.known_as))?;
        Ok(value)
    }

    /// Writes a value under a key; of a per-CPU map those of all possible CPUs, as [`Map::lookup`] reads them. For a map of
    /// sockets the value is an fd.
    ///
    /// # Errors
    /// EINVAL for a key or value of another length, and what else the kind of map answers.
    #[doc(alias = "BPF_MAP_UPDATE_ELEM")]
    pub fn update(&self, key: &[u8], value: &[u8], flags: u64) -> Result<()> {
        self.expect_lengths("BPF_MAP_UPDATE_ELEM", Some(key), Some(value))?;
        // SAFETY: the key's length was compared with the map's above, and the value's with what the kernel moves.
        unsafe { sys::map_update(self.as_fd(), key, value, flags) }.map_err(|f| f.on(&self.known_as))
    }

    /// Puts a map under a key of an ARRAY_OF_MAPS or HASH_OF_MAPS.
    ///
    /// # Errors
    /// EINVAL for a map that differs from the inner map in type, key, value or flags, and of an array in length; what else
    /// the kind of map answers.
    #[doc(alias = "BPF_MAP_UPDATE_ELEM")]
    pub fn update_map(&self, key: &[u8], map: &Map, flags: u64) -> Result<()> {
        self.update(key, &map.fd.as_raw_fd().to_ne_bytes(), flags)
    }

    /// Puts a program under an index of a PROG_ARRAY.
    ///
    /// # Errors
    /// EINVAL for a program of another type than the map was first used with, and for flags; E2BIG beyond the last index.
    #[doc(alias = "BPF_MAP_UPDATE_ELEM")]
    pub fn update_program(&self, index: u32, program: &Program, flags: u64) -> Result<()> {
        self.update(&index.to_ne_bytes(), &program.as_fd().as_raw_fd().to_ne_bytes(), flags)
    }

    /// Deletes a key.
    ///
    /// # Errors
    /// ENOENT, or EINVAL where that is the kind of map's answer; EINVAL for a key of another length.
    #[doc(alias = "BPF_MAP_DELETE_ELEM")]
    pub fn delete(&self, key: &[u8]) -> Result<()> {
        self.expect_lengths("BPF_MAP_DELETE_ELEM", Some(key), None)?;
        // SAFETY: the key's length was compared with the map's above.
        unsafe { sys::map_delete(self.as_fd(), key) }.map_err(|f| f.on(&self.known_as))
    }

    /// The key after this one, in the map's own order; the first for `None`.
    ///
    /// # Errors
    /// ENOENT after the last; EINVAL for a key of another length.
    #[doc(alias = "BPF_MAP_GET_NEXT_KEY")]
    pub fn next_key(&self, key: Option<&[u8]>) -> Result<Vec<u8>> {
        self.expect_lengths("BPF_MAP_GET_NEXT_KEY", key, None)?;
        let mut next = vec![0; self.info.key_size as usize];
        // SAFETY: the key's length was compared with the map's above, and the buffer is as long as a key.
        unsafe { sys::map_next_key(self.as_fd(), key, &mut next) }.map_err(|f| f.on(&self.known_as))?;
        Ok(next)
    }

    /// The first `count` counters of a per-CPU array, each the sum over all CPUs. A counter has 8 bytes; a value is one,
    /// or several one after the other.
    ///
    /// They are read while programs count: each is a value it had during the call, the whole is not one moment.
    ///
    /// # Errors
    /// EINVAL if the map is something else or has fewer counters.
    #[doc(alias = "BPF_MAP_LOOKUP_BATCH")]
    pub fn values_percpu(&self, count: u32) -> Result<Vec<u64>> {
        let call = "BPF_MAP_LOOKUP_BATCH";
        self.expect(call, self.info.is(MapType::PercpuArray), "a per-CPU array")?;
        let size = self.info.value_size;
        self.expect(call, size > 0 && size.is_multiple_of(8), "a map of 8-byte counters")?;
        let counters = u64::from(size / 8) * u64::from(self.info.max_entries);
        self.expect(call, counters >= u64::from(count), "as long as was asked for")?;
        let cpus = possible_cpus()? as usize;
        match self.counters_batched(count, cpus) {
            Err(error) if is_no_batch(error.errno()) => self.counters_one_by_one(count, cpus),
            answer => answer,
        }
    }

    /// Puts maps into a map of maps, the first at index 0.
    ///
    /// One call moves thousands: each call, of one or of thousands, waits until no program can see what was there
    /// before, some 6-9 ms.
    ///
    /// # Errors
    /// EINVAL if the map is something else or a map differs from the inner map in type, key, value or flags; E2BIG
    /// beyond the last index.
    #[doc(alias = "BPF_MAP_UPDATE_BATCH")]
    pub fn fill_maps(&self, maps: &[BorrowedFd<'_>]) -> Result<()> {
        self.fill_maps_from(0, maps)
    }

    /// Puts maps into a map of maps, the first at index `first`: for more maps than may be open at once.
    ///
    /// # Errors
    /// As [`Map::fill_maps`].
    #[doc(alias = "BPF_MAP_UPDATE_BATCH")]
    pub fn fill_maps_from(&self, first: u32, maps: &[BorrowedFd<'_>]) -> Result<()> {
        let call = "BPF_MAP_UPDATE_BATCH";
        self.expect(call, self.info.is(MapType::ArrayOfMaps), "an array of maps")?;
        let room = self.info.max_entries.saturating_sub(first) as usize;
        if maps.len() > room {
            let object = format!("{} of {} entries", self.known_as, self.info.max_entries);
            return Err(Error::new(call, object, Errno::TOOBIG));
        }
        for (chunk, start) in maps.chunks(BATCH).zip((first..).step_by(BATCH)) {
            let fds: Vec<i32> = chunk.iter().map(AsRawFd::as_raw_fd).collect();
            let keys: Vec<u32> = (start..).take(fds.len()).collect();
            // SAFETY: an array of maps has 4-byte keys and 4-byte values.
            match unsafe { sys::map_update_batch(self.as_fd(), &keys, &fds) } {
                Ok(()) => {}
                Err((failure, done)) if done == keys.len() && is_no_batch(failure.errno) => {
                    self.fill_one_by_one(&keys, &fds)?;
                }
                Err((failure, done)) if done == keys.len() => return Err(failure.on(&self.known_as)),
                Err((failure, done)) => return Err(failure.on(self.at_index(start as usize + done))),
            }
        }
        Ok(())
    }

    /// Ends all writing from user space for good; programs go on as the map's flags say.
    ///
    /// # Errors
    /// EPERM if it was frozen before; EBUSY while someone has it mapped for writing.
    #[doc(alias = "BPF_MAP_FREEZE")]
    pub fn freeze(&self) -> Result<()> {
        sys::map_freeze(self.as_fd()).map_err(|f| f.on(&self.known_as))
    }

    /// Pins it under a path.
    ///
    /// # Errors
    /// As [`bpffs::pin`].
    pub fn pin(&self, path: &Path) -> Result<()> {
        bpffs::pin(self.as_fd(), path)
    }

    fn new(fd: OwnedFd, known_as: String) -> Result<Map> {
        let info = sys::map_info(fd.as_fd()).map_err(|f| f.on(&known_as))?;
        let info = MapInfo {
            kind: info.kind,
            id: info.id,
            key_size: info.key_size,
            value_size: info.value_size,
            max_entries: info.max_entries,
            flags: info.flags,
            name: name_from(&info.name),
        };
        let moved = match PER_CPU.contains(&info.kind) {
            true => info.value_size.next_multiple_of(8) as usize * possible_cpus()? as usize,
            false => info.value_size as usize,
        };
        Ok(Map { fd, info, moved, known_as })
    }

    fn open_as(path: &Path, access: Access) -> Result<Map> {
        Map::new(bpffs::open(path, ObjectKind::Map, access)?, path.display().to_string())
    }

    fn expect(&self, call: &'static str, holds: bool, what: &str) -> Result<()> {
        if holds {
            return Ok(());
        }
        Err(Error::new(call, format!("{}, which is not {what}", self.known_as), Errno::INVAL))
    }

    fn expect_lengths(&self, call: &'static str, key: Option<&[u8]>, value: Option<&[u8]>) -> Result<()> {
        let (keys, values) = (self.info.key_size as usize, self.moved);
        self.expect(
            call,
            key.is_none_or(|key| key.len() == keys),
            &format!("a map of {}-byte keys", key.map_or(0, <[u8]>::len)),
        )?;
        self.expect(
            call,
            value.is_none_or(|value| value.len() == values),
            &format!("a map of {}-byte values", value.map_or(0, <[u8]>::len)),
        )
    }

    fn expect_one_value(&self, call: &'static str) -> Result<()> {
        self.expect(call, self.info.is(MapType::Array) && self.info.max_entries == 1, "a one-element array")
    }

    /// Precondition: a per-CPU array whose values are counters of 8 bytes.
    fn counters_batched(&self, count: u32, cpus: usize) -> Result<Vec<u64>> {
        let each = self.info.value_size as usize / 8;
        let mut sums = vec![0; count as usize];
        let entries = sums.len().div_ceil(each);
        let chunk = (BATCH_BYTES / (each * cpus * 8)).clamp(1, entries.max(1));
        let mut keys = vec![0u32; chunk];
        let mut values = vec![0u64; chunk * each * cpus];
        let mut after = None;
        let mut read = 0;
        while read < entries {
            let chunk = chunk.min(entries - read);
            // SAFETY: a per-CPU array has 4-byte keys; there is room for `chunk` values of `8 * each` bytes a possible
            // CPU.
            let (got, end) =
                unsafe { sys::map_lookup_batch(self.as_fd(), &mut after, &mut keys[..chunk], &mut values) }
                    .map_err(|f| f.on(&self.known_as))?;
            for (key, of_cpus) in keys.iter().zip(values.chunks_exact(each * cpus)).take(got) {
                add_counters(&mut sums, *key as usize * each, of_cpus, each);
            }
            read += got;
            if end || got == 0 {
                break;
            }
        }
        Ok(sums)
    }

    /// Precondition: a per-CPU array whose values are counters of 8 bytes.
    fn counters_one_by_one(&self, count: u32, cpus: usize) -> Result<Vec<u64>> {
        let each = self.info.value_size as usize / 8;
        let mut sums = vec![0; count as usize];
        let mut values = vec![0u64; each * cpus];
        for key in 0..count.div_ceil(each as u32) {
            // SAFETY: a per-CPU array has 4-byte keys; there is room for `8 * each` bytes a possible CPU.
            unsafe { sys::map_lookup(self.as_fd(), &key.to_ne_bytes(), values.as_mut_bytes(), 0) }
                .map_err(|f| f.on(&self.known_as))?;
            add_counters(&mut sums, key as usize * each, &values, each);
        }
        Ok(sums)
    }

    /// Precondition: an array of maps.
    fn fill_one_by_one(&self, keys: &[u32], fds: &[i32]) -> Result<()> {
        for (key, fd) in keys.iter().zip(fds) {
            // SAFETY: an array of maps has 4-byte keys and 4-byte values.
            unsafe { sys::map_update(self.as_fd(), &key.to_ne_bytes(), &fd.to_ne_bytes(), 0) }
                .map_err(|f| f.on(self.at_index(*key as usize)))?;
        }
        Ok(())
    }

    fn at_index(&self, index: usize) -> String {
        format!("{} at index {index}", self.known_as)
    }
}

impl AsFd for Map {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A map of sockets by slot, in which programs look up whom to select.
///
/// A socket leaves it by itself when its last fd is closed, and only then.
#[derive(Debug)]
pub struct Sockmap(Map);

impl Sockmap {
    /// Creates a sockmap of this many slots.
    ///
    /// # Errors
    /// As [`Map::create`].
    pub fn create(name: &str, slots: u32) -> Result<Sockmap> {
        Map::create(&Sockmap::spec(name, slots)).map(Sockmap)
    }

    /// The blueprint of a sockmap of this many slots. With 8-byte values user space can read who is in it.
    pub fn spec(name: &str, slots: u32) -> MapSpec {
        MapSpec::new(name, MapType::Sockmap, 4, 8, slots)
    }

    /// Opens a pinned sockmap for reading and writing.
    ///
    /// # Errors
    /// As [`Map::open`], and EINVAL if it is another map.
    pub fn open(path: &Path) -> Result<Sockmap> {
        Map::open(path)?.try_into()
    }

    /// Opens a pinned sockmap for reading.
    ///
    /// # Errors
    /// As [`Sockmap::open`].
    pub fn open_read_only(path: &Path) -> Result<Sockmap> {
        Map::open_read_only(path)?.try_into()
    }

    /// The map it is.
    pub fn map(&self) -> &Map {
        &self.0
    }

    /// The id: unique until the map is gone.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// The number of slots.
    pub fn slots(&self) -> u32 {
        self.0.info.max_entries
    }

    /// Puts a socket into a slot, in the place of who was there.
    ///
    /// # Errors
    /// EOPNOTSUPP for a socket that can't be in a sockmap now: TCP that neither listens nor is connected, UDP that was
    /// never bound, any other protocol; ENOTSOCK; EBUSY for one in a reuseport array; E2BIG beyond the last slot.
    #[doc(alias = "BPF_MAP_UPDATE_ELEM")]
    pub fn put(&self, slot: u32, socket: BorrowedFd<'_>) -> Result<()> {
        let value = u64::try_from(socket.as_raw_fd()).expect("a borrowed fd is not negative").to_ne_bytes();
        // SAFETY: a `Sockmap` has 4-byte keys and 8-byte values.
        unsafe { sys::map_update(self.as_fd(), &slot.to_ne_bytes(), &value, 0) }.map_err(|f| f.on(self.at(slot)))
    }

    /// Empties a slot; false if it was empty.
    ///
    /// # Errors
    /// E2BIG beyond the last slot.
    #[doc(alias = "BPF_MAP_DELETE_ELEM")]
    pub fn remove(&self, slot: u32) -> Result<bool> {
        if slot >= self.slots() {
            return Err(Error::new("BPF_MAP_DELETE_ELEM", self.at(slot), Errno::TOOBIG));
        }
        // SAFETY: a `Sockmap` has 4-byte keys.
        match unsafe { sys::map_delete(self.as_fd(), &slot.to_ne_bytes()) } {
            Ok(()) => Ok(true),
            // The kernel has one answer for an empty slot and for one beyond the last, which was excluded above.
            Err(failure) if failure.errno == Errno::INVAL => Ok(false),
            Err(failure) => Err(failure.on(self.at(slot))),
        }
    }

    /// The cookie (`SO_COOKIE`) of the socket in a slot; `None` if it is empty, or beyond the last.
    ///
    /// # Errors
    /// EPERM if the map may only be written.
    #[doc(alias = "BPF_MAP_LOOKUP_ELEM")]
    pub fn cookie(&self, slot: u32) -> Result<Option<u64>> {
        let mut cookie = 0u64;
        // SAFETY: a `Sockmap` has 4-byte keys and 8-byte values.
        match unsafe { sys::map_lookup(self.as_fd(), &slot.to_ne_bytes(), cookie.as_mut_bytes(), 0) } {
            Ok(()) => Ok(Some(cookie)),
            Err(failure) if failure.errno == Errno::NOENT => Ok(None),
            Err(failure) => Err(failure.on(self.at(slot))),
        }
    }

    fn at(&self, slot: u32) -> String {
        format!("{} at slot {slot}", self.0.known_as)
    }
}

impl TryFrom<Map> for Sockmap {
    type Error = Error;

    /// # Errors
    /// EINVAL for any other map, and for a sockmap of 4-byte values, which user space can't read.
    fn try_from(map: Map) -> Result<Sockmap> {
        let readable = map.info.is(MapType::Sockmap) && map.info.value_size == 8;
        map.expect("BPF_OBJ_GET_INFO_BY_FD", readable, "a sockmap of 8-byte values")?;
        Ok(Sockmap(map))
    }
}

impl From<Sockmap> for Map {
    fn from(sockmap: Sockmap) -> Map {
        sockmap.0
    }
}

impl AsFd for Sockmap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// How many CPUs this machine could ever have online: a per-CPU value holds that many.
///
/// # Errors
/// When sysfs isn't there or says something else than a list of CPUs.
pub fn possible_cpus() -> Result<u32> {
    let path = "/sys/devices/system/cpu/possible";
    let text = std::fs::read_to_string(path).map_err(|e| Error::new("read", path, errno_of(&e)))?;
    count_cpus(text.trim()).ok_or_else(|| Error::new("read", format!("{path}: {text:?}"), Errno::INVAL))
}

/// The number of CPUs in a list such as `0-3,8`.
fn count_cpus(list: &str) -> Option<u32> {
    list.split(',').try_fold(0u32, |sum, part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        sum.checked_add(last.checked_sub(first)?.checked_add(1)?)
    })
}

/// A name as the kernel takes it: at most 15 bytes of `A-Za-z0-9_.`, the rest replaced or cut off.
pub(crate) fn kernel_name(name: &str) -> [u8; attr::NAME_LEN] {
    let mut bytes = [0; attr::NAME_LEN];
    for (to, from) in bytes[..attr::NAME_LEN - 1].iter_mut().zip(name.bytes()) {
        *to = if from.is_ascii_alphanumeric() || from == b'_' || from == b'.' { from } else { b'_' };
    }
    bytes
}

/// A name as the kernel gives it: up to the first zero.
pub(crate) fn name_from(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

fn create_empty(spec: &MapSpec, inner: Option<BorrowedFd<'_>>) -> Result<OwnedFd> {
    let known_as = || format!("`{}`", spec.name);
    let types = spec.btf.as_ref().map(|btf| sys::btf_load(&btf.types, &mut [])).transpose();
    let types = types.map_err(|f| f.on(known_as()))?;
    let attr = attr::MapCreate {
        btf_key_type_id: spec.btf.as_ref().map_or(0, |btf| btf.key),
        btf_value_type_id: spec.btf.as_ref().map_or(0, |btf| btf.value),
        kind: spec.kind as u32,
        key_size: spec.key_size,
        value_size: spec.value_size,
        max_entries: spec.max_entries,
        flags: spec.flags.0,
        name: kernel_name(&spec.name),
        ..Default::default()
    };
    sys::map_create(attr, inner, types.as_ref().map(AsFd::as_fd)).map_err(|f| f.on(known_as()))
}

/// Whether the kernel has no batch operation for this map: EINVAL from those without any (before 5.6), else ENOTSUPP.
fn is_no_batch(errno: Errno) -> bool {
    errno == NOT_SUPPORTED || errno == Errno::INVAL
}

/// Adds the `each` counters of a value, one CPU's after the other's, to the sums from `first` on.
///
/// They wrap as each of them does: 64 bits at 100 million a second last 5,800 years.
fn add_counters(sums: &mut [u64], first: usize, of_cpus: &[u64], each: usize) {
    let Some(sums) = sums.get_mut(first..) else { return };
    for of_cpu in of_cpus.chunks_exact(each) {
        for (sum, count) in sums.iter_mut().zip(of_cpu) {
            *sum = sum.wrapping_add(*count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_are_counted_over_ranges_and_holes() {
        assert_eq!(count_cpus("0"), Some(1));
        assert_eq!(count_cpus("0-127"), Some(128));
        assert_eq!(count_cpus("0-3,8,10-11"), Some(7));
        for wrong in ["", "3-1", "a", "0-", "0-4294967295"] {
            assert_eq!(count_cpus(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn names_are_cut_and_cleaned_for_the_kernel() {
        assert_eq!(&kernel_name("label web/80"), b"label_web_80\0\0\0\0");
        assert_eq!(&kernel_name("sixteen_letters_"), b"sixteen_letters\0");
        assert_eq!(name_from(&kernel_name("a.b_C9")), "a.b_C9");
    }
}
