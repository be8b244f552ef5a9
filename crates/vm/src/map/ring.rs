//! RINGBUF: records that programs write and the owner of the map reads, in the order in which they were reserved.
//!
//! Laid out as in the kernel: each record is a header of 8 bytes and its bytes, from a multiple of 8 on. Positions only
//! grow; where one is in memory is the rest of its division by the size.

use std::sync::{Mutex, MutexGuard, PoisonError};

use sklookup_bpf::Size;

use crate::errno::Errno;
use crate::words::Words;

/// In a header beside the length: a program still writes the record.
const BUSY: u64 = 1 << 31;
/// In a header: the record was given up.
const DISCARDED: u64 = 1 << 30;
/// Bytes of a header.
const HEADER: u64 = 8;
/// The longest record. Source: Linux 6.18, a quarter of what 32 bits count.
const MAX_RECORD: u64 = u32::MAX as u64 / 4;

/// A ring buffer.
#[derive(Debug)]
pub(crate) struct Ring {
    /// Twice the size, so that a record which begins before the end lies in one piece behind it.
    words: Words,
    size: u64,
    positions: Mutex<Positions>,
}

#[derive(Debug, Default)]
struct Positions {
    /// Behind what the owner has read.
    consumed: u64,
    /// Behind the last record.
    produced: u64,
}

impl Ring {
    /// Bytes of memory that a buffer of so many bytes takes.
    pub(super) fn price(size: u32) -> u64 {
        2 * u64::from(size)
    }

    pub(super) fn new(size: u32) -> Result<Ring, Errno> {
        let words = Words::zeroed(Ring::price(size) as usize / 8)?;
        Ok(Ring { words, size: u64::from(size), positions: Mutex::default() })
    }

    pub(super) fn words(&self) -> &Words {
        &self.words
    }

    /// Makes a record of so many bytes; answers the byte of the memory where they begin, `None` if there is no room.
    pub(super) fn reserve(&self, length: u64) -> Option<usize> {
        let whole = space(length.min(MAX_RECORD));
        if length > MAX_RECORD || whole > self.size {
            return None;
        }
        let mut positions = self.lock();
        // One byte always stays free.
        if positions.produced + whole - positions.consumed >= self.size {
            return None;
        }
        let header = self.at(positions.produced);
        self.words.store(header, Size::B8, length | BUSY);
        positions.produced += whole;
        Some(header + HEADER as usize)
    }

    /// Makes a record of these bytes.
    pub(super) fn output(&self, bytes: &[u8]) -> Result<(), Errno> {
        let start = self.reserve(bytes.len() as u64).ok_or(Errno::AGAIN)?;
        self.words.write(start, bytes);
        self.finish(start, false);
        Ok(())
    }

    /// Ends the record whose bytes begin there.
    pub(super) fn finish(&self, start: usize, discard: bool) {
        let change = |header: u64| Some(header & !BUSY | if discard { DISCARDED } else { 0 });
        self.words.update(start - HEADER as usize, Size::B8, change);
    }

    /// Takes out the next record; `None` when all were read, or a program still writes the next.
    pub(super) fn next(&self) -> Option<Vec<u8>> {
        let mut positions = self.lock();
        while positions.consumed < positions.produced {
            let at = self.at(positions.consumed);
            let header = self.words.load(at, Size::B8);
            if header & BUSY != 0 {
                return None;
            }
            let length = header & !DISCARDED;
            positions.consumed += space(length);
            if header & DISCARDED == 0 {
                let mut bytes = vec![0; length as usize];
                self.words.read(at + HEADER as usize, &mut bytes);
                return Some(bytes);
            }
        }
        None
    }

    /// What `bpf_ringbuf_query` answers.
    pub(super) fn query(&self, what: u64) -> u64 {
        let positions = self.lock();
        match what {
            0 => positions.produced - positions.consumed,
            1 => self.size,
            2 => positions.consumed,
            3 => positions.produced,
            _ => 0,
        }
    }

    fn at(&self, position: u64) -> usize {
        (position % self.size) as usize
    }

    fn lock(&self) -> MutexGuard<'_, Positions> {
        self.positions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes that a record of so many takes.
fn space(length: u64) -> u64 {
    (HEADER + length).next_multiple_of(8)
}
