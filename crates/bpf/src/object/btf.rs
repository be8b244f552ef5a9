//! The types of an object: `.BTF`, as far as maps, functions and variables need them.
//!
//! Types refer to each other by number, in circles if the file likes; what follows them counts its steps.
//!
//! Source: the kernel's document "BPF Type Format".

use super::elf;
use super::error::{ObjectError, Result};

const MAGIC: u16 = 0xeb9f;
/// Length of the header of `.BTF`, in bytes.
const HEADER: usize = 24;
/// The most types that are followed from one to the next: arrays of arrays, typedefs of typedefs.
const MAX_DEPTH: usize = 32;
/// The size of a pointer, in bytes.
const POINTER: u64 = 8;

const PLACE: &str = "section .BTF";

/// Kinds of types, by their number.
pub(super) mod kind {
    pub(in super::super) const INT: u8 = 1;
    pub(in super::super) const PTR: u8 = 2;
    pub(in super::super) const ARRAY: u8 = 3;
    pub(in super::super) const STRUCT: u8 = 4;
    pub(in super::super) const UNION: u8 = 5;
    pub(in super::super) const ENUM: u8 = 6;
    pub(in super::super) const TYPEDEF: u8 = 8;
    pub(in super::super) const VOLATILE: u8 = 9;
    pub(in super::super) const CONST: u8 = 10;
    pub(in super::super) const RESTRICT: u8 = 11;
    pub(in super::super) const FUNC: u8 = 12;
    pub(in super::super) const FUNC_PROTO: u8 = 13;
    pub(in super::super) const VAR: u8 = 14;
    pub(in super::super) const DATASEC: u8 = 15;
    pub(in super::super) const FLOAT: u8 = 16;
    pub(in super::super) const DECL_TAG: u8 = 17;
    pub(in super::super) const TYPE_TAG: u8 = 18;
    pub(in super::super) const ENUM64: u8 = 19;
}

/// The types of an object.
#[derive(Debug)]
pub(super) struct Btf<'a> {
    bytes: &'a [u8],
    strings: &'a [u8],
    /// Types by number; 0 is `void`.
    types: Vec<Type>,
}

/// A type, without what follows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Type {
    /// Where it is in the section, in bytes.
    pub(super) at: usize,
    pub(super) kind: u8,
    /// How many members, parameters or variables follow.
    pub(super) count: usize,
    name: u32,
    /// A size in bytes, or the number of another type.
    pub(super) size_or_type: u32,
}

/// A member of a struct.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member<'a> {
    pub(super) name: &'a str,
    pub(super) kind: u32,
    /// Offset in bits.
    pub(super) offset: u32,
}

/// A variable of a section.
#[derive(Clone, Copy, Debug)]
pub(super) struct Variable<'a> {
    pub(super) name: &'a str,
    /// The number of the type that says it is a variable.
    pub(super) number: u32,
    /// The number of the type that it is of.
    pub(super) kind: u32,
    /// In bytes.
    pub(super) size: u32,
}

/// An array.
#[derive(Clone, Copy, Debug)]
pub(super) struct Array {
    pub(super) element: u32,
    pub(super) count: u32,
}

impl<'a> Btf<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Btf<'a>> {
        let damaged = |what: &str| ObjectError::damaged(PLACE, what);
        if bytes.len() < HEADER || half(bytes, 0) != Some(MAGIC) {
            return Err(damaged("it does not begin with a header of BTF in the host's byte order"));
        }
        let field = |at| word(bytes, at).map(|value| value as usize).expect("the header's length was just checked");
        let header = field(4);
        let part = |offset: usize, length: usize| {
            let start = header.checked_add(offset)?;
            Some((start, start.checked_add(length).filter(|end| *end <= bytes.len())?))
        };
        let (start, end) =
            part(field(8), field(12)).ok_or_else(|| damaged("its types end after the end of the section"))?;
        let strings =
            part(field(16), field(20)).ok_or_else(|| damaged("its names end after the end of the section"))?;
        let mut btf = Btf { bytes, strings: &bytes[strings.0..strings.1], types: vec![VOID] };
        let mut at = start;
        while at < end {
            let ty = btf.read(at).filter(|ty| at + ty.length() <= end);
            let ty = ty.ok_or_else(|| {
                damaged(&format!("type {} is cut short or of no kind that is known", btf.types.len()))
            })?;
            at += ty.length();
            btf.types.push(ty);
        }
        Ok(btf)
    }

    pub(super) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Every type but `void`, with its number.
    pub(super) fn types(&self) -> impl Iterator<Item = (u32, Type)> {
        (0..).zip(self.types.iter().copied()).skip(1)
    }

    pub(super) fn get(&self, number: u32) -> Result<Type> {
        self.types.get(number as usize).copied().ok_or_else(|| {
            ObjectError::damaged(PLACE, format!("type {number} is named, and there are {}", self.types.len()))
        })
    }

    /// The name of a type; empty for one without.
    pub(super) fn name(&self, ty: Type) -> Result<&'a str> {
        self.string(ty.name)
    }

    pub(super) fn string(&self, at: u32) -> Result<&'a str> {
        elf::text(self.strings, at).ok_or_else(|| {
            ObjectError::damaged(PLACE, format!("no name of a sensible length is at byte {at} of its names"))
        })
    }

    /// The type behind names and qualifiers: of `const u32` it is `unsigned int`.
    pub(super) fn resolve(&self, number: u32) -> Result<Type> {
        self.get(self.number_of(number)?)
    }

    /// The number of the type behind names and qualifiers.
    pub(super) fn number_of(&self, number: u32) -> Result<u32> {
        let mut behind = number;
        for _ in 0..MAX_DEPTH {
            let ty = self.get(behind)?;
            match ty.kind {
                kind::TYPEDEF | kind::VOLATILE | kind::CONST | kind::RESTRICT | kind::TYPE_TAG => {
                    behind = ty.size_or_type;
                }
                _ => return Ok(behind),
            }
        }
        Err(too_deep(number))
    }

    /// What a pointer points to, behind names and qualifiers; `None` if it is no pointer.
    pub(super) fn pointee(&self, number: u32) -> Result<Option<Type>> {
        let ty = self.resolve(number)?;
        if ty.kind != kind::PTR { Ok(None) } else { self.resolve(ty.size_or_type).map(Some) }
    }

    /// The size of a type, in bytes.
    pub(super) fn size_of(&self, number: u32) -> Result<u64> {
        let mut elements = 1u64;
        let mut number = number;
        for _ in 0..MAX_DEPTH {
            let ty = self.resolve(number)?;
            let size = match ty.kind {
                kind::INT | kind::STRUCT | kind::UNION | kind::ENUM | kind::ENUM64 | kind::FLOAT => {
                    ty.size_or_type.into()
                }
                kind::PTR => POINTER,
                kind::ARRAY => {
                    let array = self.array(ty);
                    elements = elements.checked_mul(array.count.into()).ok_or_else(|| {
                        ObjectError::damaged(PLACE, format!("the array of type {number} is larger than any memory"))
                    })?;
                    number = array.element;
                    continue;
                }
                _ => {
                    return Err(ObjectError::damaged(
                        PLACE,
                        format!("type {number} has no size, and is a key or value"),
                    ));
                }
            };
            return elements.checked_mul(size).ok_or_else(|| {
                ObjectError::damaged(PLACE, format!("the array of type {number} is larger than any memory"))
            });
        }
        Err(too_deep(number))
    }

    /// Precondition: an array.
    pub(super) fn array(&self, ty: Type) -> Array {
        Array { element: self.word_after(ty, 0), count: self.word_after(ty, 2) }
    }

    /// Precondition: a struct or union.
    pub(super) fn members(&self, ty: Type) -> impl Iterator<Item = Result<Member<'a>>> {
        (0..ty.count).map(move |index| {
            let [name, kind, offset] = [0, 1, 2].map(|field| self.word_after(ty, index * 3 + field));
            Ok(Member { name: self.string(name)?, kind, offset })
        })
    }

    /// Precondition: a DATASEC.
    pub(super) fn variables(&self, ty: Type) -> impl Iterator<Item = Result<Variable<'a>>> {
        (0..ty.count).map(move |index| {
            let [number, size] = [0, 2].map(|field| self.word_after(ty, index * 3 + field));
            let variable = self.get(number)?;
            Ok(Variable { name: self.name(variable)?, number, kind: variable.size_or_type, size })
        })
    }

    /// The section of variables of this name.
    pub(super) fn section(&self, name: &str) -> Option<Type> {
        self.types.iter().copied().find(|ty| ty.kind == kind::DATASEC && self.name(*ty) == Ok(name))
    }

    /// The word of this number among those that follow a type. Precondition: there are so many.
    fn word_after(&self, ty: Type, index: usize) -> u32 {
        word(self.bytes, ty.at + Type::HEAD + index * 4).expect("a type was read with all that follows it")
    }

    fn read(&self, at: usize) -> Option<Type> {
        let info = word(self.bytes, at + 4)?;
        let ty = Type {
            at,
            kind: (info >> 24 & 0x1f) as u8,
            count: (info & 0xffff) as usize,
            name: word(self.bytes, at)?,
            size_or_type: word(self.bytes, at + 8)?,
        };
        (kind::INT..=kind::ENUM64).contains(&ty.kind).then_some(ty)
    }
}

const VOID: Type = Type { at: 0, kind: 0, count: 0, name: 0, size_or_type: 0 };

impl Type {
    /// Bytes of a type without what follows it.
    pub(super) const HEAD: usize = 12;

    /// Bytes of a type with what follows it.
    fn length(&self) -> usize {
        let each = |bytes: usize| bytes * self.count;
        let after = match self.kind {
            kind::INT | kind::VAR | kind::DECL_TAG => 4,
            kind::ARRAY => 12,
            kind::STRUCT | kind::UNION | kind::DATASEC | kind::ENUM64 => each(12),
            kind::ENUM | kind::FUNC_PROTO => each(8),
            _ => 0,
        };
        Type::HEAD + after
    }
}

fn too_deep(number: u32) -> ObjectError {
    ObjectError::damaged(PLACE, format!("type {number} leads through more than {MAX_DEPTH} others, or in a circle"))
}

/// The word at this byte, in the host's byte order.
pub(super) fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|bytes| u16::from_ne_bytes(*bytes))
}
