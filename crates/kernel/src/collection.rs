//! A whole object in the kernel: its maps, filled as it declares them, and its programs.

use std::collections::BTreeMap;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};

use sklookup_bpf::object::Object;
use sklookup_bpf::{Contents, MapType, ProgramSpec};

use crate::error::{Error, Result};
use crate::map::Map;
use crate::program::{LoadError, Program};

/// The maps and programs of an object, by name. Nothing of it is pinned: it lives as long as this, and what is attached.
#[derive(Debug)]
pub struct Collection {
    maps: BTreeMap<String, Map>,
    programs: BTreeMap<String, Program>,
}

/// Why an object was not loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CollectionError {
    /// A map could not be created or filled.
    Map(Error),
    /// A program was refused.
    Program(LoadError),
}

impl Collection {
    /// Creates all maps of an object, fills them, and loads all its programs.
    ///
    /// # Errors
    /// As [`Map::create`], [`Map::update_map`], [`Map::update_program`] and [`Program::load`].
    pub fn load(object: &Object) -> std::result::Result<Collection, CollectionError> {
        Collection::load_with(object, BTreeMap::new())
    }

    /// The same with maps that are there already in the place of those of their names: they are not filled. Whether they
    /// are of the same shape is for the caller to know, and for the kernel to refuse.
    ///
    /// # Errors
    /// As [`Collection::load`].
    pub fn load_with(
        object: &Object,
        given: BTreeMap<String, Map>,
    ) -> std::result::Result<Collection, CollectionError> {
        let ours: Vec<_> = object.maps.iter().filter(|map| !given.contains_key(&map.name)).collect();
        let mut collection = Collection { maps: given, programs: BTreeMap::new() };
        for map in &ours {
            collection.maps.insert(map.name.clone(), Map::create(map)?);
        }
        for map in ours.iter().filter(|map| map.kind.holds_maps()) {
            collection.fill(&map.name, &map.contents)?;
        }
        for program in &object.programs {
            let loaded = Program::load(program, &collection.maps_of(program))?;
            collection.programs.insert(program.name.clone(), loaded);
        }
        for map in ours.iter().filter(|map| !map.kind.holds_maps()) {
            collection.fill(&map.name, &map.contents)?;
        }
        Ok(collection)
    }

    /// The map of this name.
    pub fn map(&self, name: &str) -> Option<&Map> {
        self.maps.get(name)
    }

    /// All its maps, by name.
    pub fn maps(&self) -> &BTreeMap<String, Map> {
        &self.maps
    }

    /// The program of this name.
    pub fn program(&self, name: &str) -> Option<&Program> {
        self.programs.get(name)
    }

    /// The maps of a program, as [`Program::load`] takes them.
    fn maps_of(&self, program: &ProgramSpec) -> Vec<BorrowedFd<'_>> {
        program.maps.iter().filter_map(|name| self.maps.get(name)).map(AsFd::as_fd).collect()
    }

    /// Puts in the programs or maps that a map is declared with.
    fn fill(&self, map: &str, contents: &Contents) -> Result<()> {
        let Contents::Slots(slots) = contents else { return Ok(()) };
        let map = &self.maps[map];
        for (&slot, name) in slots {
            match self.maps.get(name).filter(|_| !map.info().is(MapType::ProgArray)) {
                Some(inner) => map.update_map(&slot.to_ne_bytes(), inner, 0)?,
                None => {
                    let program = self.programs.get(name).expect("an object has all that its maps are declared with");
                    map.update_program(slot, program, 0)?;
                }
            }
        }
        Ok(())
    }
}

impl fmt::Display for CollectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CollectionError::Map(error) => error.fmt(f),
            CollectionError::Program(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for CollectionError {}

impl From<Error> for CollectionError {
    fn from(error: Error) -> CollectionError {
        CollectionError::Map(error)
    }
}

impl From<LoadError> for CollectionError {
    fn from(error: LoadError) -> CollectionError {
        CollectionError::Program(error)
    }
}
