//! Maps as data, and the types of map there are.

use std::collections::BTreeMap;
use std::ops::BitOr;

use super::btf::MapBtf;

macro_rules! types {
    ($($number:literal $name:literal $($type:ident)? $(=> $why:literal)?;)*) => {
        /// The type of a map, by the kernel's number: those that programs of the types here use.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u32)]
        #[allow(missing_docs)]
        pub enum MapType {
            $($($type = $number,)?)*
        }

        const KINDS: &[MapKind] =
            &[$(MapKind { number: $number, name: $name, kind: types!(@kind $($type)? $($why)?) }),*];
    };
    (@kind $type:ident) => { Ok(MapType::$type) };
    (@kind $why:literal) => { Err($why) };
}

// Every type that Linux 6.18 has. Source: uapi `linux/bpf.h`, `enum bpf_map_type`.
types! {
    1 "hash" Hash;
    2 "array" Array;
    3 "prog_array" ProgArray;
    4 "perf_event_array" => "perf events belong to the CPUs of a kernel; a ring buffer does as much";
    5 "percpu_hash" PercpuHash;
    6 "percpu_array" PercpuArray;
    7 "stack_trace" => "it holds stacks of the kernel";
    8 "cgroup_array" => "there are no cgroups in the engine";
    9 "lru_hash" LruHash;
    10 "lru_percpu_hash" => "nothing that selects sockets has needed it; PERCPU_HASH and LRU_HASH are there";
    11 "lpm_trie" LpmTrie;
    12 "array_of_maps" ArrayOfMaps;
    13 "hash_of_maps" HashOfMaps;
    14 "devmap" => "it redirects packets of XDP";
    15 "sockmap" Sockmap;
    16 "cpumap" => "it redirects packets of XDP";
    17 "xskmap" => "it redirects packets of XDP";
    18 "sockhash" Sockhash;
    19 "cgroup_storage" => "it belongs to programs of cgroups";
    20 "reuseport_sockarray" ReuseportSockarray;
    21 "percpu_cgroup_storage" => "it belongs to programs of cgroups";
    22 "queue" => "nothing that selects sockets has needed it";
    23 "stack" => "nothing that selects sockets has needed it";
    24 "sk_storage" => "sk_lookup programs may not call its helpers";
    25 "devmap_hash" => "it redirects packets of XDP";
    26 "struct_ops" => "it replaces functions of the kernel";
    27 "ringbuf" Ringbuf;
    28 "inode_storage" => "it belongs to files";
    29 "task_storage" => "it belongs to the task that the packet interrupted";
    30 "bloom_filter" => "nothing that selects sockets has needed it";
    31 "user_ringbuf" => "its records come to a callback with pointers that are not modelled (dynptr)";
    32 "cgrp_storage" => "there are no cgroups in the engine";
    33 "arena" => "it shares addresses between programs and processes, and no address of a process enters a program";
}

/// A type of map that Linux has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapKind {
    /// Its number.
    pub number: u32,
    /// Its name as `bpftool` writes it: `lpm_trie`.
    pub name: &'static str,
    /// The type if specs can have it, else the reason why not.
    pub kind: Result<MapType, &'static str>,
}

/// Every type of map that Linux has, by number.
pub fn map_kinds() -> &'static [MapKind] {
    KINDS
}

/// The type of this number; `None` if no Linux has it that is known here.
///
/// ```
/// use sklookup_bpf::{MapType, map_kind};
///
/// assert_eq!(map_kind(11).unwrap().kind, Ok(MapType::LpmTrie));
/// assert_eq!(map_kind(22).unwrap().name, "queue");
/// assert_eq!(map_kind(99), None);
/// ```
pub fn map_kind(number: u32) -> Option<&'static MapKind> {
    KINDS.iter().find(|kind| kind.number == number)
}

impl MapType {
    /// Its name as `bpftool` writes it: `lpm_trie`.
    pub fn name(self) -> &'static str {
        map_kind(self as u32).expect("every type is a row").name
    }

    /// Whether a key has a value for each CPU.
    pub fn is_per_cpu(self) -> bool {
        matches!(self, MapType::PercpuArray | MapType::PercpuHash)
    }

    /// Whether its values are other maps.
    pub fn holds_maps(self) -> bool {
        matches!(self, MapType::ArrayOfMaps | MapType::HashOfMaps)
    }

    /// Whether its values are sockets.
    pub fn holds_sockets(self) -> bool {
        matches!(self, MapType::Sockmap | MapType::Sockhash | MapType::ReuseportSockarray)
    }
}

/// Flags of map creation (`BPF_F_*`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct MapFlags(pub u32);

impl MapFlags {
    /// None.
    pub const NONE: MapFlags = MapFlags(0);
    /// `BPF_F_NO_PREALLOC`: memory comes with the entries. An LPM_TRIE has to have it.
    pub const NO_PREALLOC: MapFlags = MapFlags(1);
    /// `BPF_F_NO_COMMON_LRU`: each CPU has a list of its own from which entries go.
    pub const NO_COMMON_LRU: MapFlags = MapFlags(1 << 1);
    /// `BPF_F_NUMA_NODE`: memory comes from one node.
    pub const NUMA_NODE: MapFlags = MapFlags(1 << 2);
    /// `BPF_F_RDONLY`: its owner may only read.
    pub const RDONLY: MapFlags = MapFlags(1 << 3);
    /// `BPF_F_WRONLY`: its owner may only write.
    pub const WRONLY: MapFlags = MapFlags(1 << 4);
    /// `BPF_F_ZERO_SEED`: keys are hashed the same way every time.
    pub const ZERO_SEED: MapFlags = MapFlags(1 << 6);
    /// `BPF_F_RDONLY_PROG`: programs may only read.
    pub const RDONLY_PROG: MapFlags = MapFlags(1 << 7);
    /// `BPF_F_WRONLY_PROG`: programs may only write.
    pub const WRONLY_PROG: MapFlags = MapFlags(1 << 8);
    /// `BPF_F_MMAPABLE`: its owner may map its values into memory.
    pub const MMAPABLE: MapFlags = MapFlags(1 << 10);
    /// `BPF_F_INNER_MAP`: inner maps may have another number of entries.
    pub const INNER_MAP: MapFlags = MapFlags(1 << 12);

    /// Whether all of these are set.
    pub fn contains(self, flags: MapFlags) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// Whether any of these is set.
    pub fn intersects(self, flags: MapFlags) -> bool {
        self.0 & flags.0 != 0
    }
}

impl BitOr for MapFlags {
    type Output = MapFlags;

    fn bitor(self, other: MapFlags) -> MapFlags {
        MapFlags(self.0 | other.0)
    }
}

/// What a map holds before a program sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Contents {
    /// Nothing put in: arrays are zero.
    #[default]
    Empty,
    /// The one value of a one-element array. Shorter than `value_size` is an error, not padding.
    Value(Vec<u8>),
    /// Names of programs or maps of the same object, by key: what a PROG_ARRAY or a map of maps is declared with. Who
    /// creates the map from this alone leaves it empty; who has the whole object puts them in.
    Slots(BTreeMap<u32, String>),
}

/// A map, ready to be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapSpec {
    /// Its name. The kernel keeps 15 bytes of `A-Za-z0-9_.`; what creates a map cuts it for that.
    pub name: String,
    /// Map type.
    pub kind: MapType,
    /// Key size in bytes.
    pub key_size: u32,
    /// Value size in bytes; of a PROG_ARRAY, a map of maps or of sockets that of the number by which its owner names one.
    pub value_size: u32,
    /// Number of entries; of a RINGBUF of bytes.
    pub max_entries: u32,
    /// Flags of creation.
    pub flags: MapFlags,
    /// For a map of maps: what the inner maps look like.
    pub inner: Option<Box<MapSpec>>,
    /// What it holds at first.
    pub contents: Contents,
    /// Frozen once filled: user space can never write it again (`BPF_MAP_FREEZE`).
    pub frozen: bool,
    /// Types that the kernel has to know.
    pub btf: Option<MapBtf>,
}

impl MapSpec {
    /// An empty map of this shape.
    pub fn new(name: impl Into<String>, kind: MapType, key_size: u32, value_size: u32, max_entries: u32) -> MapSpec {
        MapSpec {
            name: name.into(),
            kind,
            key_size,
            value_size,
            max_entries,
            flags: MapFlags::NONE,
            inner: None,
            contents: Contents::Empty,
            frozen: false,
            btf: None,
        }
    }

    /// A frozen one-element array that programs can only read: a table.
    pub fn table(name: impl Into<String>, value: Vec<u8>) -> MapSpec {
        let size = u32::try_from(value.len()).expect("a table is smaller than 4 GiB");
        MapSpec {
            flags: MapFlags::RDONLY_PROG,
            contents: Contents::Value(value),
            frozen: true,
            ..MapSpec::new(name, MapType::Array, 4, size, 1)
        }
    }

    /// A ring buffer of so many bytes.
    pub fn ringbuf(name: impl Into<String>, bytes: u32) -> MapSpec {
        MapSpec::new(name, MapType::Ringbuf, 0, 0, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_sorted_by_number_without_a_gap() {
        assert!(KINDS.iter().zip(1..).all(|(kind, number)| kind.number == number));
        for kind in KINDS.iter().filter_map(|kind| kind.kind.ok()) {
            assert_eq!(map_kind(kind as u32).unwrap().kind, Ok(kind));
        }
    }
}
