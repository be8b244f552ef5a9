//! Objects: sk_lookup programs and their maps as a compiler writes them, read into specs.
//!
//! [`Object::parse`] reads what `clang -target bpf -c -g` and aya make. What comes of it is data like all specs: the same
//! object loads into a kernel and into the engine. It takes bytes and gives bytes back; no file is opened, nothing is
//! pinned, and nothing that the file says about itself is believed before it was compared with the file.
//!
//! ```no_run
//! use sklookup_bpf::object::Object;
//!
//! let mut object = Object::parse(&std::fs::read("steer.o").unwrap()).unwrap();
//! object.set_global("first_port", &8000u16.to_ne_bytes()).unwrap();
//! let program = object.program("steer").unwrap();
//! assert_eq!(program.maps, ["sockets", ".rodata"]);
//! ```

mod about;
mod btf;
mod code;
mod data;
mod elf;
mod error;
mod features;
mod layout;
mod legacy;
mod link;
mod maps;
mod read;
mod sections;
mod types;

use std::fmt;

pub use data::Global;
pub use error::ObjectError;
pub use features::{Feature, Support, features};

use crate::spec::{Contents, MapSpec, ProgramSpec};

/// The largest object, in bytes.
pub const MAX_BYTES: usize = 64 << 20;

/// Programs and maps of one object file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// The licence of all its programs; empty if it says none.
    pub license: String,
    /// Its programs, each with the functions that it calls behind it, in the order of the file.
    pub programs: Vec<ProgramSpec>,
    /// Its maps, and for each section of globals a map of the section's name.
    pub maps: Vec<MapSpec>,
    /// Its global variables, static ones too.
    pub globals: Vec<Global>,
    /// What it asks for or has, and is not there.
    pub left_out: Vec<LeftOut>,
}

/// Something in an object that does not become part of it here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// What: `program trace, section kprobe/tcp_connect`.
    pub what: String,
    /// Why.
    pub why: String,
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.why)
    }
}

impl Object {
    /// Reads an object file.
    ///
    /// # Errors
    /// The first thing that is wrong or refused, with its section and symbol. What no program of ours uses may be of any
    /// kind: it is among [`Object::left_out`].
    pub fn parse(bytes: &[u8]) -> Result<Object, ObjectError> {
        if bytes.len() > MAX_BYTES {
            let what = format!("it has {} bytes", bytes.len());
            return Err(ObjectError::new("the file", what, format!("an object has at most {MAX_BYTES} (64 MiB)")));
        }
        read::object(bytes)
    }

    /// The program of this name.
    pub fn program(&self, name: &str) -> Option<&ProgramSpec> {
        self.programs.iter().find(|program| program.name == name)
    }

    /// The map of this name, or the globals of a section.
    pub fn map(&self, name: &str) -> Option<&MapSpec> {
        self.maps.iter().find(|map| map.name == name)
    }

    /// Gives a global another value, which it has when the object is loaded.
    ///
    /// # Errors
    /// There is none of this name, or several (static ones), or it has another size.
    pub fn set_global(&mut self, name: &str, value: &[u8]) -> Result<(), ObjectError> {
        let named = |global: &&Global| global.name == name;
        let place = format!("global {name}");
        let global = self.globals.iter().find(named).ok_or_else(|| {
            let names: Vec<&str> = self.globals.iter().map(|global| global.name.as_str()).collect();
            let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            ObjectError::new(&place, "the object has none of this name", format!("its globals are {names}"))
        })?;
        if self.globals.iter().filter(named).count() > 1 {
            return Err(ObjectError::new(place, "several static ones have this name", "give each a name of its own"));
        }
        if value.len() != global.size as usize {
            let what = format!("it has {} bytes, and the value {}", global.size, value.len());
            return Err(ObjectError::new(place, what, "pass the bytes of a value of its type, in the host's order"));
        }
        let map = self.maps.iter_mut().find(|map| map.name == global.map);
        let start = global.offset as usize;
        let to = map.and_then(value_of).and_then(|bytes| bytes.get_mut(start..start + value.len()));
        let to = to.ok_or_else(|| {
            let what = format!("map {} of the object doesn't have it any more", global.map);
            ObjectError::new(place, what, "set globals before you change the maps of an object")
        })?;
        to.copy_from_slice(value);
        Ok(())
    }
}

/// The bytes of the one value of a map; zeros that were not written down before are now.
fn value_of(map: &mut MapSpec) -> Option<&mut Vec<u8>> {
    if map.contents == Contents::Empty {
        map.contents = Contents::Value(vec![0; map.value_size as usize]);
    }
    match &mut map.contents {
        Contents::Value(bytes) => Some(bytes),
        _ => None,
    }
}
