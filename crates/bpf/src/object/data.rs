//! Globals: each of the sections `.rodata*`, `.data*` and `.bss*` is the one value of an array.

use super::elf::{Elf, Section};
use super::error::{ObjectError, Result};
use crate::spec::{Contents, MapFlags, MapSpec, MapType};

/// The most bytes of globals in a section: the kernel allocates them in one piece.
const MAX_BYTES: u64 = 32 << 20;

/// A global variable of an object, by the section that it is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Global {
    /// Its name. A static variable of a function has that of the function before it: `steer.count`.
    pub name: String,
    /// The map that has it.
    pub map: String,
    /// Where in the map's value, in bytes.
    pub offset: u32,
    /// In bytes.
    pub size: u32,
}

/// Whether a section holds globals.
pub(super) fn holds_globals(name: &str) -> bool {
    [".rodata", ".data", ".bss"]
        .iter()
        .any(|prefix| name.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
}

/// The map of a section, and the variables in it.
pub(super) fn map(elf: &Elf<'_>, section: Section<'_>) -> Result<(MapSpec, Vec<Global>)> {
    let place = format!("section {}", section.name);
    let size = u32::try_from(section.size).ok().filter(|_| section.size <= MAX_BYTES);
    let size = size.ok_or_else(|| {
        let what = format!("it claims {} bytes", section.size);
        ObjectError::new(&place, what, format!("globals have at most {MAX_BYTES} bytes: use a map for more"))
    })?;
    // Zeros need no room here, however many the file claims.
    let contents = if section.is_bss { Contents::Empty } else { Contents::Value(elf.data(section)?.to_vec()) };
    let constant = section.name.starts_with(".rodata");
    let map = MapSpec {
        contents,
        flags: if constant { MapFlags::RDONLY_PROG } else { MapFlags::NONE },
        frozen: constant,
        ..MapSpec::new(section.name, MapType::Array, 4, size, 1)
    };
    let globals = elf.variables(section).iter().map(|(name, &(offset, size))| Global {
        name: (*name).to_owned(),
        map: section.name.to_owned(),
        // Both are within the section, whose size was looked at above.
        offset: offset as u32,
        size: size as u32,
    });
    Ok((map, globals.collect()))
}
