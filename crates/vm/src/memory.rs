//! How much memory maps and programs may take together.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::errno::Errno;

/// An amount of memory that maps and programs share. Clones are the same memory.
///
/// What is counted is at least what is allocated, so that whoever made them, however large they ask to be, can't take more.
#[derive(Clone, Debug)]
pub struct Memory(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    limit: u64,
    used: AtomicU64,
}

impl Memory {
    /// So many bytes, none taken.
    pub fn new(limit: u64) -> Memory {
        Memory(Arc::new(Shared { limit, used: AtomicU64::new(0) }))
    }

    /// Bytes there are.
    pub fn limit(&self) -> u64 {
        self.0.limit
    }

    /// Bytes that are taken.
    pub fn used(&self) -> u64 {
        self.0.used.load(Ordering::Relaxed)
    }

    /// Takes bytes until the answer is dropped.
    ///
    /// # Errors
    /// ENOMEM if there aren't so many.
    pub fn take(&self, bytes: u64) -> Result<Taken, Errno> {
        let taken = Taken { memory: self.clone(), bytes: AtomicU64::new(0) };
        taken.grow(bytes)?;
        Ok(taken)
    }
}

/// Memory that somebody has taken.
#[derive(Debug)]
pub struct Taken {
    memory: Memory,
    bytes: AtomicU64,
}

impl Taken {
    /// Takes more; ENOMEM if there isn't.
    pub(crate) fn grow(&self, bytes: u64) -> Result<(), Errno> {
        let Shared { limit, used } = &*self.memory.0;
        let more = |used: u64| used.checked_add(bytes).filter(|sum| sum <= limit);
        used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).map_err(|_| Errno::NOMEM)?;
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }

    /// Gives back a part of what it has.
    pub(crate) fn shrink(&self, bytes: u64) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.memory.0.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.memory.0.used.fetch_sub(*self.bytes.get_mut(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_comes_back_when_it_is_dropped() {
        let memory = Memory::new(100);
        let first = memory.take(60).unwrap();
        assert_eq!(memory.take(41).unwrap_err(), Errno::NOMEM);
        first.grow(40).unwrap();
        assert_eq!(first.grow(1), Err(Errno::NOMEM));
        first.shrink(50);
        assert_eq!(memory.used(), 50);
        drop(first);
        assert_eq!(memory.used(), 0);
        assert_eq!(memory.take(u64::MAX).unwrap_err(), Errno::NOMEM);
    }
}
