//! Programs of object files: `{ object = "x.o", name = "steer", globals = { first_port = 8000 } }`, and their maps, which
//! become the case's.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sklookup_bpf::object::{Object, ObjectError};
use sklookup_bpf::{Contents as Initial, MapSpec, MapType};
use sklookup_policy::reading::quote;

use super::map::{Contents, bytes};
use super::tree::{Keys, Read, Wrong};
use crate::bytes::Bytes;
use crate::case::{Case, FromObject, Map, Program, Value};

/// Most bytes of programs and globals from objects in the cases of one file, so that many cases of a large object are no
/// way to fill the memory.
const MAX_BYTES: usize = 256 << 20;

/// The object files that the cases of a file name, each read once.
pub(super) struct Objects<'r> {
    read: &'r dyn Fn(&str) -> Result<Vec<u8>, String>,
    known: RefCell<BTreeMap<Arc<str>, Arc<Object>>>,
    /// Bytes that cases may still take.
    allowance: Cell<usize>,
}

impl<'r> Objects<'r> {
    pub(super) fn new(read: &'r dyn Fn(&str) -> Result<Vec<u8>, String>) -> Objects<'r> {
        Objects { read, known: RefCell::default(), allowance: Cell::new(MAX_BYTES) }
    }

    /// Reads `object`, `name` and `globals`.
    pub(super) fn program(&self, program: &str, keys: &mut Keys) -> Read<FromObject> {
        let node = keys.required("object", "\"x.o\"")?;
        let line = node.line;
        let file: Arc<str> = node.text("object", "\"x.o\"")?.into();
        let object = self.object(&file).map_err(|(message, help)| {
            Wrong::new(line, format!("program {program}, object {}: {message}", quote(&file)), help)
        })?;
        let name = keys.text("name", "\"steer\"")?;
        let names: Vec<&str> = object.programs.iter().map(|program| program.name.as_str()).collect();
        let found = match &name {
            Some(name) => object.program(name),
            None => object.programs.first().filter(|_| names.len() == 1),
        };
        let spec = found.cloned().ok_or_else(|| {
            let what = match &name {
                Some(name) => format!("program {program}: {} has no program {}", quote(&file), quote(name)),
                None => format!("program {program}: {} has several programs, and name says none of them", quote(&file)),
            };
            Wrong::new(line, what, format!("write name = one of {}", names.join(", ")))
        })?;
        let mut globals = Vec::new();
        let mut tried = None;
        for (global, node) in keys.named("globals", "{ first_port = 8000 }")? {
            let value = bytes(&node, &format!("global {global}"))?;
            // Found out here, for here is the line.
            set(tried.get_or_insert_with(|| Object::clone(&object)), &global, &value)
                .map_err(|error| Wrong::new(node.line, format!("{}: {}", error.place, error.what), error.help))?;
            globals.push((global, value));
        }
        Ok(FromObject { file, spec, globals })
    }

    /// Gives a case the maps that its programs of objects use, filled as it says itself or as its file says, and the
    /// programs that are in these maps.
    pub(super) fn furnish(
        &self,
        case: &mut Case,
        own: Vec<(String, Contents)>,
        shared: &[(String, Contents)],
    ) -> Read<()> {
        let mut files: Vec<Arc<str>> = Vec::new();
        for (_, program) in &case.world.programs {
            if let Program::Object(program) = program
                && !files.contains(&program.file)
            {
                files.push(program.file.clone());
            }
        }
        let mut fill: BTreeMap<&str, &Contents> =
            shared.iter().map(|(name, contents)| (name.as_str(), contents)).collect();
        fill.extend(own.iter().map(|(name, contents)| (name.as_str(), contents)));
        let mut brought: BTreeSet<String> = BTreeSet::new();
        for file in files {
            self.furnish_from(&file, case, &fill, &mut brought)?;
        }
        let Some((name, contents)) = own.iter().find(|(name, _)| !brought.contains(name)) else { return Ok(()) };
        let maps: Vec<&str> = brought.iter().map(String::as_str).collect();
        let help = match maps.is_empty() {
            true => "give it a type: type = \"sockmap\"".to_owned(),
            false => format!("give it a type, or take one that they have: {}", maps.join(", ")),
        };
        let what = format!("map {name} has no type, and no object of the case uses a map of this name");
        Err(Wrong::new(contents.line, what, help))
    }

    fn furnish_from(
        &self,
        file: &Arc<str>,
        case: &mut Case,
        fill: &BTreeMap<&str, &Contents>,
        brought: &mut BTreeSet<String>,
    ) -> Read<()> {
        let line = case.line;
        let object = self.with_globals(file, case)?;
        let used = used(&object, file, case);
        let bytes = |map: &&MapSpec| if let Initial::Value(value) = &map.contents { value.len() } else { 0 };
        let taken: usize = used.maps.iter().filter_map(|name| object.map(name)).map(|map| bytes(&map)).sum();
        let taken = taken
            + used.programs.iter().filter_map(|name| object.program(name)).map(|p| p.insns.len() * 32).sum::<usize>();
        self.allowance.set(self.allowance.get().checked_sub(taken).ok_or_else(|| {
            let what = format!("the cases up to here take more than {} MiB from object files", MAX_BYTES >> 20);
            Wrong::new(line, what, "split the file")
        })?);
        // A map that another object of the case has by this name, too, is told apart by its file.
        let own: BTreeSet<String> = case.world.maps.iter().map(|(name, _)| name.clone()).collect();
        let map_name = |name: &str| match brought.contains(name) {
            true => format!("{file}:{name}"),
            false => name.to_owned(),
        };
        let names: BTreeMap<&str, String> = used.maps.iter().map(|name| (*name, map_name(name))).collect();
        let mut programs: BTreeMap<String, String> = BTreeMap::new();
        for (name, program) in &mut case.world.programs {
            let Program::Object(program) = program else { continue };
            if program.file == *file {
                programs.insert(program.spec.name.clone(), name.clone());
                program.spec.maps.iter_mut().for_each(|map| *map = names[map.as_str()].clone());
            }
        }
        for name in &used.programs {
            let Some(spec) = object.program(name).filter(|_| !programs.contains_key(*name)) else { continue };
            let mut spec = spec.clone();
            spec.maps.iter_mut().for_each(|map| *map = names[map.as_str()].clone());
            let called = format!("{file}:{name}");
            programs.insert((*name).to_owned(), called.clone());
            let program = FromObject { file: file.clone(), spec, globals: Vec::new() };
            case.world.programs.push((called, Program::Object(Box::new(program))));
        }
        for (name, called) in &names {
            brought.insert(called.clone());
            let Some(map) = object.map(name).filter(|_| !own.contains(called)) else { continue };
            let mut contents = initial(map, &names, &programs);
            contents.extend(fill.get(called.as_str()).iter().flat_map(|contents| contents.values.iter().cloned()));
            case.world.maps.push((called.clone(), Map { spec: shape(map), contents }));
        }
        Ok(())
    }

    /// The object with the globals that all programs of the case set.
    fn with_globals(&self, file: &Arc<str>, case: &Case) -> Read<Arc<Object>> {
        let mut object = self.known.borrow()[file].clone();
        let mut said: BTreeMap<&str, &Bytes> = BTreeMap::new();
        for (_, program) in &case.world.programs {
            let Program::Object(program) = program else { continue };
            for (name, value) in program.globals.iter().filter(|_| program.file == *file) {
                if said.insert(name, value).is_some_and(|before| before != value) {
                    let what = format!("global {name} of {} gets two values", quote(file));
                    return Err(Wrong::new(case.line, what, "programs of one object share its globals: say it once"));
                }
                set(Arc::make_mut(&mut object), name, value).expect("it was set before, when the program was read");
            }
        }
        Ok(object)
    }

    fn object(&self, file: &Arc<str>) -> Result<Arc<Object>, (String, String)> {
        if let Some(known) = self.known.borrow().get(file) {
            return Ok(known.clone());
        }
        let help = "name an object file, from the directory of the case file";
        let bytes = (self.read)(file).map_err(|why| (why, help.to_owned()))?;
        let object = Object::parse(&bytes).map_err(|error| (format!("{}: {}", error.place, error.what), error.help))?;
        let object = Arc::new(object);
        self.known.borrow_mut().insert(file.clone(), object.clone());
        Ok(object)
    }
}

/// Sets a global to what a case writes, which is as wide as the global.
fn set(object: &mut Object, global: &str, value: &Bytes) -> Result<(), ObjectError> {
    let width = object.globals.iter().find(|known| known.name == global).map_or(0, |known| known.size as usize);
    object.set_global(global, &value.of_width(width))
}

/// What a case needs of an object.
struct Used<'o> {
    maps: BTreeSet<&'o str>,
    programs: BTreeSet<&'o str>,
}

/// The maps that the programs of a case use, the maps and programs in those, and so on.
fn used<'o>(object: &'o Object, file: &Arc<str>, case: &Case) -> Used<'o> {
    let mut used = Used { maps: BTreeSet::new(), programs: BTreeSet::new() };
    let named = case.world.programs.iter().filter_map(|(_, program)| match program {
        Program::Object(program) if program.file == *file => object.program(&program.spec.name),
        _ => None,
    });
    let mut programs: Vec<_> = named.collect();
    while let Some(program) = programs.pop() {
        used.programs.insert(&program.name);
        let mut maps: Vec<_> = program.maps.iter().filter_map(|name| object.map(name)).collect();
        while let Some(map) = maps.pop() {
            let slots = match &map.contents {
                Initial::Slots(slots) if used.maps.insert(&map.name) => slots,
                _ => {
                    used.maps.insert(&map.name);
                    continue;
                }
            };
            match map.kind {
                MapType::ProgArray => {
                    let others = slots.values().filter_map(|name| object.program(name));
                    programs.extend(others.filter(|program| !used.programs.contains(program.name.as_str())));
                }
                _ => maps.extend(slots.values().filter_map(|name| object.map(name))),
            }
        }
    }
    used
}

/// What an object declares to be in a map, by the names that the case has for it.
fn initial(map: &MapSpec, maps: &BTreeMap<&str, String>, programs: &BTreeMap<String, String>) -> Vec<(Bytes, Value)> {
    let Initial::Slots(slots) = &map.contents else { return Vec::new() };
    let value = |name: &String| match map.kind {
        MapType::ProgArray => Value::Program(programs[name].clone()),
        _ => Value::Map(maps[name.as_str()].clone()),
    };
    slots.iter().map(|(slot, name)| (Bytes::Number((*slot).into()), value(name))).collect()
}

/// The map without what others have to be made for first.
fn shape(map: &MapSpec) -> MapSpec {
    match map.contents {
        Initial::Slots(_) => MapSpec { contents: Initial::Empty, ..map.clone() },
        _ => map.clone(),
    }
}
