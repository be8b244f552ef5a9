//! The stack of one frame: bytes, and pointers that were put by.

use sklookup_bpf::Size;

use crate::fault::Did;
use crate::value::{Pointer, Value};
use crate::words::{bytes_of, mask, number, shift};

/// Bytes of a frame.
pub(super) const BYTES: usize = 512;
const WORDS: usize = BYTES / 8;

/// 512 bytes, zero at first: what Linux leaves there is anything.
///
/// A pointer takes a whole aligned word and comes back whole; its bytes can't be read, because it has none.
#[derive(Debug)]
pub(super) struct Stack {
    words: [u64; WORDS],
    /// A bit for each word that is a pointer.
    spilled: u64,
    pointers: Vec<(u8, Pointer)>,
}

impl Stack {
    pub(super) fn new() -> Stack {
        Stack { words: [0; WORDS], spilled: 0, pointers: Vec::new() }
    }

    /// What is at an offset from the upper end.
    #[inline]
    pub(super) fn load(&self, offset: i64, size: Size) -> Did<Value> {
        let at = place(offset, size.bytes())?;
        if self.spilled != 0
            && let Some(word) = self.spilled_in(at, size.bytes())
        {
            if size == Size::B8 && at.is_multiple_of(8) {
                return Ok(Value::Pointer(self.pointer(word)));
            }
            return Err(format!("reads {} of the bytes of a pointer on the stack", size.bytes()));
        }
        if at % 8 + size.bytes() <= 8 {
            return Ok(Value::Scalar(self.words[at / 8] >> shift(at, size.bytes()) & mask(size.bytes())));
        }
        let mut bytes = [0; 8];
        self.copy(at, &mut bytes[..size.bytes()]);
        Ok(Value::Scalar(number(&bytes[..size.bytes()])))
    }

    /// Puts a number at an offset from the upper end.
    #[inline]
    pub(super) fn store(&mut self, offset: i64, size: Size, value: u64) -> Did<()> {
        let at = place(offset, size.bytes())?;
        if self.spilled != 0 {
            self.overwrite(at, size.bytes())?;
        }
        if at % 8 + size.bytes() <= 8 {
            let (shift, mask) = (shift(at, size.bytes()), mask(size.bytes()));
            let word = &mut self.words[at / 8];
            *word = *word & !(mask << shift) | (value & mask) << shift;
            return Ok(());
        }
        for (place, byte) in (at..).zip(&bytes_of(value, size.bytes())[..size.bytes()]) {
            let shift = shift(place, 1);
            let word = &mut self.words[place / 8];
            *word = *word & !(0xff << shift) | u64::from(*byte) << shift;
        }
        Ok(())
    }

    /// Puts a pointer at an offset from the upper end.
    pub(super) fn store_pointer(&mut self, offset: i64, size: Size, pointer: Pointer) -> Did<()> {
        let at = place(offset, size.bytes())?;
        if size != Size::B8 || !at.is_multiple_of(8) {
            let pointer = Value::Pointer(pointer);
            let bytes = size.bytes();
            return Err(format!("stores {pointer} in {bytes} bytes at {offset}; a pointer takes 8 aligned ones"));
        }
        let word = (at / 8) as u8;
        self.pointers.retain(|(known, _)| *known != word);
        self.pointers.push((word, pointer));
        self.spilled |= 1 << word;
        Ok(())
    }

    /// Copies bytes out.
    pub(super) fn read(&self, offset: i64, to: &mut [u8]) -> Did<()> {
        let at = place(offset, to.len())?;
        if self.spilled_in(at, to.len()).is_some() {
            return Err("reads the bytes of a pointer on the stack".to_owned());
        }
        self.copy(at, to);
        Ok(())
    }

    fn copy(&self, at: usize, to: &mut [u8]) {
        for (place, byte) in (at..).zip(to) {
            *byte = self.words[place / 8].to_ne_bytes()[place % 8];
        }
    }

    /// The first word with a pointer that so many bytes touch.
    #[inline]
    fn spilled_in(&self, at: usize, bytes: usize) -> Option<usize> {
        (at / 8..(at + bytes).div_ceil(8)).find(|word| self.spilled & 1 << word != 0)
    }

    fn pointer(&self, word: usize) -> Pointer {
        let found = self.pointers.iter().find(|(known, _)| usize::from(*known) == word);
        found.expect("every spilled word has its pointer").1
    }

    /// A number takes the place of a pointer that it covers; of a part of one nothing useful would be left.
    fn overwrite(&mut self, at: usize, bytes: usize) -> Did<()> {
        while let Some(word) = self.spilled_in(at, bytes) {
            if at > word * 8 || at + bytes < word * 8 + 8 {
                return Err(format!("overwrites {bytes} of the bytes of a pointer on the stack"));
            }
            self.spilled &= !(1 << word);
            self.pointers.retain(|(known, _)| usize::from(*known) != word);
        }
        Ok(())
    }
}

/// The place of so many bytes, from the lower end.
#[inline]
fn place(offset: i64, bytes: usize) -> Did<usize> {
    let at = offset.checked_add(BYTES as i64).and_then(|at| usize::try_from(at).ok());
    at.filter(|at| at.checked_add(bytes).is_some_and(|end| end <= BYTES))
        .ok_or_else(|| format!("accesses {bytes} bytes at {offset} of the stack, which goes from -{BYTES} to 0"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Region;

    const POINTER: Pointer = Pointer { region: Region::Context, offset: 3 };

    #[test]
    fn numbers_come_back_in_any_size_and_place() {
        let mut stack = Stack::new();
        stack.store(-8, Size::B8, 0x0102_0304_0506_0708).unwrap();
        let bytes = 0x0102_0304_0506_0708_u64.to_ne_bytes();
        for (place, byte) in bytes.iter().enumerate() {
            assert_eq!(stack.load(place as i64 - 8, Size::B1), Ok(Value::Scalar(u64::from(*byte))));
        }
        stack.store(-13, Size::B8, 7).unwrap();
        assert_eq!(stack.load(-13, Size::B8), Ok(Value::Scalar(7)));
    }

    #[test]
    fn a_pointer_comes_back_whole_and_has_no_bytes() {
        let mut stack = Stack::new();
        stack.store_pointer(-16, Size::B8, POINTER).unwrap();
        assert_eq!(stack.load(-16, Size::B8), Ok(Value::Pointer(POINTER)));
        assert!(stack.load(-16, Size::B4).unwrap_err().contains("bytes of a pointer"));
        assert!(stack.store(-12, Size::B4, 1).unwrap_err().contains("overwrites"));
        stack.store(-16, Size::B8, 1).unwrap();
        assert_eq!(stack.load(-16, Size::B8), Ok(Value::Scalar(1)));
    }

    #[test]
    fn the_stack_ends_at_512_bytes() {
        let mut stack = Stack::new();
        assert_eq!(stack.store(-512, Size::B8, 1), Ok(()));
        for (offset, size) in [(-513, Size::B1), (-516, Size::B8), (0, Size::B1), (-4, Size::B8), (i64::MIN, Size::B1)]
        {
            assert!(stack.load(offset, size).is_err(), "{offset} {size:?}");
        }
    }
}
