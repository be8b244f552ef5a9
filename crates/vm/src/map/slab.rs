//! Values by place, whose memory comes as places are wanted.

use std::sync::OnceLock;

use crate::errno::Errno;
use crate::words::Words;

/// Places of equal size. A place never moves, so that programs may keep pointers into it.
///
/// Its memory comes in chunks, each twice as large as the one before.
#[derive(Debug)]
pub(super) struct Slab {
    chunks: [OnceLock<Words>; 32],
    /// Bytes of a place, a multiple of 8.
    stride: usize,
    places: usize,
}

impl Slab {
    /// So many places of so many bytes, a multiple of 8, without memory.
    pub(super) fn new(places: u32, stride: usize) -> Slab {
        Slab { chunks: std::array::from_fn(|_| OnceLock::new()), stride, places: places as usize }
    }

    /// The bytes that making room for a place will take, 0 if it has room.
    pub(super) fn price(&self, place: usize) -> u64 {
        let (chunk, _) = at(place);
        if self.chunks[chunk].get().is_some() { 0 } else { (self.length(chunk) * self.stride) as u64 }
    }

    /// Makes room for a place. Whoever calls has a lock that keeps others from it.
    pub(super) fn make_room(&self, place: usize) -> Result<(), Errno> {
        let (chunk, _) = at(place);
        if self.chunks[chunk].get().is_none() {
            let words = Words::zeroed(self.length(chunk) * self.stride / 8)?;
            self.chunks[chunk].get_or_init(|| words);
        }
        Ok(())
    }

    /// The memory of a place that has room, and the byte in it where the place begins.
    pub(super) fn place(&self, place: usize) -> (&Words, usize) {
        let (chunk, index) = at(place);
        let words = self.chunks[chunk].get().expect("a place has room before anyone knows of it");
        (words, index * self.stride)
    }

    /// Places in a chunk: the last has only what is left.
    fn length(&self, chunk: usize) -> usize {
        let first = (1 << chunk) - 1;
        (1usize << chunk).min(self.places - first)
    }
}

/// The chunk of a place, and which of its places it is.
fn at(place: usize) -> (usize, usize) {
    let chunk = (place + 1).ilog2() as usize;
    (chunk, place + 1 - (1 << chunk))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sklookup_bpf::Size;

    #[test]
    fn every_place_has_bytes_of_its_own() {
        let slab = Slab::new(11, 16);
        let mut paid = 0;
        for place in 0..11 {
            paid += slab.price(place);
            slab.make_room(place).unwrap();
            let (words, start) = slab.place(place);
            words.store(start, Size::B8, place as u64);
            words.store(start + 8, Size::B8, !(place as u64));
        }
        for place in 0..11 {
            let (words, start) = slab.place(place);
            assert_eq!(words.load(start, Size::B8), place as u64);
            assert_eq!(words.load(start + 8, Size::B8), !(place as u64));
        }
        assert_eq!(paid, 11 * 16);
    }
}
