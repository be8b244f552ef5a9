//! Memory of map values: words that any number of runs may read and write at once, byte by byte.

use std::sync::atomic::{AtomicU64, Ordering};

use sklookup_bpf::Size;
use zerocopy::FromZeros;

use crate::errno::Errno;

/// Zeroed memory in words of 8 bytes. Its bytes are in the host's order, as in the kernel.
///
/// An access inside one word happens at once; one that spans two may be seen half done, as on hardware.
#[derive(Debug)]
pub(crate) struct Words(Box<[AtomicU64]>);

impl Words {
    /// This many words of zeros; ENOMEM if the process can't have them.
    pub(crate) fn zeroed(words: usize) -> Result<Words, Errno> {
        <[AtomicU64]>::new_box_zeroed_with_elems(words).map(Words).map_err(|_| Errno::NOMEM)
    }

    /// The number at a byte offset. The caller has checked that it ends inside.
    #[inline]
    pub(crate) fn load(&self, at: usize, size: Size) -> u64 {
        let bytes = size.bytes();
        let word = self.0[at / 8].load(Ordering::Relaxed);
        if at % 8 + bytes <= 8 {
            return word >> shift(at, bytes) & mask(bytes);
        }
        let mut both = [0; 16];
        both[..8].copy_from_slice(&word.to_ne_bytes());
        both[8..].copy_from_slice(&self.0[at / 8 + 1].load(Ordering::Relaxed).to_ne_bytes());
        number(&both[at % 8..at % 8 + bytes])
    }

    /// Writes the lower bytes of `value` at a byte offset. The caller has checked that it ends inside.
    #[inline]
    pub(crate) fn store(&self, at: usize, size: Size, value: u64) {
        let bytes = size.bytes();
        if at % 8 + bytes <= 8 {
            self.update(at, size, |_| Some(value));
            return;
        }
        let value = bytes_of(value, bytes);
        for (place, byte) in (at..).zip(&value[..bytes]) {
            self.update(place, Size::B1, |_| Some(u64::from(*byte)));
        }
    }

    /// Changes the number at a byte offset at once to what `change` makes of it, and answers the old one; `None` leaves it.
    ///
    /// # Panics
    /// If it spans two words: atomic operations are aligned.
    #[inline]
    pub(crate) fn update(&self, at: usize, size: Size, change: impl Fn(u64) -> Option<u64>) -> u64 {
        let bytes = size.bytes();
        assert!(at % 8 + bytes <= 8, "one word holds it");
        let (shift, mask) = (shift(at, bytes), mask(bytes));
        let exchanged = self.0[at / 8].fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
            let new = change(word >> shift & mask)? & mask;
            Some(word & !(mask << shift) | new << shift)
        });
        let (Ok(word) | Err(word)) = exchanged;
        word >> shift & mask
    }

    /// Copies bytes out, from a multiple of 8 on.
    pub(crate) fn read(&self, from: usize, to: &mut [u8]) {
        debug_assert_eq!(from % 8, 0);
        for (word, bytes) in self.0[from / 8..].iter().zip(to.chunks_mut(8)) {
            bytes.copy_from_slice(&word.load(Ordering::Relaxed).to_ne_bytes()[..bytes.len()]);
        }
    }

    /// Copies bytes in, to a multiple of 8 on; what follows them in their last word becomes 0.
    pub(crate) fn write(&self, to: usize, from: &[u8]) {
        debug_assert_eq!(to % 8, 0);
        for (word, bytes) in self.0[to / 8..].iter().zip(from.chunks(8)) {
            let mut whole = [0; 8];
            whole[..bytes.len()].copy_from_slice(bytes);
            word.store(u64::from_ne_bytes(whole), Ordering::Relaxed);
        }
    }
}

/// The number in these bytes, at most 8.
#[inline]
pub(crate) fn number(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    let start = if cfg!(target_endian = "big") { 8 - bytes.len() } else { 0 };
    word[start..start + bytes.len()].copy_from_slice(bytes);
    u64::from_ne_bytes(word)
}

/// The lower `bytes` bytes of a number, first.
#[inline]
pub(crate) fn bytes_of(value: u64, bytes: usize) -> [u8; 8] {
    let mut word = value.to_ne_bytes();
    if cfg!(target_endian = "big") {
        word.rotate_left(8 - bytes);
    }
    word
}

/// How far up in its word the number of so many bytes at `at` stands.
#[inline]
pub(crate) fn shift(at: usize, bytes: usize) -> u32 {
    let place = if cfg!(target_endian = "big") { 8 - bytes - at % 8 } else { at % 8 };
    place as u32 * 8
}

/// All ones in the lower `bytes` bytes.
#[inline]
pub(crate) fn mask(bytes: usize) -> u64 {
    u64::MAX >> (64 - 8 * bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_lie_as_in_the_memory_of_the_host() {
        let words = Words::zeroed(2).unwrap();
        let bytes: Vec<u8> = (1..=16).collect();
        words.write(0, &bytes);
        for size in [Size::B1, Size::B2, Size::B4, Size::B8] {
            for at in 0..=16 - size.bytes() {
                assert_eq!(words.load(at, size), number(&bytes[at..at + size.bytes()]), "{size:?} at {at}");
            }
        }
    }

    #[test]
    fn a_store_changes_its_own_bytes_only_even_across_words() {
        for size in [Size::B1, Size::B2, Size::B4, Size::B8] {
            for at in 0..=16 - size.bytes() {
                let words = Words::zeroed(2).unwrap();
                words.write(0, &[0xff; 16]);
                words.store(at, size, 0x0102_0304_0506_0708);
                let mut expected = [0xff; 16];
                expected[at..at + size.bytes()]
                    .copy_from_slice(&bytes_of(0x0102_0304_0506_0708, size.bytes())[..size.bytes()]);
                let mut found = [0; 16];
                words.read(0, &mut found);
                assert_eq!(found, expected, "{size:?} at {at}");
            }
        }
    }

    #[test]
    fn an_update_answers_the_old_number() {
        let words = Words::zeroed(1).unwrap();
        words.store(4, Size::B4, 7);
        assert_eq!(words.update(4, Size::B4, |old| Some(old + u64::from(u32::MAX))), 7);
        assert_eq!((words.load(4, Size::B4), words.load(0, Size::B4)), (6, 0));
        assert_eq!(words.update(4, Size::B4, |_| None), 6);
    }
}
