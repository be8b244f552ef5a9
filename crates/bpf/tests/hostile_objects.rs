//! Objects that no compiler wrote: damaged in every way that comes cheap, and forged to cost much. None may panic, and none may
//! take more than a moment or more memory than the file is worth.

mod built;

use std::time::{Duration, Instant};

use built::{directory, of_every_build};
use sklookup_bpf::object::{MAX_BYTES, Object, ObjectError};

fn bytes(name: &str) -> Vec<u8> {
    let path = directory().join(format!("clang-19-v3/{name}.o"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

const NAMES: [&str; 9] = ["assign", "prefixes", "stages", "callbacks", "tenants", "members", "lock", "legacy", "mixed"];

/// What is wrong with these bytes.
fn wrong(bytes: &[u8]) -> ObjectError {
    let begin = Instant::now();
    let error = Object::parse(bytes).unwrap_err();
    assert!(begin.elapsed() < Duration::from_secs(5), "{error} took {:?}", begin.elapsed());
    error
}

/// The number that ELF has at this byte of the header of this section, of so many bytes.
struct Field {
    at: usize,
    size: usize,
}

const NAME: Field = Field { at: 0, size: 4 };
const TYPE: Field = Field { at: 4, size: 4 };
const OFFSET: Field = Field { at: 24, size: 8 };
const SIZE: Field = Field { at: 32, size: 8 };
const INFO: Field = Field { at: 44, size: 4 };

/// Where the header of a section is, by the section's name.
fn header(bytes: &[u8], name: &str) -> usize {
    let number = |at: usize, size: usize| {
        let mut value = [0; 8];
        value[..size].copy_from_slice(&bytes[at..at + size]);
        u64::from_le_bytes(value) as usize
    };
    let (table, count, names) = (number(40, 8), number(60, 2), number(62, 2));
    let names = number(table + names * 64 + OFFSET.at, 8);
    let is_named = |at: &usize| bytes[names + number(*at, 4)..].starts_with(&[name.as_bytes(), &[0]].concat());
    (0..count).map(|index| table + index * 64).find(is_named).unwrap_or_else(|| panic!("no section {name}"))
}

fn forge(bytes: &mut [u8], section: &str, field: &Field, value: u64) {
    let at = header(bytes, section) + field.at;
    bytes[at..at + field.size].copy_from_slice(&value.to_le_bytes()[..field.size]);
}

#[test]
fn every_byte_set_to_something_else_is_an_error_or_an_object() {
    let mut refused = 0;
    for name in NAMES {
        let good = bytes(name);
        for at in 0..good.len() {
            for value in [0, 0xff, good[at].wrapping_add(1), good[at] ^ 0x10] {
                let mut bad = good.clone();
                bad[at] = value;
                refused += usize::from(Object::parse(&bad).is_err());
            }
        }
    }
    assert!(refused > 10_000, "only {refused}");
}

#[test]
fn a_file_cut_anywhere_is_an_error() {
    for name in NAMES {
        let good = bytes(name);
        for length in 0..good.len() {
            wrong(&good[..length]);
        }
    }
}

#[test]
fn a_section_of_4_gib_in_a_small_file_is_an_error() {
    for section in [".maps", ".rodata", ".BTF", ".BTF.ext", "sk_lookup", "license", ".symtab", ".relsk_lookup"] {
        let mut bytes = bytes("prefixes");
        forge(&mut bytes, section, &SIZE, 4 << 30);
        let error = wrong(&bytes).to_string();
        assert!(error.contains("4294967296 bytes"), "{section}: {error}");
    }
}

#[test]
fn zeros_that_nobody_wrote_down_are_limited_too() {
    let mut bytes = bytes("prefixes");
    forge(&mut bytes, ".bss", &SIZE, 4 << 30);
    assert_eq!(
        wrong(&bytes).to_string(),
        "section .bss: it claims 4294967296 bytes; globals have at most 33554432 bytes: use a map for more"
    );
}

#[test]
fn sections_that_share_their_bytes_are_an_error() {
    let mut bytes = bytes("prefixes");
    let length = bytes.len() as u64;
    for section in [".rodata", ".data", "license"] {
        forge(&mut bytes, section, &OFFSET, 0);
        forge(&mut bytes, section, &SIZE, length);
    }
    let error = wrong(&bytes).to_string();
    assert!(error.contains("the sections that are used have more bytes than the file"), "{error}");
}

#[test]
fn two_sections_of_relocations_for_one_are_an_error() {
    let mut bytes = bytes("stages");
    let target = header(&bytes, ".rel.maps") + INFO.at;
    let target = u32::from_le_bytes(*bytes[target..].first_chunk().unwrap());
    forge(&mut bytes, ".rel.text", &INFO, target.into());
    assert!(wrong(&bytes).to_string().contains("two sections have its relocations"));
}

#[test]
fn a_name_far_away_is_an_error() {
    let mut bytes = bytes("assign");
    forge(&mut bytes, ".maps", &NAME, 0xffff_ffff);
    let error = wrong(&bytes).to_string();
    assert!(error.contains("its name, at byte 4294967295 of the names, is no text of up to 1024 bytes"), "{error}");
}

#[test]
fn a_section_of_another_type_is_not_what_its_name_says() {
    let mut bytes = bytes("assign");
    // SHT_NOBITS: code without bytes.
    forge(&mut bytes, "sk_lookup/assign", &TYPE, 8);
    let error = wrong(&bytes).to_string();
    assert!(error.contains("its section holds no instructions"), "{error}");
}

#[test]
fn types_in_a_circle_are_an_error() {
    let mut bytes = bytes("assign");
    let btf = header(&bytes, ".BTF") + OFFSET.at;
    let btf = u64::from_le_bytes(*bytes[btf..].first_chunk().unwrap()) as usize;
    let end = btf + 24 + u32::from_le_bytes(*bytes[btf + 12..].first_chunk().unwrap()) as usize;
    // Every typedef, and what else leads on by its third word, leads to a typedef.
    const TYPEDEF: u8 = 8;
    let mut at = btf + 24;
    let mut number = 1u32;
    let mut typedef = None;
    while at < end {
        let (count, kind) = (u16::from_le_bytes([bytes[at + 4], bytes[at + 5]]), bytes[at + 7] & 0x1f);
        if kind == TYPEDEF {
            let first = *typedef.get_or_insert(number);
            bytes[at + 8..at + 12].copy_from_slice(&first.to_le_bytes());
        }
        let after = match kind {
            1 | 14 | 17 => 4,
            3 => 12,
            4 | 5 | 15 | 19 => 12 * usize::from(count),
            6 | 13 => 8 * usize::from(count),
            _ => 0,
        };
        at += 12 + after;
        number += 1;
    }
    assert!(typedef.is_some());
    let error = wrong(&bytes).to_string();
    assert!(error.contains("leads through more than 32 others, or in a circle"), "{error}");
}

#[test]
fn a_map_of_four_billion_entries_is_only_a_number() {
    let mut bytes = bytes("legacy");
    let maps = header(&bytes, "maps") + OFFSET.at;
    let maps = u64::from_le_bytes(*bytes[maps..].first_chunk().unwrap()) as usize;
    bytes[maps + 12..maps + 16].copy_from_slice(&u32::MAX.to_le_bytes());
    let object = Object::parse(&bytes).unwrap();
    assert!(object.maps.iter().any(|map| map.max_entries == u32::MAX));
}

#[test]
fn a_file_that_is_too_large_is_not_read() {
    let mut bytes = bytes("assign");
    bytes.resize(MAX_BYTES + 1, 0);
    assert_eq!(wrong(&bytes).to_string(), "the file: it has 67108865 bytes; an object has at most 67108864 (64 MiB)");
}

#[test]
fn other_files_are_told_what_they_are() {
    let told = |bytes: &[u8]| wrong(bytes).to_string();
    assert_eq!(told(b"r0 = 1\nexit\n"), "the file: it is no ELF file; compile one with `clang -target bpf -c`");
    assert_eq!(
        told(b"\x7fELF"),
        "the file: it ends in the middle of its header; the file is damaged: compile it again"
    );
    let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    assert!(told(&own).contains("not for BPF (247); compile with `clang -target bpf`"), "{}", told(&own));
    let mut linked = bytes("assign");
    linked[16] = 2;
    assert!(told(&linked).contains("it is of type 2, not relocatable (1)"));
}

#[test]
fn every_committed_build_is_read_in_a_moment() {
    let begin = Instant::now();
    NAMES.into_iter().for_each(|name| of_every_build(name, drop));
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
}
