//! What objects may use, and what is refused: the one table that refusals and the documents are made from.

/// Something that objects are made of.
#[derive(Debug, PartialEq, Eq)]
pub struct Feature {
    /// What it is called, in the plural.
    pub name: &'static str,
    /// Whether it is supported.
    pub support: Support,
    /// The objects that show it, in `testdata/objects` by their sources: `assign`, `refused/core`.
    pub shown_by: &'static str,
}

/// Whether something is supported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// It is.
    Done,
    /// It is refused by name.
    Refused {
        /// Why.
        why: &'static str,
        /// What to do instead.
        instead: &'static str,
    },
    /// It is not done, and whoever loads the object is told; all else of the object works.
    Reported {
        /// Why.
        why: &'static str,
    },
}

impl Feature {
    /// Why it is not done, if it isn't.
    pub fn why(&self) -> &'static str {
        match self.support {
            Support::Done => "",
            Support::Refused { why, .. } | Support::Reported { why } => why,
        }
    }
}

const fn done(name: &'static str, shown_by: &'static str) -> Feature {
    Feature { name, support: Support::Done, shown_by }
}

const fn refused(name: &'static str, shown_by: &'static str, why: &'static str, instead: &'static str) -> Feature {
    Feature { name, support: Support::Refused { why, instead }, shown_by }
}

const fn reported(name: &'static str, shown_by: &'static str, why: &'static str) -> Feature {
    Feature { name, support: Support::Reported { why }, shown_by }
}

pub(super) static FOREIGN_ENDIAN: Feature = refused(
    "objects of another byte order",
    "refused/assign-big-endian",
    "instructions and data would have to be turned round",
    "compile with `clang -target bpf`, which takes the byte order of the machine it runs on",
);

pub(super) static CORE: Feature = refused(
    "CO-RE relocations",
    "refused/core",
    "they are resolved against the types of one kernel, and the engine has none",
    "read the context by `struct bpf_sk_lookup` of <linux/bpf.h>, which is the same on every kernel, and leave out \
     vmlinux.h and preserve_access_index",
);

pub(super) static KCONFIG: Feature = refused(
    "variables of .kconfig",
    "refused/kconfig",
    "the configuration of a kernel is not known when an object is read",
    "make it a `const volatile` global and set it before loading",
);

pub(super) static KSYMS: Feature = refused(
    "kernel functions and variables (.ksyms)",
    "refused/ksyms",
    "the engine has no kernel to call",
    "call a helper",
);

pub(super) static EXTERN: Feature = refused(
    "symbols of other files",
    "refused/extern",
    "an object is read by itself",
    "define it in this file, or link the files with `bpftool gen object`",
);

pub(super) static MIGRATION: Feature = refused(
    "programs that migrate requests between listeners",
    "refused/migrate",
    "the engine has no requests that wait for their last ACK",
    "name the section sk_reuseport",
);

pub(super) static MAP_TYPES: Feature = refused(
    "maps of this type",
    "refused/queue",
    "nothing that an sk_lookup program needs is in one",
    "use one of the types in docs/supported.md",
);

pub(super) static MAP_FIELDS: Feature = refused(
    "fields of a map's definition besides type, key, value, their sizes, max_entries, map_flags, pinning and values",
    "refused/numa",
    "what they ask for would not be done",
    "leave the field out",
);

pub(super) static LEGACY_MAPS_OF_MAPS: Feature = refused(
    "maps of maps in the older section `maps`",
    "refused/legacy-maps-of-maps",
    "a `struct bpf_map_def` can't say what the inner maps look like",
    "define it in `.maps`",
);

pub(super) static DATA_ADDRESSES: Feature = refused(
    "globals that hold addresses",
    "refused/pointers",
    "the address of a map's value is known to the kernel only",
    "hold an index instead, and choose in the program",
);

pub(super) static OTHER_DATA: Feature = refused(
    "variables in sections other than .rodata, .data and .bss",
    "refused/section",
    "nothing says what such a section becomes",
    "name it .data.NAME, or leave the section to the compiler",
);

pub(super) static PINNING: Feature =
    reported("maps that ask to be pinned", "lock", "a pin outlives the program that asked for it");

pub(super) static OTHER_PROGRAMS: Feature = reported(
    "programs of other types beside ours",
    "mixed",
    "only sk_lookup and sk_reuseport programs have a place in a socket lookup",
);

/// Every feature, in the order in which the documents have them.
pub fn features() -> &'static [&'static Feature] {
    static DONE: [Feature; 15] = [
        done("sections sk_lookup and sk_lookup/NAME", "assign"),
        done("sections sk_reuseport and sk_reuseport/NAME", "members"),
        done("several programs in one section", "stages"),
        done("subprograms in .text, global and static", "stages"),
        done("static functions in the section of a program", "stages"),
        done("callbacks: addresses of static functions", "callbacks"),
        done("maps defined by BTF in .maps", "assign"),
        done("flags and sizes of maps in bytes", "prefixes"),
        done("maps in maps, filled as declared", "tenants"),
        done("PROG_ARRAYs, filled as declared", "stages"),
        done("the older section maps of `struct bpf_map_def`", "legacy, aya/steer"),
        done("globals in .rodata, .data and .bss", "prefixes"),
        done("strings and other constants in .rodata.*", "strings"),
        done("spin locks in values", "lock"),
        done("types and source lines for the kernel's verifier", "callbacks"),
    ];
    static ALL: [&Feature; 28] = [
        &DONE[0],
        &DONE[1],
        &DONE[2],
        &DONE[3],
        &DONE[4],
        &DONE[5],
        &DONE[6],
        &DONE[7],
        &DONE[8],
        &DONE[9],
        &DONE[10],
        &DONE[11],
        &DONE[12],
        &DONE[13],
        &DONE[14],
        &PINNING,
        &OTHER_PROGRAMS,
        &CORE,
        &KCONFIG,
        &KSYMS,
        &EXTERN,
        &MIGRATION,
        &MAP_TYPES,
        &MAP_FIELDS,
        &LEGACY_MAPS_OF_MAPS,
        &DATA_ADDRESSES,
        &OTHER_DATA,
        &FOREIGN_ENDIAN,
    ];
    &ALL
}
