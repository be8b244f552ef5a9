//! The types of an object and what it says about its instructions, and the types as the kernel takes them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::about::{self, About};
use super::btf::{Btf, Type, kind};
use super::elf::{Elf, Section};
use super::error::Result;

/// What the kernel looks for in values, and finds by the types that come with a map. Source: uapi `linux/bpf.h`, the
/// structs that are opaque to programs.
const SPECIAL: [&str; 7] =
    ["bpf_spin_lock", "bpf_res_spin_lock", "bpf_timer", "bpf_wq", "bpf_list_head", "bpf_rb_root", "bpf_refcount"];

/// How deep in a value the kernel finds them.
const DEPTH: usize = 4;

/// Linkage of a function that only its own file may call, and of one that others may.
const STATIC: u32 = 0;
const GLOBAL: u32 = 1;

/// All that `.BTF` and `.BTF.ext` say.
pub(super) struct Types<'a> {
    pub(super) btf: Btf<'a>,
    /// The types, with sizes and offsets that a compiler leaves to the linker.
    pub(super) for_kernel: Arc<[u8]>,
    special: BTreeSet<u32>,
    about: BTreeMap<&'a str, About>,
}

impl<'a> Types<'a> {
    pub(super) fn read(elf: &Elf<'a>, btf: Section<'a>, ext: Option<Section<'a>>) -> Result<Types<'a>> {
        let btf = Btf::parse(elf.data(btf)?)?;
        let about = match ext {
            Some(ext) => about::parse(elf.data(ext)?, &btf)?,
            None => BTreeMap::new(),
        };
        Ok(Types { for_kernel: for_kernel(&btf, elf)?, special: special(&btf)?, btf, about })
    }

    /// What is said about the instructions of a section.
    pub(super) fn about(&self, section: &str) -> Option<&About> {
        self.about.get(section)
    }

    /// Whether the kernel has to know this type, of a value.
    pub(super) fn is_special(&self, number: u32) -> Result<bool> {
        Ok(!self.special.is_empty() && self.special.contains(&self.btf.number_of(number)?))
    }
}

/// The structs that are special, or have one that is in them.
fn special(btf: &Btf<'_>) -> Result<BTreeSet<u32>> {
    let structs = || btf.types().filter(|(_, ty)| ty.kind == kind::STRUCT);
    let named = |ty: Type| btf.name(ty).is_ok_and(|name| SPECIAL.contains(&name));
    let mut found: BTreeSet<u32> = structs().filter(|(_, ty)| named(*ty)).map(|(number, _)| number).collect();
    for _ in 0..DEPTH {
        if found.is_empty() {
            break;
        }
        let mut around = Vec::new();
        for (number, ty) in structs() {
            for member in btf.members(ty) {
                if found.contains(&btf.number_of(member?.kind)?) {
                    around.push(number);
                }
            }
        }
        found.extend(around);
    }
    Ok(found)
}

/// The section, with what the linker has to put in: where variables are, how large their sections, and that hidden
/// functions are nobody else's.
fn for_kernel(btf: &Btf<'_>, elf: &Elf<'_>) -> Result<Arc<[u8]>> {
    let mut bytes = btf.bytes().to_vec();
    let mut put = |at: usize, value: u32| bytes[at..at + 4].copy_from_slice(&value.to_ne_bytes());
    let mut sections = BTreeMap::new();
    for section in elf.sections() {
        let section = section?;
        sections.entry(section.name).or_insert(section);
    }
    let mut hidden = BTreeSet::new();
    for symbol in elf.symbols() {
        let symbol = symbol?;
        if symbol.is_function && symbol.hidden {
            hidden.insert(symbol.name);
        }
    }
    for (_, ty) in btf.types() {
        let name = btf.name(ty)?;
        if ty.kind == kind::FUNC && ty.count == GLOBAL as usize && hidden.contains(name) {
            // The word has the kind in its upper byte, and below the linkage where other kinds have a count.
            put(ty.at + 4, u32::from(kind::FUNC) << 24 | STATIC);
        }
        let Some(section) = sections.get(name).filter(|_| ty.kind == kind::DATASEC) else { continue };
        let Ok(size) = u32::try_from(section.size) else { continue };
        put(ty.at + 8, size);
        let symbols = elf.variables(*section);
        let mut variables = Vec::new();
        for variable in btf.variables(ty) {
            let variable = variable?;
            let at = symbols.get(variable.name).map_or(0, |(offset, _)| *offset as u32);
            variables.push([variable.number, at, variable.size]);
        }
        // The kernel wants them in the order of their offsets.
        variables.sort_unstable_by_key(|[_, at, _]| *at);
        for (index, field) in variables.into_iter().flatten().enumerate() {
            put(ty.at + Type::HEAD + index * 4, field);
        }
    }
    Ok(bytes.into())
}
