//! Which maps can be created: sizes and flags, with the errno that Linux gives.

use sklookup_bpf::{MapSpec, MapType};

use crate::errno::Errno;

/// Flags of `BPF_MAP_CREATE`.
pub(super) mod flag {
    pub(crate) const NO_PREALLOC: u32 = 1;
    pub(crate) const NUMA_NODE: u32 = 1 << 2;
    pub(crate) const RDONLY: u32 = 1 << 3;
    pub(crate) const WRONLY: u32 = 1 << 4;
    pub(crate) const ZERO_SEED: u32 = 1 << 6;
    pub(crate) const RDONLY_PROG: u32 = 1 << 7;
    pub(crate) const WRONLY_PROG: u32 = 1 << 8;
    pub(crate) const MMAPABLE: u32 = 1 << 10;
    pub(crate) const INNER_MAP: u32 = 1 << 12;

    /// Who may do what, of maps whose values are bytes.
    pub(crate) const ACCESS: u32 = RDONLY | WRONLY | RDONLY_PROG | WRONLY_PROG;
}

/// The longest key of a SOCKHASH: what fits a program's stack.
const MAX_SOCKHASH_KEY: u32 = 512;
/// The most entries of a SOCKHASH: its buckets, a power of two of 16 bytes each, are counted in 32 bits. Seen on Linux 6.18.
const MAX_SOCKHASH: u32 = 1 << 27;
/// Bytes that key and value of a HASH have together, with what the kernel keeps beside them.
const MAX_HASH_ELEMENT: u64 = 4 << 20;
const HASH_ELEMENT_HEAD: u64 = 48;
/// The longest value of a per-CPU map.
const MAX_PERCPU_VALUE: u32 = 32 << 10;

/// Whether a map of this shape can be created.
pub(super) fn check(spec: &MapSpec) -> Result<(), Errno> {
    let fails = |condition: bool| if condition { Err(Errno::INVAL) } else { Ok(()) };
    fails(spec.max_entries == 0)?;
    fails(spec.flags.0 & !flags_of(spec.kind) != 0)?;
    for (one, other) in [(flag::RDONLY, flag::WRONLY), (flag::RDONLY_PROG, flag::WRONLY_PROG)] {
        fails(spec.flags.0 & one != 0 && spec.flags.0 & other != 0)?;
    }
    fails((spec.kind == MapType::ArrayOfMaps) != spec.inner.is_some())?;
    match spec.kind {
        MapType::Array | MapType::PercpuArray => {
            fails(spec.key_size != 4 || spec.value_size == 0)?;
            too_big(spec.kind == MapType::PercpuArray && spec.value_size > MAX_PERCPU_VALUE)
        }
        MapType::ArrayOfMaps => {
            fails(spec.key_size != 4 || spec.value_size != 4)?;
            fails(spec.inner.as_ref().is_some_and(|inner| inner.kind == MapType::ArrayOfMaps))
        }
        MapType::Sockmap | MapType::ReuseportSockarray => fails(spec.key_size != 4 || !holds_sockets(spec)),
        MapType::Hash => {
            fails(spec.key_size == 0 || spec.value_size == 0)?;
            let element = u64::from(spec.key_size) + u64::from(spec.value_size) + HASH_ELEMENT_HEAD;
            too_big(element >= MAX_HASH_ELEMENT)
        }
        MapType::Sockhash => {
            fails(spec.key_size == 0 || !holds_sockets(spec))?;
            too_big(spec.key_size > MAX_SOCKHASH_KEY)?;
            fails(spec.max_entries > MAX_SOCKHASH)
        }
        MapType::ProgArray
        | MapType::PercpuHash
        | MapType::LruHash
        | MapType::LpmTrie
        | MapType::HashOfMaps
        | MapType::Ringbuf => Err(Errno::NOTSUPP),
    }
}

fn flags_of(kind: MapType) -> u32 {
    match kind {
        MapType::Array => flag::NUMA_NODE | flag::MMAPABLE | flag::INNER_MAP | flag::ACCESS,
        MapType::PercpuArray => flag::ACCESS,
        MapType::ArrayOfMaps => flag::NUMA_NODE | flag::RDONLY | flag::WRONLY,
        MapType::Hash => flag::NO_PREALLOC | flag::NUMA_NODE | flag::ZERO_SEED | flag::ACCESS,
        MapType::Sockmap | MapType::Sockhash | MapType::ReuseportSockarray => {
            flag::NUMA_NODE | flag::RDONLY | flag::WRONLY
        }
        // Not implemented: refused below, whatever the flags.
        MapType::ProgArray
        | MapType::PercpuHash
        | MapType::LruHash
        | MapType::LpmTrie
        | MapType::HashOfMaps
        | MapType::Ringbuf => u32::MAX,
    }
}

/// The value by which user space names a socket: an fd, in 4 or 8 bytes.
fn holds_sockets(spec: &MapSpec) -> bool {
    spec.value_size == 4 || spec.value_size == 8
}

fn too_big(condition: bool) -> Result<(), Errno> {
    if condition { Err(Errno::TOOBIG) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sklookup_bpf::MapFlags;

    fn shape(kind: MapType, key: u32, value: u32, entries: u32, flags: u32) -> Result<(), Errno> {
        check(&MapSpec { flags: MapFlags(flags), ..MapSpec::new("m", kind, key, value, entries) })
    }

    #[test]
    fn a_sockmap_has_four_byte_keys_values_of_4_or_8_bytes_and_at_least_one_slot() {
        for (key, value, entries, flags, expected) in [
            (4, 4, 1, 0, Ok(())),
            (4, 8, 64, flag::NUMA_NODE, Ok(())),
            (4, 8, 64, flag::RDONLY, Ok(())),
            (4, 8, 64, flag::RDONLY | flag::WRONLY, Err(Errno::INVAL)),
            (4, 8, 64, flag::RDONLY_PROG, Err(Errno::INVAL)),
            (8, 8, 64, 0, Err(Errno::INVAL)),
            (4, 2, 64, 0, Err(Errno::INVAL)),
            (4, 8, 0, 0, Err(Errno::INVAL)),
        ] {
            assert_eq!(
                shape(MapType::Sockmap, key, value, entries, flags),
                expected,
                "{key} {value} {entries} {flags}"
            );
        }
    }

    #[test]
    fn a_sockhash_has_keys_of_up_to_512_bytes() {
        assert_eq!(shape(MapType::Sockhash, 4, 8, 1 << 27, 0), Ok(()));
        assert_eq!(shape(MapType::Sockhash, 4, 8, (1 << 27) + 1, 0), Err(Errno::INVAL));
        for (key, expected) in [(1, Ok(())), (512, Ok(())), (0, Err(Errno::INVAL)), (513, Err(Errno::TOOBIG))] {
            assert_eq!(shape(MapType::Sockhash, key, 8, 1, 0), expected, "{key}");
        }
    }
}
