//! How address and port make a key: the same for the table as it is built and for the code that looks into it.
//!
//! A key is one to three words of 64 bits, as few as hold it, so that IPv6 prefixes up to /64 are as cheap as IPv4.

use sklookup_bpf::{AluOp, Builder, Reg};

use super::reg;
use crate::family::Family;

/// One half of a destination address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Half {
    /// The upper 64 bits of an IPv6 address, or all 32 of an IPv4 address.
    High,
    /// The lower 64 bits of an IPv6 address.
    Low,
}

/// A word of the key: `half >> shift | port << port_shift`, each where there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Word {
    half: Option<(Half, u8)>,
    port_shift: Option<u8>,
}

/// The words of the keys of one region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    words: Vec<Word>,
}

/// A key; words beyond the shape's are 0.
pub(super) type Key = [u64; 3];

impl Shape {
    /// The shape for prefixes of this length, with or without the port.
    pub(super) fn new(family: Family, length: u8, with_port: bool) -> Shape {
        let (mut words, free) = match (family, length) {
            (_, 0) => (vec![], 0),
            (Family::V4, _) => (vec![Word::part(Half::High, 32 - length)], 32),
            (Family::V6, 1..=64) => (vec![Word::part(Half::High, 64 - length)], 64 - length),
            (Family::V6, _) => (vec![Word::part(Half::High, 0), Word::part(Half::Low, 128 - length)], 128 - length),
        };
        if with_port {
            match words.last_mut() {
                Some(last) if free >= 16 => last.port_shift = Some(if family == Family::V4 { 32 } else { 48 }),
                _ => words.push(Word { half: None, port_shift: Some(0) }),
            }
        }
        Shape { words }
    }

    /// How many words a key has. 0: there is only one key.
    pub(super) fn len(&self) -> usize {
        self.words.len()
    }

    /// The key of an address whose host bits are 0.
    pub(super) fn key(&self, family: Family, address: u128, port: u16) -> Key {
        let (high, low) = match family {
            Family::V4 => (address as u64, 0),
            Family::V6 => ((address >> 64) as u64, address as u64),
        };
        let mut key = [0; 3];
        for (word, part) in key.iter_mut().zip(&self.words) {
            *word = match part.half {
                Some((Half::High, shift)) => high >> shift,
                Some((Half::Low, shift)) => low >> shift,
                None => 0,
            };
            if let Some(shift) = part.port_shift {
                *word |= u64::from(port) << shift;
            }
        }
        key
    }

    /// Puts the words of the packet's key in registers: where they are already, or in R0 and R1. R2 is overwritten.
    pub(super) fn emit(&self, b: &mut Builder) -> Vec<Reg> {
        let mut spare = [Reg::R0, Reg::R1].into_iter();
        let mut registers = Vec::new();
        for word in &self.words {
            let register = match *word {
                Word { half: Some((half, 0)), port_shift: None } => half.register(),
                Word { half: None, .. } => reg::PORT,
                Word { half: Some((half, shift)), port_shift } => {
                    let dst = spare.next().expect("at most two words of a key are put together");
                    b.mov(dst, half.register());
                    if shift > 0 {
                        b.alu(AluOp::Rsh, dst, i32::from(shift));
                    }
                    if let Some(shift) = port_shift {
                        b.mov(Reg::R2, reg::PORT);
                        b.alu(AluOp::Lsh, Reg::R2, i32::from(shift));
                        b.alu(AluOp::Or, dst, Reg::R2);
                    }
                    dst
                }
            };
            registers.push(register);
        }
        registers
    }
}

impl Word {
    fn part(half: Half, shift: u8) -> Word {
        Word { half: Some((half, shift)), port_shift: None }
    }
}

impl Half {
    fn register(self) -> Reg {
        match self {
            Half::High => reg::HIGH,
            Half::Low => reg::LOW,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_as_few_words_as_hold_it() {
        let words = |family, length, port| Shape::new(family, length, port).len();
        for length in 1..=32 {
            assert_eq!((words(Family::V4, length, false), words(Family::V4, length, true)), (1, 1));
        }
        assert_eq!([0, 1, 64, 65, 128].map(|length| words(Family::V6, length, false)), [0, 1, 1, 2, 2]);
        let with_port = [0, 1, 48, 49, 64, 65, 112, 113, 128].map(|length| words(Family::V6, length, true));
        assert_eq!(with_port, [1, 1, 1, 2, 2, 2, 2, 3, 3]);
    }

    #[test]
    fn keys_of_different_prefixes_or_ports_differ() {
        for length in 1..=128u8 {
            let shape = Shape::new(Family::V6, length, true);
            let last_bit = 1u128 << (128 - length);
            let keys = [(0, 0), (last_bit, 0), (1 << 127, 0), (0, 1), (0, 0x8000)];
            let keys = keys.map(|(address, port)| shape.key(Family::V6, address, port));
            for (index, key) in keys.iter().enumerate() {
                let same = keys[..index].iter().filter(|other| *other == key).count();
                assert_eq!(same, usize::from(length == 1 && index == 2), "/{length}: {keys:x?}");
            }
        }
    }
}
