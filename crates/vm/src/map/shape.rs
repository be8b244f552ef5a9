//! Which maps can be created: sizes and flags, with the errno that Linux gives.

use sklookup_bpf::{MapFlags, MapSpec, MapType};

use crate::errno::Errno;

/// The longest key of a SOCKHASH: what fits a program's stack.
const MAX_SOCKHASH_KEY: u32 = 512;
/// The most entries of hash maps: their buckets, a power of two of 16 bytes each, are counted in 32 bits. Seen on Linux 6.18.
const MAX_HASH: u32 = 1 << 27;
/// Bytes that key and value of a HASH have together, with what the kernel keeps beside them.
const MAX_HASH_ELEMENT: u64 = 4 << 20;
const HASH_ELEMENT_HEAD: u64 = 48;
/// The longest value of a per-CPU map.
const MAX_PERCPU_VALUE: u32 = 32 << 10;
/// Bytes of a key of an LPM_TRIE: a length of 4, and 1 to 256 behind it.
const TRIE_KEYS: std::ops::RangeInclusive<u32> = 5..=260;
/// The longest value of an LPM_TRIE: with the longest key and what the kernel keeps beside them 4 MiB.
const MAX_TRIE_VALUE: u32 = (4 << 20) - 256 - 40;
/// A RINGBUF has whole pages.
const PAGE: u32 = 4096;

/// The map that is made of this blueprint on a machine of so many CPUs.
pub(super) fn checked(spec: &MapSpec, cpus: u32) -> Result<MapSpec, Errno> {
    if let Some(inner) = &spec.inner {
        check(inner)?;
    }
    check(spec)?;
    let mut spec = spec.clone();
    if spec.flags.contains(MapFlags::NO_COMMON_LRU) {
        // Each CPU's list is equally long.
        spec.max_entries = spec.max_entries.checked_next_multiple_of(cpus).ok_or(Errno::TOOBIG)?;
    }
    Ok(spec)
}

/// Whether a map of this shape can be created.
fn check(spec: &MapSpec) -> Result<(), Errno> {
    fails(!flags_of(spec.kind).contains(spec.flags))?;
    for (one, other) in [(MapFlags::RDONLY, MapFlags::WRONLY), (MapFlags::RDONLY_PROG, MapFlags::WRONLY_PROG)] {
        fails(spec.flags.contains(one | other))?;
    }
    fails(spec.kind.holds_maps() != spec.inner.is_some())?;
    if spec.kind == MapType::LruHash && spec.flags.contains(MapFlags::NO_PREALLOC) {
        return Err(Errno::NOTSUPP);
    }
    fails(spec.max_entries == 0)?;
    match spec.kind {
        MapType::Array | MapType::PercpuArray => {
            fails(spec.key_size != 4 || spec.value_size == 0)?;
            too_big(spec.value_size > i32::MAX as u32)?;
            too_big(spec.kind == MapType::PercpuArray && spec.value_size > MAX_PERCPU_VALUE)
        }
        MapType::ProgArray => fails(spec.key_size != 4 || spec.value_size != 4),
        MapType::ArrayOfMaps => {
            fails(spec.key_size != 4 || spec.value_size != 4)?;
            check_inner(spec)
        }
        MapType::HashOfMaps => {
            fails(spec.key_size == 0 || spec.value_size != 4)?;
            check_hash(spec)?;
            check_inner(spec)
        }
        MapType::Sockmap | MapType::ReuseportSockarray => fails(spec.key_size != 4 || !holds_sockets(spec)),
        MapType::Hash | MapType::PercpuHash | MapType::LruHash => {
            fails(spec.key_size == 0 || spec.value_size == 0)?;
            check_hash(spec)
        }
        MapType::Sockhash => {
            fails(spec.key_size == 0 || !holds_sockets(spec))?;
            too_big(spec.key_size > MAX_SOCKHASH_KEY)?;
            fails(spec.max_entries > MAX_HASH)
        }
        MapType::LpmTrie => {
            fails(!spec.flags.contains(MapFlags::NO_PREALLOC) || !TRIE_KEYS.contains(&spec.key_size))?;
            fails(spec.value_size == 0 || spec.value_size > MAX_TRIE_VALUE)
        }
        MapType::Ringbuf => {
            fails(spec.key_size != 0 || spec.value_size != 0)?;
            fails(!spec.max_entries.is_power_of_two() || !spec.max_entries.is_multiple_of(PAGE))
        }
    }
}

fn check_hash(spec: &MapSpec) -> Result<(), Errno> {
    let element = u64::from(spec.key_size) + u64::from(spec.value_size) + HASH_ELEMENT_HEAD;
    too_big(element >= MAX_HASH_ELEMENT)?;
    too_big(spec.kind == MapType::PercpuHash && spec.value_size > MAX_PERCPU_VALUE)?;
    too_big(spec.max_entries > MAX_HASH)
}

/// Maps of maps of maps there are none.
fn check_inner(spec: &MapSpec) -> Result<(), Errno> {
    match spec.inner.as_deref().map(|inner| inner.kind) {
        Some(MapType::ProgArray) => Err(Errno::NOTSUPP),
        inner => fails(inner.is_none_or(MapType::holds_maps)),
    }
}

fn flags_of(kind: MapType) -> MapFlags {
    let of_owner = MapFlags::RDONLY | MapFlags::WRONLY;
    let access = of_owner | MapFlags::RDONLY_PROG | MapFlags::WRONLY_PROG;
    let hash = MapFlags::NO_PREALLOC | MapFlags::ZERO_SEED | access;
    match kind {
        MapType::Array => MapFlags::NUMA_NODE | MapFlags::MMAPABLE | MapFlags::INNER_MAP | access,
        MapType::PercpuArray => access,
        MapType::ReuseportSockarray => MapFlags::NUMA_NODE | access,
        MapType::Hash | MapType::HashOfMaps => MapFlags::NUMA_NODE | hash,
        MapType::PercpuHash => hash,
        MapType::LruHash => MapFlags::NUMA_NODE | MapFlags::NO_COMMON_LRU | hash,
        MapType::LpmTrie => MapFlags::NO_PREALLOC | MapFlags::NUMA_NODE | access,
        MapType::ArrayOfMaps | MapType::ProgArray => MapFlags::NUMA_NODE | of_owner,
        MapType::Sockmap | MapType::Sockhash => MapFlags::NUMA_NODE | of_owner,
        MapType::Ringbuf => MapFlags::NUMA_NODE,
    }
}

/// The value by which user space names a socket: an fd, in 4 or 8 bytes.
fn holds_sockets(spec: &MapSpec) -> bool {
    spec.value_size == 4 || spec.value_size == 8
}

fn fails(condition: bool) -> Result<(), Errno> {
    if condition { Err(Errno::INVAL) } else { Ok(()) }
}

fn too_big(condition: bool) -> Result<(), Errno> {
    if condition { Err(Errno::TOOBIG) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(kind: MapType, key: u32, value: u32, entries: u32, flags: MapFlags) -> Result<(), Errno> {
        check(&MapSpec { flags, ..MapSpec::new("m", kind, key, value, entries) })
    }

    #[test]
    fn a_sockmap_has_four_byte_keys_values_of_4_or_8_bytes_and_at_least_one_slot() {
        for (key, value, entries, flags, expected) in [
            (4, 4, 1, MapFlags::NONE, Ok(())),
            (4, 8, 64, MapFlags::NUMA_NODE, Ok(())),
            (4, 8, 64, MapFlags::RDONLY, Ok(())),
            (4, 8, 64, MapFlags::RDONLY | MapFlags::WRONLY, Err(Errno::INVAL)),
            (4, 8, 64, MapFlags::RDONLY_PROG, Err(Errno::INVAL)),
            (8, 8, 64, MapFlags::NONE, Err(Errno::INVAL)),
            (4, 2, 64, MapFlags::NONE, Err(Errno::INVAL)),
            (4, 8, 0, MapFlags::NONE, Err(Errno::INVAL)),
        ] {
            assert_eq!(
                shape(MapType::Sockmap, key, value, entries, flags),
                expected,
                "{key} {value} {entries} {flags:?}"
            );
        }
    }

    #[test]
    fn a_sockhash_has_keys_of_up_to_512_bytes() {
        assert_eq!(shape(MapType::Sockhash, 4, 8, 1 << 27, MapFlags::NONE), Ok(()));
        assert_eq!(shape(MapType::Sockhash, 4, 8, (1 << 27) + 1, MapFlags::NONE), Err(Errno::INVAL));
        for (key, expected) in [(1, Ok(())), (512, Ok(())), (0, Err(Errno::INVAL)), (513, Err(Errno::TOOBIG))] {
            assert_eq!(shape(MapType::Sockhash, key, 8, 1, MapFlags::NONE), expected, "{key}");
        }
    }
}
