//! An object file, read from one end to the other.

use std::collections::BTreeSet;

use super::code::Functions;
use super::elf::{Elf, Section};
use super::error::{ObjectError, Result};
use super::layout::Layout;
use super::link::Parts;
use super::maps::{Declared, MAX_MAPS};
use super::sections::{Role, Sections};
use super::types::Types;
use super::{Global, LeftOut, Object, data, features, legacy, maps};
use crate::spec::{Contents, MapSpec, ProgramSpec};

pub(super) fn object(bytes: &[u8]) -> Result<Object> {
    let elf = Elf::parse(bytes)?;
    let contents = Sections::sort(&elf)?;
    let types = contents.types.map(|section| Types::read(&elf, section, contents.about_types)).transpose()?;
    let mut found = Found { layout: externs(types.as_ref())?, ..Found::default() };
    if let Some(section) = contents.maps {
        let maps = maps::declared(&elf, section, types.as_ref())?;
        found.add_maps(section, maps)?;
    }
    for section in &contents.older_maps {
        found.add_maps(*section, legacy::declared(&elf, *section)?)?;
    }
    for section in &contents.globals {
        found.add_globals(&elf, *section)?;
    }
    let license = match contents.license {
        Some(section) => license(elf.data(section)?)?,
        None => String::new(),
    };
    let programs = programs(&elf, &mut found, types.as_ref(), &license)?;
    if programs.is_empty() {
        let found: Vec<&str> = contents.code.iter().map(|section| section.name).collect();
        let found = if found.is_empty() { "none".to_owned() } else { found.join(", ") };
        let what = format!("it has no program for sk_lookup; its sections of code: {found}");
        return Err(ObjectError::new("the file", what, "put one into the section sk_lookup, and let it not be static"));
    }
    check_names(&programs)?;
    let maps = creatable(found.maps, &mut found.left_out);
    check_slots(&maps, &programs)?;
    Ok(Object { license, programs, maps, globals: found.globals, left_out: found.left_out })
}

/// Maps and globals, as they are found.
#[derive(Default)]
struct Found {
    layout: Layout,
    maps: Vec<Result<MapSpec>>,
    names: BTreeSet<String>,
    globals: Vec<Global>,
    left_out: Vec<LeftOut>,
}

impl Found {
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
        if self.maps.len() == MAX_MAPS {
            let what = format!("the object has more than {} before it", MAX_MAPS);
            return Err(ObjectError::new(place(), what, "split the object"));
        }
        self.maps.push(map);
        Ok(())
    }
}

/// The programs of ours, whole; those of others are among what is left out.
fn programs(elf: &Elf<'_>, found: &mut Found, types: Option<&Types<'_>>, license: &str) -> Result<Vec<ProgramSpec>> {
    let mut functions = Functions::find(elf)?;
    let mut parts = Parts { elf, layout: &found.layout, types, functions: &mut functions, maps: &found.maps, license };
    let mut programs = Vec::new();
    for (id, function) in parts.functions.iter().collect::<Vec<_>>() {
        match Role::of(function.section) {
            Role::Programs(_) if function.section.name == "sk_reuseport/migrate" => {
                let place = format!("program {}", function.name);
                let what = "its section is sk_reuseport/migrate";
                return Err(ObjectError::refused(&features::MIGRATION, place, what));
            }
            Role::Programs(kind) if !function.is_local => programs.push(parts.program(id, kind)?),
            Role::OtherPrograms if !function.is_local => found.left_out.push(LeftOut {
                what: format!("program {}, section {}", function.name, function.section.name),
                why: features::OTHER_PROGRAMS.why().to_owned(),
            }),
            _ => {}
        }
    }
    Ok(programs)
}

/// Two programs of one name could not be told apart.
fn check_names(programs: &[ProgramSpec]) -> Result<()> {
    let mut names = BTreeSet::new();
    match programs.iter().find(|program| !names.insert(&program.name)) {
        Some(twice) => Err(ObjectError::damaged(format!("program {}", twice.name), "there are two of this name")),
        None => Ok(()),
    }
}

/// The maps that can be created. The others are left out: no program uses them.
fn creatable(maps: Vec<Result<MapSpec>>, left_out: &mut Vec<LeftOut>) -> Vec<MapSpec> {
    let mut good = Vec::new();
    for map in maps {
        match map {
            Ok(map) => good.push(map),
            Err(error) => left_out.push(LeftOut { what: error.place, why: error.what }),
        }
    }
    good
}

/// What maps are declared with has to be here.
fn check_slots(maps: &[MapSpec], programs: &[ProgramSpec]) -> Result<()> {
    let map_names: BTreeSet<&str> = maps.iter().map(|map| map.name.as_str()).collect();
    let program_names: BTreeSet<&str> = programs.iter().map(|program| program.name.as_str()).collect();
    for map in maps {
        let Contents::Slots(slots) = &map.contents else { continue };
        let here = if map.kind.holds_maps() { &map_names } else { &program_names };
        if let Some(name) = slots.values().find(|name| !here.contains(name.as_str())) {
            let what = format!("{name} is among its initial values, and is not in this object as read here");
            let help = "name programs of sk_lookup, and maps that are supported";
            return Err(ObjectError::new(format!("map {}", map.name), what, help));
        }
    }
    Ok(())
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
