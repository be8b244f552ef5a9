//! Maps as `.maps` defines them: a variable for each, whose type has the numbers as lengths of arrays.
//!
//! ```text
//! struct {
//!     int (*type)[BPF_MAP_TYPE_SOCKMAP];     a number: a pointer to an array of so many
//!     int (*max_entries)[2];
//!     u32 *key;                              a type: a pointer to it
//!     u64 *value;
//! } sockets SEC(".maps");
//! ```

use std::collections::BTreeMap;

use super::btf::{Btf, Member, Type, kind};
use super::elf::{At, Elf, Relocation, Section};
use super::error::{ObjectError, Result};
use super::features;
use super::types::Types;
use crate::spec::{Contents, MapBtf, MapFlags, MapSpec, MapType, map_kind};

/// The most maps of an object. A program may use 64.
pub(super) const MAX_MAPS: usize = 1024;
/// The most fields of a definition: there are ten different ones.
const MAX_FIELDS: usize = 32;
/// `R_BPF_64_ABS64`: the address of a symbol, in data.
const ABS64: u32 = 2;
/// Bytes of an address in `values`.
const ADDRESS: u64 = 8;

/// A map that the object defines.
#[derive(Debug)]
pub(super) struct Declared {
    pub(super) name: String,
    /// Where its definition is, in bytes of the section.
    pub(super) offset: u64,
    /// Bytes of the definition.
    pub(super) size: u64,
    /// What to create, or why it can't be, which matters if a program uses it.
    pub(super) spec: Result<MapSpec>,
    /// It asks to be pinned.
    pub(super) pinned: bool,
    /// Where the first of its initial values is, in bytes from the beginning of its definition.
    values: Option<u64>,
}

impl Declared {
    /// A map without initial values.
    pub(super) fn new(name: &str, offset: u64, size: u64, spec: Result<MapSpec>, pinned: bool) -> Declared {
        Declared { name: name.to_owned(), offset, size, spec, pinned, values: None }
    }
}

/// The maps of `.maps`, by where they are.
pub(super) fn declared(elf: &Elf<'_>, section: Section<'_>, types: Option<&Types<'_>>) -> Result<Vec<Declared>> {
    let place = "section .maps";
    let without = || ObjectError::new(place, "there is no BTF to say what the maps are", "compile with `-g`");
    let types = types.ok_or_else(without)?;
    let btf = &types.btf;
    let variables = btf.section(".maps").ok_or_else(without)?;
    if variables.count > MAX_MAPS {
        let what = format!("it has {} maps", variables.count);
        return Err(ObjectError::new(place, what, format!("an object has at most {MAX_MAPS}")));
    }
    let symbols = elf.variables(section);
    let mut maps = Vec::new();
    for variable in btf.variables(variables) {
        let variable = variable?;
        let place = format!("map {}", variable.name);
        let &(offset, size) = symbols
            .get(variable.name)
            .ok_or_else(|| ObjectError::damaged(&place, "no symbol of section .maps has its name"))?;
        let ty = btf.resolve(variable.kind)?;
        let read = Definition::read(btf, ty, &place, true);
        let (spec, pinned, values) = match read {
            Ok(definition) => {
                let spec = definition.spec(variable.name, types, &place);
                (spec, definition.pinning, definition.values)
            }
            Err(error) => (Err(error), false, None),
        };
        maps.push(Declared { values, ..Declared::new(variable.name, offset, size, spec, pinned) });
    }
    maps.sort_by_key(|map| map.offset);
    fill(elf, section, &mut maps)?;
    Ok(maps)
}

/// Puts what `values` is declared with into the maps.
fn fill(elf: &Elf<'_>, section: Section<'_>, maps: &mut [Declared]) -> Result<()> {
    let names: BTreeMap<u64, String> = maps.iter().map(|map| (map.offset, map.name.clone())).collect();
    for relocation in elf.relocations(section)? {
        let after = maps.partition_point(|map| map.offset <= relocation.offset);
        let symbol = elf.symbol(relocation.symbol)?;
        let target = match symbol.at {
            _ if symbol.is_function => symbol.name.to_owned(),
            At::Section(index) if index == section.index => names.get(&symbol.value).cloned().unwrap_or_default(),
            _ => String::new(),
        };
        let map = after.checked_sub(1).map(|index| &mut maps[index]);
        let map = map.filter(|map| relocation.offset - map.offset < map.size).ok_or_else(|| {
            ObjectError::damaged("section .maps", format!("a relocation at byte {} is in no map", relocation.offset))
        })?;
        let place = format!("map {}", map.name);
        let slot = slot(map, relocation)
            .ok_or_else(|| ObjectError::damaged(&place, "it has an initial value outside of `values`"))?;
        let Ok(spec) = &mut map.spec else { continue };
        let fits = if symbol.is_function { spec.kind == MapType::ProgArray } else { spec.kind.holds_maps() };
        if !fits || target.is_empty() {
            let what =
                format!("its initial value {slot} is {}, which type {} can't hold", symbol.name, spec.kind.name());
            return Err(ObjectError::new(place, what, "put the address of a map of `.maps` or of a program there"));
        }
        if slot >= spec.max_entries {
            let what = format!("it has an initial value {slot} and {} entries", spec.max_entries);
            return Err(ObjectError::new(place, what, "write a larger max_entries"));
        }
        match &mut spec.contents {
            Contents::Slots(slots) => drop(slots.insert(slot, target)),
            contents => *contents = Contents::Slots([(slot, target)].into()),
        }
    }
    Ok(())
}

/// Which of the initial values a relocation is.
fn slot(map: &Declared, relocation: Relocation) -> Option<u32> {
    let within = (relocation.offset - map.offset).checked_sub(map.values?)?;
    let whole = relocation.kind == ABS64 && within.is_multiple_of(ADDRESS);
    if whole { u32::try_from(within / ADDRESS).ok() } else { None }
}

/// The fields of a definition, as far as they are there.
#[derive(Debug, Default)]
struct Definition {
    kind: Option<u32>,
    key_size: Option<u32>,
    value_size: Option<u32>,
    max_entries: Option<u32>,
    flags: u32,
    pinning: bool,
    /// Types of key and value.
    types: [Option<u32>; 2],
    inner: Option<Box<Definition>>,
    values: Option<u64>,
}

impl Definition {
    /// `outer`: it may have maps in it.
    fn read(btf: &Btf<'_>, ty: Type, place: &str, outer: bool) -> Result<Definition> {
        if ty.kind != kind::STRUCT || ty.count > MAX_FIELDS {
            let what = format!("its type is no struct of up to {MAX_FIELDS} fields");
            return Err(ObjectError::new(place, what, "define it as in docs/objects.md"));
        }
        let mut read = Definition::default();
        for member in btf.members(ty) {
            let member = member?;
            match member.name {
                "type" => read.kind = Some(number(btf, member, place)?),
                "max_entries" => read.max_entries = Some(number(btf, member, place)?),
                "map_flags" => read.flags = number(btf, member, place)?,
                "pinning" => read.pinning = number(btf, member, place)? != 0,
                "key_size" => agree(&mut read.key_size, number(btf, member, place)?, member, place)?,
                "value_size" => agree(&mut read.value_size, number(btf, member, place)?, member, place)?,
                "key" => {
                    let (ty, size) = size_of_pointee(btf, member, place)?;
                    read.types[0] = Some(ty);
                    agree(&mut read.key_size, size, member, place)?;
                }
                "value" => {
                    let (ty, size) = size_of_pointee(btf, member, place)?;
                    read.types[1] = Some(ty);
                    agree(&mut read.value_size, size, member, place)?;
                }
                "values" if outer => {
                    read.values = Some(u64::from(member.offset / 8));
                    let held = held(btf, member, place)?;
                    // Programs have a type, too, but any program may be there.
                    if held.kind != kind::FUNC_PROTO {
                        let place = format!("{place}, its inner maps");
                        read.inner = Some(Box::new(Definition::read(btf, held, &place, false)?));
                    }
                }
                other => {
                    let what = format!("it has a field {other}");
                    return Err(ObjectError::refused(&features::MAP_FIELDS, place, what));
                }
            }
        }
        Ok(read)
    }

    fn spec(&self, name: &str, types: &Types<'_>, place: &str) -> Result<MapSpec> {
        let missing = |field| ObjectError::new(place, format!("{field} is missing"), "write it into the definition");
        let number = self.kind.ok_or_else(|| missing("type"))?;
        let kind = kind_of(number, place)?;
        let max_entries = self.max_entries.ok_or_else(|| missing("max_entries"))?;
        // What is in there has 4 bytes in the kernel's eyes, whatever it is.
        let slots = kind.holds_maps() || kind == MapType::ProgArray;
        let value_size = if slots { Some(self.value_size.unwrap_or(4)) } else { self.value_size };
        let keyless = kind == MapType::Ringbuf;
        let key_size = self.key_size.or(keyless.then_some(0)).ok_or_else(|| missing("key or key_size"))?;
        let value_size = value_size.or(keyless.then_some(0)).ok_or_else(|| missing("value or value_size"))?;
        let inner = match &self.inner {
            Some(inner) => Some(Box::new(inner.spec(&format!("{name}.inner"), types, place)?)),
            None if kind.holds_maps() => return Err(missing("values, with the type of the inner maps,")),
            None => None,
        };
        if inner.is_some() && !kind.holds_maps() {
            let what = format!("its type is {}, and it has maps as its values", kind.name());
            return Err(ObjectError::new(place, what, "make its type an array or a hash of maps"));
        }
        let btf = match self.types {
            [Some(key), Some(value)] if types.is_special(value)? => {
                Some(MapBtf { types: types.for_kernel.clone(), key, value })
            }
            _ => None,
        };
        let shape = MapSpec::new(name, kind, key_size, value_size, max_entries);
        Ok(MapSpec { flags: MapFlags(self.flags), inner, btf, ..shape })
    }
}

/// The type of this number, if maps of it are supported.
pub(super) fn kind_of(number: u32, place: &str) -> Result<MapType> {
    let known = map_kind(number);
    known.and_then(|known| known.kind.ok()).ok_or_else(|| {
        let what = match known {
            Some(known) => format!("its type is {}", known.name),
            None => format!("its type is {number}, which no kernel is known to have"),
        };
        ObjectError::refused(&features::MAP_TYPES, place, what)
    })
}

/// A number is the length of the array that a field points to.
fn number(btf: &Btf<'_>, member: Member<'_>, place: &str) -> Result<u32> {
    match btf.pointee(member.kind)? {
        Some(ty) if ty.kind == kind::ARRAY => Ok(btf.array(ty).count),
        _ => Err(ObjectError::new(
            place,
            format!("its field {} is no number", member.name),
            format!("write `int (*{})[NUMBER]`, or __uint of <bpf/bpf_helpers.h>", member.name),
        )),
    }
}

fn size_of_pointee(btf: &Btf<'_>, member: Member<'_>, place: &str) -> Result<(u32, u32)> {
    let pointer = btf.resolve(member.kind)?;
    if pointer.kind != kind::PTR {
        let what = format!("its field {} is no type", member.name);
        let help = format!("write `TYPE *{}`, or __type of <bpf/bpf_helpers.h>", member.name);
        return Err(ObjectError::new(place, what, help));
    }
    let size = btf.size_of(pointer.size_or_type)?;
    match u32::try_from(size) {
        Ok(size) => Ok((pointer.size_or_type, size)),
        Err(_) => {
            let what = format!("its {} has {size} bytes", member.name);
            Err(ObjectError::new(place, what, "no map has a key or value above 4 GiB: make it smaller"))
        }
    }
}

/// What `values` is an array of pointers to.
fn held(btf: &Btf<'_>, member: Member<'_>, place: &str) -> Result<Type> {
    let wrong = || {
        let what = "its field values is no array of pointers to maps or programs";
        ObjectError::new(place, what, "write `TYPE *values[]`, or __array of <bpf/bpf_helpers.h>")
    };
    let array = btf.resolve(member.kind)?;
    if array.kind != kind::ARRAY {
        return Err(wrong());
    }
    btf.pointee(btf.array(array).element)?
        .filter(|held| matches!(held.kind, kind::STRUCT | kind::FUNC_PROTO))
        .ok_or_else(wrong)
}

/// A size may be said twice, by itself and by a type, if both say the same.
fn agree(size: &mut Option<u32>, said: u32, member: Member<'_>, place: &str) -> Result<()> {
    match *size {
        Some(before) if before != said => {
            let what = format!("its {} says {said} bytes, and another field {before}", member.name);
            Err(ObjectError::new(place, what, "leave one of them out"))
        }
        _ => {
            *size = Some(said);
            Ok(())
        }
    }
}
