//! Which sections an object has, by what they are to us.

use super::data;
use super::elf::{Elf, Section};
use super::error::{ObjectError, Result};
use crate::spec::ProgramType;

/// What a section is to us.
pub(super) enum Role {
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
    pub(super) fn of(section: Section<'_>) -> Role {
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

/// The sections of an object that matter, by what they are.
#[derive(Default)]
pub(super) struct Sections<'a> {
    pub(super) code: Vec<Section<'a>>,
    pub(super) license: Option<Section<'a>>,
    pub(super) maps: Option<Section<'a>>,
    pub(super) older_maps: Vec<Section<'a>>,
    pub(super) globals: Vec<Section<'a>>,
    pub(super) types: Option<Section<'a>>,
    pub(super) about_types: Option<Section<'a>>,
}

impl<'a> Sections<'a> {
    pub(super) fn sort(elf: &Elf<'a>) -> Result<Sections<'a>> {
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
