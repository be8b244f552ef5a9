//! Maps as the older section `maps` defines them, which aya still writes: a `struct bpf_map_def` for each.
//!
//! ```text
//! u32 type, key_size, value_size, max_entries, map_flags;     20 bytes; aya has id and pinning behind them
//! ```

use super::btf::word;
use super::elf::{Elf, Section};
use super::error::{ObjectError, Result};
use super::features;
use super::maps::{Declared, MAX_MAPS, kind_of};
use crate::spec::{MapFlags, MapSpec};

/// Bytes of the fields that every definition has.
const LEAST: u64 = 20;
/// Where those that have it say how they are to be pinned.
const PINNING: usize = 24;

/// The maps of the section, by where they are.
pub(super) fn declared(elf: &Elf<'_>, section: Section<'_>) -> Result<Vec<Declared>> {
    let bytes = elf.data(section)?;
    let symbols = elf.variables(section);
    if symbols.len() > MAX_MAPS {
        let what = format!("it has {} maps", symbols.len());
        return Err(ObjectError::new("section maps", what, format!("an object has at most {MAX_MAPS}")));
    }
    let mut maps = Vec::new();
    for (name, &(offset, size)) in symbols {
        let place = format!("map {name}");
        if size < LEAST {
            let what = format!("its definition has {size} bytes, and a `struct bpf_map_def` at least {LEAST}");
            return Err(ObjectError::new(place, what, "define it in `.maps`"));
        }
        // Sections have at most as many bytes as the file, which is in memory.
        let bytes = bytes.get(offset as usize..(offset + size) as usize);
        let bytes = bytes.ok_or_else(|| ObjectError::damaged(&place, "its section has no bytes"))?;
        let pinned = word(bytes, PINNING).is_some_and(|pinning| pinning != 0);
        maps.push(Declared::new(name, offset, size, spec(name, bytes, &place), pinned));
    }
    maps.sort_by_key(|map| map.offset);
    Ok(maps)
}

/// Precondition: there are the fields that every definition has.
fn spec(name: &str, bytes: &[u8], place: &str) -> Result<MapSpec> {
    let [kind, key_size, value_size, max_entries, flags] =
        [0, 4, 8, 12, 16].map(|at| word(bytes, at).expect("the definition's length was checked"));
    let kind = kind_of(kind, place)?;
    if kind.holds_maps() {
        return Err(ObjectError::refused(
            &features::LEGACY_MAPS_OF_MAPS,
            place,
            format!("its type is {}", kind.name()),
        ));
    }
    Ok(MapSpec { flags: MapFlags(flags), ..MapSpec::new(name, kind, key_size, value_size, max_entries) })
}
