//! The container: sections, symbols and relocations of an ELF file, each checked against the bytes that are there.
//!
//! Offsets and lengths in the file are claims. What is read is charged to an allowance of as many bytes as the file has:
//! in a file that a compiler wrote no two sections share bytes, so a small file can't be made to stand for a large one.

use std::cell::Cell;
use std::collections::BTreeMap;

use object::NativeEndian;
use object::elf::{self, FileHeader64, Rel64, SectionHeader64, Sym64};
use object::read::elf::{FileHeader, Rel, SectionHeader, Sym};

use super::error::{ObjectError, Result};
use super::features;

type Header = FileHeader64<NativeEndian>;

/// The longest name that is looked at, in bytes: mangled names of Rust have some hundred.
const MAX_NAME: usize = 1024;

const FILE: &str = "the file";

/// An ELF file for BPF, in the host's byte order.
pub(super) struct Elf<'a> {
    bytes: &'a [u8],
    sections: &'a [SectionHeader64<NativeEndian>],
    section_names: &'a [u8],
    symbols: &'a [Sym64<NativeEndian>],
    symbol_names: &'a [u8],
    /// Offset and size of the variables of each section, by name.
    variables: BTreeMap<usize, BTreeMap<&'a str, (u64, u64)>>,
    /// Index of the section with the relocations of a section.
    relocations: BTreeMap<usize, usize>,
    /// Bytes that may still be read.
    allowance: Cell<u64>,
}

/// A section.
#[derive(Clone, Copy, Debug)]
pub(super) struct Section<'a> {
    pub(super) index: usize,
    pub(super) name: &'a str,
    pub(super) size: u64,
    /// It holds instructions.
    pub(super) executable: bool,
    /// It is all zeros and has no bytes in the file.
    pub(super) is_bss: bool,
}

/// Where a symbol is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    /// In this section.
    Section(usize),
    /// Not in this file.
    Nowhere,
    /// Somewhere that objects of BPF have no use for (a common or an absolute symbol).
    Elsewhere,
}

/// A symbol.
#[derive(Clone, Copy, Debug)]
pub(super) struct Symbol<'a> {
    /// Empty for the symbol that stands for a section.
    pub(super) name: &'a str,
    pub(super) at: At,
    /// Offset in its section, in bytes.
    pub(super) value: u64,
    /// In bytes.
    pub(super) size: u64,
    pub(super) is_function: bool,
    pub(super) is_object: bool,
    /// It is static.
    pub(super) is_local: bool,
    /// Other objects that it is linked with may not refer to it.
    pub(super) hidden: bool,
}

/// A place that the linker, here the loader, has to fill in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Relocation {
    /// Offset in the section, in bytes.
    pub(super) offset: u64,
    /// Index of the symbol.
    pub(super) symbol: usize,
    /// `R_BPF_*`.
    pub(super) kind: u32,
}

impl<'a> Elf<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Elf<'a>> {
        identify(bytes)?;
        let damaged = |error: object::read::Error| ObjectError::damaged(FILE, lower(&error.to_string()));
        let header = Header::parse(bytes).map_err(damaged)?;
        let (machine, kind) = (header.e_machine(NativeEndian), header.e_type(NativeEndian));
        if machine != elf::EM_BPF {
            let what = format!("it is for machine {}, not for BPF ({})", machine.0, elf::EM_BPF.0);
            return Err(ObjectError::new(FILE, what, "compile with `clang -target bpf`"));
        }
        if kind != elf::ET_REL {
            let what = format!("it is of type {}, not relocatable ({})", kind.0, elf::ET_REL.0);
            return Err(ObjectError::new(FILE, what, "compile with `clang -target bpf -c`, and don't link"));
        }
        let sections = header.section_headers(NativeEndian, bytes).map_err(damaged)?;
        let names = header.section_strings_index(NativeEndian, bytes).map_err(damaged)?;
        let mut elf = Elf {
            bytes,
            sections,
            section_names: &[],
            symbols: &[],
            symbol_names: &[],
            variables: BTreeMap::new(),
            relocations: BTreeMap::new(),
            allowance: Cell::new(bytes.len() as u64),
        };
        elf.section_names = elf.strings(names.0)?;
        elf.check_ranges()?;
        elf.read_symbols()?;
        elf.find_variables()?;
        elf.find_relocations()?;
        Ok(elf)
    }

    /// The sections in their order, without the first one, which is none.
    pub(super) fn sections(&self) -> impl Iterator<Item = Result<Section<'a>>> {
        (1..self.sections.len()).map(|index| self.section(index))
    }

    pub(super) fn section(&self, index: usize) -> Result<Section<'a>> {
        let header = self.header(index)?;
        let kind = header.sh_type(NativeEndian);
        let name = name(self.section_names, header.sh_name(NativeEndian), || format!("section {index}"))?;
        let executable = kind == elf::SHT_PROGBITS && header.sh_flags(NativeEndian).contains(elf::SHF_EXECINSTR);
        let is_bss = kind == elf::SHT_NOBITS;
        Ok(Section { index, name, size: header.sh_size(NativeEndian), executable, is_bss })
    }

    /// The bytes of a section. Each section is read once.
    pub(super) fn data(&self, section: Section<'a>) -> Result<&'a [u8]> {
        self.bytes_of(section.index, || format!("section {}", section.name))
    }

    pub(super) fn symbols(&self) -> impl Iterator<Item = Result<Symbol<'a>>> {
        (0..self.symbols.len()).map(|index| self.symbol(index))
    }

    pub(super) fn symbol(&self, index: usize) -> Result<Symbol<'a>> {
        let place = || format!("symbol {index}");
        let symbol = self.symbols.get(index).ok_or_else(|| {
            ObjectError::damaged(place(), format!("it is named, and the file has {}", self.symbols.len()))
        })?;
        let section = symbol.st_shndx(NativeEndian);
        let at = match section.index() {
            _ if symbol.is_undefined(NativeEndian) => At::Nowhere,
            Some(index) if usize::from(index) < self.sections.len() => At::Section(index.into()),
            Some(index) => {
                let what = format!("it is in section {index}, and the file has {}", self.sections.len());
                return Err(ObjectError::damaged(place(), what));
            }
            None => At::Elsewhere,
        };
        let kind = symbol.st_type();
        let visibility = symbol.st_visibility();
        Ok(Symbol {
            name: name(self.symbol_names, symbol.st_name(NativeEndian), place)?,
            at,
            value: symbol.st_value(NativeEndian),
            size: symbol.st_size(NativeEndian),
            is_function: kind == elf::STT_FUNC,
            is_object: kind == elf::STT_OBJECT,
            is_local: symbol.st_bind() == elf::STB_LOCAL,
            hidden: visibility == elf::STV_HIDDEN || visibility == elf::STV_INTERNAL,
        })
    }

    /// The variables of a section by name: offset and size, both within the section.
    pub(super) fn variables(&self, section: Section<'_>) -> &BTreeMap<&'a str, (u64, u64)> {
        static NONE: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
        self.variables.get(&section.index).unwrap_or(&NONE)
    }

    /// Whether a section has relocations.
    pub(super) fn has_relocations(&self, section: Section<'a>) -> bool {
        self.relocations.contains_key(&section.index)
    }

    /// The relocations of a section, sorted by offset. They are read once.
    pub(super) fn relocations(&self, section: Section<'a>) -> Result<Vec<Relocation>> {
        let Some(&index) = self.relocations.get(&section.index) else { return Ok(Vec::new()) };
        let place = || format!("the relocations of section {}", section.name);
        let entries: &[Rel64<NativeEndian>] = whole(self.bytes_of(index, place)?, place)?;
        let mut relocations: Vec<Relocation> = entries
            .iter()
            .map(|entry| Relocation {
                offset: entry.r_offset(NativeEndian),
                symbol: entry.r_sym(NativeEndian) as usize,
                kind: entry.r_type(NativeEndian).0,
            })
            .collect();
        relocations.sort_by_key(|relocation| relocation.offset);
        Ok(relocations)
    }

    /// Whether every section is within the file, used or not.
    fn check_ranges(&self) -> Result<()> {
        for section in self.sections() {
            let section = section?;
            let header = self.header(section.index)?;
            if header.data(NativeEndian, self.bytes).is_err() {
                return Err(past_the_end(format!("section {}", section.name), header, self.bytes));
            }
        }
        Ok(())
    }

    fn read_symbols(&mut self) -> Result<()> {
        let is_table = |section: &&SectionHeader64<NativeEndian>| section.sh_type(NativeEndian) == elf::SHT_SYMTAB;
        let Some(index) = self.sections.iter().position(|section| is_table(&section)) else { return Ok(()) };
        let place = || "the symbol table".to_owned();
        self.symbols = whole(self.bytes_of(index, place)?, place)?;
        self.symbol_names = self.strings(self.sections[index].sh_link(NativeEndian) as usize)?;
        Ok(())
    }

    fn find_variables(&mut self) -> Result<()> {
        for index in 0..self.symbols.len() {
            let symbol = self.symbol(index)?;
            let At::Section(section) = symbol.at else { continue };
            if !symbol.is_object || section == 0 {
                continue;
            }
            let section = self.section(section)?;
            if symbol.value.checked_add(symbol.size).is_none_or(|end| end > section.size) {
                let what = format!("it ends after the end of section {}", section.name);
                return Err(ObjectError::damaged(format!("symbol {}", symbol.name), what));
            }
            self.variables.entry(section.index).or_default().insert(symbol.name, (symbol.value, symbol.size));
        }
        Ok(())
    }

    fn find_relocations(&mut self) -> Result<()> {
        for (index, section) in self.sections.iter().enumerate() {
            let kind = section.sh_type(NativeEndian);
            let of = section.sh_info(NativeEndian) as usize;
            if kind == elf::SHT_RELA && self.section(of).is_ok_and(|section| !section.name.starts_with('.')) {
                let what = "its relocations have addends of their own (SHT_RELA)";
                return Err(ObjectError::new(
                    format!("section {of}"),
                    what,
                    "compile with clang, which writes SHT_REL for BPF",
                ));
            }
            if kind == elf::SHT_REL && self.relocations.insert(of, index).is_some() {
                return Err(ObjectError::damaged(format!("section {of}"), "two sections have its relocations"));
            }
        }
        Ok(())
    }

    fn header(&self, index: usize) -> Result<&'a SectionHeader64<NativeEndian>> {
        self.sections.get(index).filter(|_| index != 0).ok_or_else(|| {
            let what = format!("it is named, and the file has {}", self.sections.len());
            ObjectError::damaged(format!("section {index}"), what)
        })
    }

    /// The section of strings of this index, which symbols and sections may share.
    fn strings(&self, index: usize) -> Result<&'a [u8]> {
        if index == 0 {
            return Ok(&[]);
        }
        let header = self.header(index)?;
        header.data(NativeEndian, self.bytes).map_err(|_| past_the_end(format!("section {index}"), header, self.bytes))
    }

    fn bytes_of(&self, index: usize, place: impl Fn() -> String) -> Result<&'a [u8]> {
        let header = self.header(index)?;
        let data = header.data(NativeEndian, self.bytes);
        let data = data.map_err(|_| past_the_end(place(), header, self.bytes))?;
        let left = self.allowance.get().checked_sub(data.len() as u64);
        let left = left.ok_or_else(|| {
            ObjectError::damaged(place(), "with it, the sections that are used have more bytes than the file")
        })?;
        self.allowance.set(left);
        Ok(data)
    }
}

/// Whether this is an ELF file of 64 bits in the host's byte order.
fn identify(bytes: &[u8]) -> Result<()> {
    if !bytes.starts_with(&elf::ELFMAG) {
        return Err(ObjectError::new(FILE, "it is no ELF file", "compile one with `clang -target bpf -c`"));
    }
    let (Some(&class), Some(&order)) = (bytes.get(4), bytes.get(5)) else {
        return Err(ObjectError::damaged(FILE, "it ends in the middle of its header"));
    };
    if class != elf::ELFCLASS64.0 {
        return Err(ObjectError::new(FILE, "it is an ELF file of 32 bits", "compile with `clang -target bpf`"));
    }
    let (own, foreign) = if cfg!(target_endian = "little") { ("little", "big") } else { ("big", "little") };
    let native = if cfg!(target_endian = "little") { elf::ELFDATA2LSB } else { elf::ELFDATA2MSB };
    if order != native.0 {
        let what = format!("it is {foreign}-endian and this machine {own}-endian");
        return Err(ObjectError::refused(&features::FOREIGN_ENDIAN, FILE, what));
    }
    Ok(())
}

/// The entries of a table that has no bytes left over.
fn whole<T: object::pod::Pod>(bytes: &[u8], place: impl Fn() -> String) -> Result<&[T]> {
    object::pod::slice_from_all_bytes(bytes).map_err(|()| {
        let what = format!("it has {} bytes, which is no multiple of {}", bytes.len(), size_of::<T>());
        ObjectError::damaged(place(), what)
    })
}

fn past_the_end(place: String, header: &SectionHeader64<NativeEndian>, bytes: &[u8]) -> ObjectError {
    let (offset, size) = (header.sh_offset(NativeEndian), header.sh_size(NativeEndian));
    let what = format!("it claims {size} bytes from byte {offset} on, and the file has {}", bytes.len());
    ObjectError::damaged(place, what)
}

fn name(strings: &[u8], at: u32, place: impl Fn() -> String) -> Result<&str> {
    if at == 0 {
        return Ok("");
    }
    text(strings, at).ok_or_else(|| {
        ObjectError::damaged(
            place(),
            format!("its name, at byte {at} of the names, is no text of up to {MAX_NAME} bytes"),
        )
    })
}

/// The text that begins at this byte and ends with a zero.
pub(super) fn text(strings: &[u8], at: u32) -> Option<&str> {
    let rest = strings.get(at as usize..)?;
    let rest = &rest[..rest.len().min(MAX_NAME)];
    let end = rest.iter().position(|byte| *byte == 0)?;
    std::str::from_utf8(&rest[..end]).ok()
}

/// The sentence with its first letter small, as messages here are.
fn lower(sentence: &str) -> String {
    let mut chars = sentence.chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}
