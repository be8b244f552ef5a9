//! What is where: the maps and the globals of an object, by section and byte.

use std::collections::{BTreeMap, BTreeSet};

use super::features::{self, Feature};

/// Where the things are that instructions refer to.
#[derive(Debug, Default)]
pub(super) struct Layout {
    /// Maps, by section and the byte where their definition begins.
    pub(super) maps: BTreeMap<(usize, u64), usize>,
    /// Sections that define maps.
    pub(super) map_sections: BTreeSet<usize>,
    /// The map of the globals in a section.
    pub(super) globals: BTreeMap<usize, usize>,
    /// Names of what the kernel has, by the section of BTF that they stand in.
    pub(super) externs: BTreeMap<String, &'static Feature>,
}

/// What is at a byte of a section that defines maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MapAt {
    /// The definition of this map begins there.
    Map(usize),
    /// None does.
    None,
    /// The section has no maps.
    OtherSection,
}

impl Layout {
    pub(super) fn map_at(&self, section: usize, offset: Option<u64>) -> MapAt {
        if !self.map_sections.contains(&section) {
            return MapAt::OtherSection;
        }
        offset.and_then(|offset| self.maps.get(&(section, offset))).map_or(MapAt::None, |map| MapAt::Map(*map))
    }

    pub(super) fn globals_of(&self, section: usize) -> Option<usize> {
        self.globals.get(&section).copied()
    }

    /// Which feature a symbol that is not in the file asks for.
    pub(super) fn extern_kind(&self, name: &str) -> &'static Feature {
        self.externs.get(name).copied().unwrap_or(&features::EXTERN)
    }
}
