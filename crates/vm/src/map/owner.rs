//! What the owner of a map does with it: the commands of bpf(2).

use std::sync::atomic::Ordering;

use sklookup_bpf::{MapFlags, ProgramType};

use super::objects::{Held, fits};
use super::{Map, Sockets, Store, update};
use crate::errno::Errno;
use crate::program::Program;
use crate::socket::SocketId;
use crate::words::number;

impl Map {
    /// Ends all writing by its owner.
    ///
    /// # Errors
    /// EPERM if that was done before, or if its owner may never write it.
    pub fn freeze(&self) -> Result<(), Errno> {
        self.check_writable()?;
        self.0.frozen.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// What its owner reads under a key: the value; of a per-CPU map those of all CPUs, each from a multiple of 8 bytes on;
    /// the id of a map or program; the cookie of a socket.
    ///
    /// # Errors
    /// EINVAL for a key of another length and for flags; EPERM for a map that may only be written; ENOENT; ENOSPC for sockets
    /// in 4-byte values; ENOTSUPP for a RINGBUF.
    pub fn lookup(&self, key: &[u8], flags: u64, sockets: &impl Sockets) -> Result<Vec<u8>, Errno> {
        self.check_key(key)?;
        self.check_flags(flags, Map::check_readable)?;
        let cookie = |socket: Option<SocketId>| {
            if self.0.spec.value_size != 8 {
                return Err(Errno::NOSPC);
            }
            socket.map(|socket| socket.cookie().to_ne_bytes().to_vec()).ok_or(Errno::NOENT)
        };
        let id = |id: Option<u32>| id.map(|id| id.to_ne_bytes().to_vec()).ok_or(Errno::NOENT);
        match &self.0.store {
            Store::Array(array) => array.lookup(key),
            Store::Hash(hash) => hash.lookup(key),
            Store::Trie(trie) => trie.lookup(key),
            Store::Maps(maps) => id(maps.get(number(key) as u32).map(|map| map.id())),
            Store::KeyedMaps(maps) => id(maps.get(key).map(|map| map.id())),
            Store::Programs(programs) => id(programs.slots.get(number(key) as u32).map(|held| held.id)),
            Store::Slots(slots) => cookie(slots.get(number(key) as u32, sockets)),
            Store::Keyed(keyed) => cookie(keyed.get(key, sockets)),
            Store::Ring(_) => Err(Errno::NOTSUPP),
        }
    }

    /// Reads the value under a key as [`Map::lookup`] does and removes it, at once.
    ///
    /// # Errors
    /// As [`Map::lookup`] and [`Map::delete`]; ENOTSUPP for all but the hash maps whose values are bytes.
    pub fn lookup_and_delete(&self, key: &[u8], flags: u64) -> Result<Vec<u8>, Errno> {
        self.check_key(key)?;
        self.check_flags(flags, |map| map.check_readable().and_then(|()| map.check_writable()))?;
        match &self.0.store {
            Store::Hash(hash) => hash.take(key),
            _ => Err(Errno::NOTSUPP),
        }
    }

    /// Writes bytes under a key; of a per-CPU map for all CPUs.
    ///
    /// # Errors
    /// EPERM when frozen or read-only; EINVAL for lengths or flags that are wrong, and for maps whose values aren't bytes;
    /// E2BIG beyond the last index or when full, of an LPM_TRIE ENOSPC; EEXIST and ENOENT as the flags say; ENOMEM; ENOTSUPP
    /// for a RINGBUF.
    pub fn update(&self, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
        self.check_writable()?;
        self.check_key(key)?;
        check_lock(flags)?;
        match &self.0.store {
            Store::Array(array) => array.update(key, value, flags, None),
            Store::Hash(hash) => hash.update(key, value, flags, None, &self.0.taken),
            Store::Trie(trie) => trie.update(key, value, flags, &self.0.taken),
            Store::Ring(_) => Err(Errno::NOTSUPP),
            _ => Err(Errno::INVAL),
        }
    }

    /// Puts a map into a map of maps.
    ///
    /// # Errors
    /// EPERM when frozen or read-only; EINVAL for a key of another length, for other flags than an ARRAY_OF_MAPS or
    /// HASH_OF_MAPS takes, for another map than these, and for an inner map of another shape; E2BIG beyond the last index
    /// or when full; EEXIST and ENOENT as the flags say.
    pub fn update_map(&self, key: &[u8], map: &Map, flags: u64) -> Result<(), Errno> {
        self.check_writable()?;
        self.check_key(key)?;
        check_lock(flags)?;
        let fitting = || {
            let inner = self.0.spec.inner.as_deref();
            if inner.is_some_and(|inner| fits(map, inner)) { Ok(map.clone()) } else { Err(Errno::INVAL) }
        };
        match &self.0.store {
            Store::Maps(maps) => maps.set(number(key) as u32, flags, fitting),
            Store::KeyedMaps(maps) => maps.put(key, &fitting()?, flags, &self.0.taken),
            _ => Err(Errno::INVAL),
        }
    }

    /// Puts a program of this type and id into a PROG_ARRAY.
    ///
    /// # Errors
    /// EPERM when frozen or read-only; EINVAL for a key of another length, for flags, for another map, and for a program of
    /// another type than the first that was put here or uses the map; E2BIG beyond the last index.
    pub fn update_program(
        &self,
        key: &[u8],
        (kind, id, program): (ProgramType, u32, &Program),
        flags: u64,
    ) -> Result<(), Errno> {
        self.check_writable()?;
        self.check_key(key)?;
        check_lock(flags)?;
        let Store::Programs(programs) = &self.0.store else { return Err(Errno::INVAL) };
        programs.slots.set(number(key) as u32, flags, || {
            if programs.is_for(kind) { Ok(Held { id, program: program.clone() }) } else { Err(Errno::INVAL) }
        })
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
    /// EPERM when frozen or read-only; ENOENT; EINVAL for an array of bytes, for an empty or missing slot of a SOCKMAP and
    /// for a prefix that is too long; E2BIG beyond the last index of other arrays; ENOTSUPP for a RINGBUF.
    pub fn delete(&self, key: &[u8], sockets: &impl Sockets) -> Result<(), Errno> {
        self.check_writable()?;
        self.check_key(key)?;
        self.remove(key, sockets)
    }

    /// The key after `key`, or the first one. Indices are all listed, whether something is there or not.
    ///
    /// # Errors
    /// EINVAL for a key of another length; EPERM for a map that may only be written; ENOENT after the last one; ENOTSUPP for a
    /// RINGBUF.
    pub fn next_key(&self, key: Option<&[u8]>, sockets: &impl Sockets) -> Result<Vec<u8>, Errno> {
        if let Some(key) = key {
            self.check_key(key)?;
        }
        self.check_readable()?;
        match &self.0.store {
            Store::Array(_) | Store::Maps(_) | Store::Programs(_) | Store::Slots(_) => {
                let last = self.0.spec.max_entries - 1;
                match key.map(|key| number(key) as u32) {
                    Some(index) if index == last => Err(Errno::NOENT),
                    Some(index) if index < last => Ok((index + 1).to_ne_bytes().to_vec()),
                    _ => Ok(0u32.to_ne_bytes().to_vec()),
                }
            }
            Store::Hash(hash) => hash.next_key(key),
            Store::Trie(trie) => trie.next_key(key),
            Store::KeyedMaps(maps) => maps.next_key(key),
            Store::Keyed(keyed) => keyed.next_key(key, sockets),
            Store::Ring(_) => Err(Errno::NOTSUPP),
        }
    }

    /// Takes the next record out of a RINGBUF; `None` when all were read, when a program still writes the next, and for other
    /// maps.
    pub fn next_record(&self) -> Option<Vec<u8>> {
        match &self.0.store {
            Store::Ring(ring) => ring.next(),
            _ => None,
        }
    }

    /// Nobody can write it any more but programs: as in the kernel, a PROG_ARRAY loses its programs with its last owner, or
    /// programs that call each other through it would never go.
    pub fn disown(&self) {
        if let Store::Programs(programs) = &self.0.store {
            programs.slots.clear();
        }
    }

    fn check_key(&self, key: &[u8]) -> Result<(), Errno> {
        if key.len() == self.0.spec.key_size as usize { Ok(()) } else { Err(Errno::INVAL) }
    }

    /// Flags of a lookup, of which Linux looks at the lock after it looked whether the map may be used at all.
    fn check_flags(&self, flags: u64, may: impl FnOnce(&Map) -> Result<(), Errno>) -> Result<(), Errno> {
        let fails = |fails: bool| if fails { Err(Errno::INVAL) } else { Ok(()) };
        fails(flags & !update::LOCK != 0)?;
        may(self)?;
        fails(flags != 0)
    }

    fn check_readable(&self) -> Result<(), Errno> {
        if self.has(MapFlags::WRONLY) { Err(Errno::PERM) } else { Ok(()) }
    }

    fn check_writable(&self) -> Result<(), Errno> {
        if self.has(MapFlags::RDONLY) || self.0.frozen.load(Ordering::Relaxed) { Err(Errno::PERM) } else { Ok(()) }
    }
}

/// No map here has a lock in its values.
fn check_lock(flags: u64) -> Result<(), Errno> {
    if flags & update::LOCK == 0 { Ok(()) } else { Err(Errno::INVAL) }
}
