//! Programs and maps as data: what is to be loaded, the same on every machine.

mod btf;
mod map;

use std::collections::BTreeMap;

use crate::builder::Code;
use crate::encode::encode;
use crate::insn::Insn;
use crate::text::{ParseError, Parsed, parse};
pub use btf::{FunctionInfo, LineInfo, MapBtf, ProgramBtf};
pub use map::{Contents, MapFlags, MapKind, MapSpec, MapType, map_kind, map_kinds};

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
    /// Its name. The kernel keeps 15 bytes of `A-Za-z0-9_.`; what loads a program cuts it for that.
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
    /// What the kernel may be told besides.
    pub btf: Option<ProgramBtf>,
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
            btf: None,
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
