//! Bytes of a capture, with the place they stand at.

use std::io::{ErrorKind, Read, Result};

/// How much is asked for at once, in bytes.
const CHUNK: usize = 1 << 18;

/// A window on what is read, which moves forward only.
#[derive(Debug)]
pub struct Source<R> {
    input: R,
    buffer: Vec<u8>,
    /// What is at hand begins here in `buffer`.
    start: usize,
    /// And ends here.
    end: usize,
    /// How many bytes came before `start`.
    offset: u64,
}

impl<R: Read> Source<R> {
    pub fn new(input: R) -> Source<R> {
        Source { input, buffer: Vec::new(), start: 0, end: 0, offset: 0 }
    }

    /// Reads until so many bytes are at hand, or the input ends; says whether they are.
    ///
    /// The buffer grows to what is asked for: who asks bounds it.
    pub fn wants(&mut self, bytes: usize) -> Result<bool> {
        while self.end - self.start < bytes {
            if self.start > 0 {
                self.buffer.copy_within(self.start..self.end, 0);
                self.end -= self.start;
                self.start = 0;
            }
            if self.buffer.len() < bytes.max(CHUNK) {
                self.buffer.resize(bytes.max(CHUNK), 0);
            }
            match self.input.read(&mut self.buffer[self.end..]) {
                Ok(0) => return Ok(false),
                Ok(read) => self.end += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// What is at hand.
    pub fn at_hand(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Goes on behind so many of the bytes at hand.
    pub fn skip(&mut self, bytes: usize) {
        debug_assert!(bytes <= self.end - self.start);
        self.start += bytes;
        self.offset += bytes as u64;
    }

    /// Where in the input the bytes at hand begin.
    pub fn offset(&self) -> u64 {
        self.offset
    }
}
