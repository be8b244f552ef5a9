//! Programs and maps as data: what is to be loaded, the same on every machine.

use std::collections::BTreeMap;

use crate::builder::Code;
use crate::encode::encode;
use crate::insn::Insn;
use crate::text::{ParseError, Parsed, parse};

/// The type of a program, by the kernel's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum ProgramType {
    /// `BPF_PROG_TYPE_SK_LOOKUP`, since 5.9.
    SkLookup = 30,
    /// `BPF_PROG_TYPE_SK_REUSEPORT`, since 4.19: picks a member of an SO_REUSEPORT group.
    SkReuseport = 21,
}

impl ProgramType {
    /// The attach type that the kernel expects of a program of this type (`BPF_SK_LOOKUP`, `BPF_SK_REUSEPORT_SELECT`).
    pub fn attach_type(self) -> u32 {
        match self {
            ProgramType::SkLookup => 36,
            ProgramType::SkReuseport => 39,
        }
    }

    /// Its name, as listings show it.
    pub fn name(self) -> &'static str {
        match self {
            ProgramType::SkLookup => "sk_lookup",
            ProgramType::SkReuseport => "sk_reuseport",
        }
    }
}

/// A program, ready to be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramSpec {
    /// Name that the kernel keeps: at most 15 bytes of `A-Za-z0-9_.`.
    pub name: String,
    /// Program type.
    pub kind: ProgramType,
    /// Licence; decides which helpers may be called.
    pub license: String,
    /// The instructions.
    pub insns: Vec<Insn>,
    /// Names of the maps that instructions refer to by index.
    pub maps: Vec<String>,
    /// Notes for the listing, by the slot they stand above.
    pub notes: BTreeMap<usize, String>,
}

impl ProgramSpec {
    /// An sk_lookup program of this code.
    pub fn sk_lookup(name: impl Into<String>, code: Code, maps: Vec<String>) -> ProgramSpec {
        ProgramSpec {
            name: name.into(),
            kind: ProgramType::SkLookup,
            license: "Dual MIT/GPL".to_owned(),
            insns: code.insns,
            maps,
            notes: code.notes,
        }
    }

    /// An sk_reuseport program of this code.
    pub fn sk_reuseport(name: impl Into<String>, code: Code, maps: Vec<String>) -> ProgramSpec {
        ProgramSpec { kind: ProgramType::SkReuseport, ..ProgramSpec::sk_lookup(name, code, maps) }
    }

    /// A program written in the text form, whose maps bear the names that the text gives them.
    ///
    /// # Errors
    /// Where the text is no program, with line and column.
    pub fn from_text(name: impl Into<String>, kind: ProgramType, text: &str) -> Result<ProgramSpec, ParseError> {
        let Parsed { insns, maps } = parse(text)?;
        let code = Code { insns, notes: BTreeMap::new() };
        Ok(ProgramSpec { kind, ..ProgramSpec::sk_lookup(name, code, maps) })
    }

    /// The instructions as bytes in the host's byte order; maps by index.
    pub fn bytes(&self) -> Vec<u8> {
        encode(&self.insns)
    }
}

/// The type of a map, by the kernel's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u32)]
#[allow(missing_docs)]
pub enum MapType {
    Hash = 1,
    Array = 2,
    PercpuArray = 6,
    ArrayOfMaps = 12,
    Sockmap = 15,
    Sockhash = 18,
    ReuseportSockarray = 20,
}

/// Flags of map creation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct MapFlags(pub u32);

impl MapFlags {
    /// None.
    pub const NONE: MapFlags = MapFlags(0);
    /// `BPF_F_RDONLY_PROG`: programs may only read.
    pub const RDONLY_PROG: MapFlags = MapFlags(1 << 7);
}

/// What a map holds before a program sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Contents {
    /// Nothing put in: arrays are zero.
    #[default]
    Empty,
    /// The one value of a one-element array. Shorter than `value_size` is an error, not padding.
    Value(Vec<u8>),
}

/// A map, ready to be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapSpec {
    /// Name: at most 15 bytes of `A-Za-z0-9_.`.
    pub name: String,
    /// Map type.
    pub kind: MapType,
    /// Key size in bytes.
    pub key_size: u32,
    /// Value size in bytes.
    pub value_size: u32,
    /// Number of entries.
    pub max_entries: u32,
    /// Flags of creation.
    pub flags: MapFlags,
    /// For a map of maps: what the inner maps look like.
    pub inner: Option<Box<MapSpec>>,
    /// What it holds at first.
    pub contents: Contents,
    /// Frozen once filled: user space can never write it again (`BPF_MAP_FREEZE`).
    pub frozen: bool,
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
}
