//! What programs do with a map, through helpers and pointers.

use sklookup_bpf::{MapFlags, MapType, ProgramType};

use super::{Map, Sockets, Store, check_existence, update};
use crate::errno::Errno;
use crate::program::Program;
use crate::socket::SocketId;
use crate::words::{Words, number};

/// What a program's lookup finds.
#[derive(Debug)]
pub(crate) enum Found {
    /// The value at this place.
    Value(usize),
    Map(Map),
    Socket(SocketId),
}

impl Map {
    /// Values that a key has.
    pub(crate) fn cpus(&self) -> u32 {
        self.0.cpus
    }

    /// What a program on `cpu` finds under a key.
    pub(crate) fn find(&self, key: &[u8], cpu: u32, sockets: &impl Sockets) -> Option<Found> {
        match &self.0.store {
            Store::Array(array) => array.place(number(key) as u32, cpu).map(Found::Value),
            Store::Hash(hash) => hash.place(key, cpu).map(Found::Value),
            Store::Trie(trie) => trie.place(key).map(Found::Value),
            Store::Maps(maps) => maps.get(number(key) as u32).map(Found::Map),
            Store::KeyedMaps(maps) => maps.get(key).map(Found::Map),
            Store::Slots(slots) => slots.get(number(key) as u32, sockets).map(Found::Socket),
            Store::Keyed(keyed) => keyed.get(key, sockets).map(Found::Socket),
            Store::Programs(_) | Store::Ring(_) => None,
        }
    }

    /// What a program on `cpu` writes under a key.
    pub(crate) fn write(&self, key: &[u8], value: &[u8], flags: u64, cpu: u32) -> Result<(), Errno> {
        match &self.0.store {
            Store::Array(array) => array.update(key, value, flags, Some(cpu)),
            Store::Hash(hash) => hash.update(key, value, flags, Some(cpu), &self.0.taken),
            Store::Trie(trie) => trie.update(key, value, flags, &self.0.taken),
            _ => Err(Errno::INVAL),
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
                keyed.put(key, socket, flags, sockets, &self.0.taken)
            }
            _ => Err(Errno::INVAL),
        }
    }

    /// As [`Map::delete`], on behalf of a program.
    pub(crate) fn remove(&self, key: &[u8], sockets: &impl Sockets) -> Result<(), Errno> {
        let index = || number(key) as u32;
        match &self.0.store {
            Store::Array(_) => Err(Errno::INVAL),
            Store::Hash(hash) => hash.delete(key),
            Store::Trie(trie) => trie.delete(key),
            Store::Maps(maps) => maps.delete(index()),
            Store::KeyedMaps(maps) => maps.delete(key, &self.0.taken),
            Store::Programs(programs) => programs.slots.delete(index()),
            Store::Slots(slots) => {
                let missing = match self.kind() {
                    MapType::Sockmap => Errno::INVAL,
                    _ if !slots.contains_index(index()) => Errno::TOOBIG,
                    _ => Errno::NOENT,
                };
                slots.get(index(), sockets).ok_or(missing)?;
                slots.set(index(), None);
                Ok(())
            }
            Store::Keyed(keyed) => keyed.delete(key, sockets, &self.0.taken),
            Store::Ring(_) => Err(Errno::NOTSUPP),
        }
    }

    /// The program at an index of a PROG_ARRAY.
    pub(crate) fn program(&self, index: u32) -> Option<Program> {
        match &self.0.store {
            Store::Programs(programs) => programs.slots.get(index).map(|held| held.program),
            _ => None,
        }
    }

    /// Whether programs of this type may use it: all programs of a PROG_ARRAY, and all that jump into it, are of one type,
    /// which the first decides.
    pub fn is_for(&self, kind: ProgramType) -> bool {
        match &self.0.store {
            Store::Programs(programs) => programs.is_for(kind),
            _ => true,
        }
    }

    /// The entry that `bpf_for_each_map_elem` on `cpu` comes to behind a key, the first for `None`: its key and the place of its
    /// value. A key that was removed in between is still a place to go on from.
    pub(crate) fn entry_behind(&self, key: Option<&[u8]>, cpu: u32) -> Option<(Vec<u8>, usize)> {
        match &self.0.store {
            Store::Array(array) => {
                let index = key.map_or(0, |key| number(key) as u32 + 1);
                array.place(index, cpu).map(|place| (index.to_ne_bytes().to_vec(), place))
            }
            Store::Hash(hash) => hash.behind(key, cpu),
            _ => None,
        }
    }

    /// Makes a record in a RINGBUF; answers where its bytes begin in the memory of [`Map::value_at`], `None` if there is no
    /// room.
    pub(crate) fn reserve(&self, length: u64) -> Option<usize> {
        match &self.0.store {
            Store::Ring(ring) => ring.reserve(length),
            _ => None,
        }
    }

    /// Ends a record that was reserved.
    pub(crate) fn finish(&self, start: usize, discard: bool) {
        if let Store::Ring(ring) = &self.0.store {
            ring.finish(start, discard);
        }
    }

    /// Makes a record of these bytes.
    pub(crate) fn output(&self, bytes: &[u8]) -> Result<(), Errno> {
        match &self.0.store {
            Store::Ring(ring) => ring.output(bytes),
            _ => Err(Errno::INVAL),
        }
    }

    /// What `bpf_ringbuf_query` answers.
    pub(crate) fn query(&self, what: u64) -> u64 {
        match &self.0.store {
            Store::Ring(ring) => ring.query(what),
            _ => 0,
        }
    }

    /// The memory of the value at a place, and the byte in it where the value begins; `None` for maps whose values aren't
    /// bytes. Of a RINGBUF a place is a byte.
    #[inline]
    pub(crate) fn value_at(&self, place: usize) -> Option<(&Words, usize)> {
        match &self.0.store {
            Store::Array(array) => Some((array.words(), place * array.stride())),
            Store::Hash(hash) => Some(hash.value_at(place)),
            Store::Trie(trie) => Some(trie.value_at(place)),
            Store::Ring(ring) => Some((ring.words(), place)),
            _ => None,
        }
    }

    /// Whether its values are bytes.
    pub(crate) fn holds_bytes(&self) -> bool {
        matches!(self.0.store, Store::Array(_) | Store::Hash(_) | Store::Trie(_))
    }

    /// Whether programs may write its values.
    #[inline]
    pub(crate) fn is_writable_by_programs(&self) -> bool {
        !self.has(MapFlags::RDONLY_PROG)
    }

    /// Whether programs may read its values.
    #[inline]
    pub(crate) fn is_readable_by_programs(&self) -> bool {
        !self.has(MapFlags::WRONLY_PROG)
    }
}
