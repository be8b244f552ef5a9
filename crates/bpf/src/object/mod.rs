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
mod types;

use std::fmt;

use code::Functions;
pub use data::Global;
use elf::{Elf, Section};
pub use error::ObjectError;
use error::Result;
pub use features::{Feature, Support, features};
use layout::Layout;
use link::Parts;
use maps::Declared;
use types::Types;

use crate::spec::{Contents, MapSpec, ProgramSpec, ProgramType};

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

/// What a section is to us.
enum Role {
    Programs(ProgramType),
    Subprograms,
    OtherPrograms,
    License,
    Maps,
    OlderMaps,
    Globals,
    Types,
    AboutTypes,
    Nothing,
}

impl Role {
    fn of(section: Section<'_>) -> Role {
        if section.executable {
            // libbpf has a mark for programs that it is not to load by itself; here none is loaded unasked.
            let name = section.name.strip_prefix('?').unwrap_or(section.name);
            let family = name.split('/').next().unwrap_or_default();
            return match family {
                ".text" => Role::Subprograms,
                "sk_lookup" => Role::Programs(ProgramType::SkLookup),
                "sk_reuseport" => Role::Programs(ProgramType::SkReuseport),
                _ => Role::OtherPrograms,
            };
        }
        match section.name {
            "license" => Role::License,
            ".maps" => Role::Maps,
            "maps" => Role::OlderMaps,
            ".BTF" => Role::Types,
            ".BTF.ext" => Role::AboutTypes,
            name if name.starts_with("maps/") => Role::OlderMaps,
            name if data::holds_globals(name) && section.size > 0 => Role::Globals,
            _ => Role::Nothing,
        }
    }
}

impl Object {
    /// Reads an object file.
    ///
    /// # Errors
    /// The first thing that is wrong or refused, with its section and symbol. What no program of ours uses may be of any
    /// kind: it is among [`Object::left_out`].
    pub fn parse(bytes: &[u8]) -> std::result::Result<Object, ObjectError> {
        if bytes.len() > MAX_BYTES {
            let what = format!("it has {} bytes", bytes.len());
            return Err(ObjectError::new("the file", what, format!("an object has at most {MAX_BYTES} (64 MiB)")));
        }
        let elf = Elf::parse(bytes)?;
        let contents = Sections::sort(&elf)?;
        let types = contents.types.map(|section| Types::read(&elf, section, contents.about_types)).transpose()?;
        let mut reading = Reading { layout: externs(types.as_ref())?, ..Reading::default() };
        if let Some(section) = contents.maps {
            let maps = maps::declared(&elf, section, types.as_ref())?;
            reading.add_maps(section, maps)?;
        }
        for section in &contents.older_maps {
            reading.add_maps(*section, legacy::declared(&elf, *section)?)?;
        }
        for section in &contents.globals {
            reading.add_globals(&elf, *section)?;
        }
        let license = match contents.license {
            Some(section) => license(elf.data(section)?)?,
            None => String::new(),
        };
        let mut functions = Functions::find(&elf)?;
        let mut parts = Parts {
            elf: &elf,
            layout: &reading.layout,
            types: types.as_ref(),
            functions: &mut functions,
            maps: &reading.maps,
            license: &license,
        };
        let mut programs = Vec::new();
        for (id, function) in parts.functions.iter().collect::<Vec<_>>() {
            match Role::of(function.section) {
                Role::Programs(_) if function.section.name == "sk_reuseport/migrate" => {
                    let place = format!("program {}", function.name);
                    let what = "its section is sk_reuseport/migrate";
                    return Err(ObjectError::refused(&features::MIGRATION, place, what));
                }
                Role::Programs(kind) if !function.is_local => programs.push(parts.program(id, kind)?),
                Role::OtherPrograms if !function.is_local => reading.left_out.push(LeftOut {
                    what: format!("program {}, section {}", function.name, function.section.name),
                    why: features::OTHER_PROGRAMS.why().to_owned(),
                }),
                _ => {}
            }
        }
        if programs.is_empty() {
            let found: Vec<&str> = contents.code.iter().map(|section| section.name).collect();
            let found = if found.is_empty() { "none".to_owned() } else { found.join(", ") };
            let what = format!("it has no program for sk_lookup; its sections of code: {found}");
            return Err(ObjectError::new(
                "the file",
                what,
                "put one into the section sk_lookup, and let it not be static",
            ));
        }
        let object =
            Object { license, programs, globals: reading.globals, maps: Vec::new(), left_out: reading.left_out };
        object.with_maps(reading.maps)
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
    pub fn set_global(&mut self, name: &str, value: &[u8]) -> std::result::Result<(), ObjectError> {
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
        let map = self.maps.iter_mut().find(|map| map.name == global.map).expect("globals are in maps of the object");
        if map.contents == Contents::Empty {
            map.contents = Contents::Value(vec![0; map.value_size as usize]);
        }
        let Contents::Value(bytes) = &mut map.contents else { unreachable!("globals are one value") };
        let start = global.offset as usize;
        bytes[start..start + value.len()].copy_from_slice(value);
        Ok(())
    }

    /// Adds the maps, those that can't be created as something left out: no program uses them.
    fn with_maps(mut self, maps: Vec<Result<MapSpec>>) -> Result<Object> {
        for map in maps {
            match map {
                Ok(map) => self.maps.push(map),
                Err(error) => self.left_out.push(LeftOut { what: error.place, why: error.what }),
            }
        }
        for map in &self.maps {
            let Contents::Slots(slots) = &map.contents else { continue };
            let missing = slots.values().find(|name| match map.kind.holds_maps() {
                true => self.map(name).is_none(),
                false => self.program(name).is_none(),
            });
            if let Some(name) = missing {
                let what = format!("{name} is among its initial values, and is not in this object as read here");
                return Err(ObjectError::new(
                    format!("map {}", map.name),
                    what,
                    "name programs of sk_lookup, and maps that are supported",
                ));
            }
        }
        Ok(self)
    }
}

/// The sections of an object that matter, by what they are.
#[derive(Default)]
struct Sections<'a> {
    code: Vec<Section<'a>>,
    license: Option<Section<'a>>,
    maps: Option<Section<'a>>,
    older_maps: Vec<Section<'a>>,
    globals: Vec<Section<'a>>,
    types: Option<Section<'a>>,
    about_types: Option<Section<'a>>,
}

impl<'a> Sections<'a> {
    fn sort(elf: &Elf<'a>) -> Result<Sections<'a>> {
        let mut sections = Sections::default();
        for section in elf.sections() {
            let section = section?;
            let only = match Role::of(section) {
                Role::Programs(_) | Role::Subprograms | Role::OtherPrograms => {
                    sections.code.push(section);
                    continue;
                }
                Role::OlderMaps => {
                    sections.older_maps.push(section);
                    continue;
                }
                Role::Globals => {
                    sections.globals.push(section);
                    continue;
                }
                Role::License => &mut sections.license,
                Role::Maps => &mut sections.maps,
                Role::Types => &mut sections.types,
                Role::AboutTypes => &mut sections.about_types,
                Role::Nothing => continue,
            };
            if only.replace(section).is_some() {
                return Err(ObjectError::damaged(format!("section {}", section.name), "there are two of this name"));
            }
        }
        Ok(sections)
    }
}

/// Maps and globals, as they are found.
#[derive(Default)]
struct Reading {
    layout: Layout,
    maps: Vec<Result<MapSpec>>,
    names: std::collections::BTreeSet<String>,
    globals: Vec<Global>,
    left_out: Vec<LeftOut>,
}

impl Reading {
    fn add_maps(&mut self, section: Section<'_>, maps: Vec<Declared>) -> Result<()> {
        self.layout.map_sections.insert(section.index);
        for map in maps {
            if map.pinned {
                let why = features::PINNING.why().to_owned();
                self.left_out.push(LeftOut { what: format!("pinning of map {}", map.name), why });
            }
            self.layout.maps.insert((section.index, map.offset), self.maps.len());
            self.add(&map.name, map.spec)?;
        }
        Ok(())
    }

    fn add_globals(&mut self, elf: &Elf<'_>, section: Section<'_>) -> Result<()> {
        let (map, globals) = data::map(elf, section)?;
        self.layout.globals.insert(section.index, self.maps.len());
        self.globals.extend(globals);
        self.add(section.name, Ok(map))
    }

    fn add(&mut self, name: &str, map: Result<MapSpec>) -> Result<()> {
        let place = || format!("map {name}");
        if !self.names.insert(name.to_owned()) {
            return Err(ObjectError::damaged(place(), "there are two of this name"));
        }
        if self.maps.len() == maps::MAX_MAPS {
            let what = format!("the object has more than {} before it", maps::MAX_MAPS);
            return Err(ObjectError::new(place(), what, "split the object"));
        }
        self.maps.push(map);
        Ok(())
    }
}

/// A layout that knows the names of what only a kernel has.
fn externs(types: Option<&Types<'_>>) -> Result<Layout> {
    let mut layout = Layout::default();
    let Some(types) = types else { return Ok(layout) };
    for (section, feature) in [(".kconfig", &features::KCONFIG), (".ksyms", &features::KSYMS)] {
        let Some(variables) = types.btf.section(section) else { continue };
        for variable in types.btf.variables(variables) {
            layout.externs.insert(variable?.name.to_owned(), feature);
        }
    }
    Ok(layout)
}

/// The licence: text up to the first zero.
fn license(bytes: &[u8]) -> Result<String> {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let text = std::str::from_utf8(&bytes[..end.min(128)]);
    let text = text.map_err(|_| ObjectError::damaged("section license", "it is no text"))?;
    Ok(text.to_owned())
}
