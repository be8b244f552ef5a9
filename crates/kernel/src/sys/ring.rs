//! The memory of a ring buffer, as its reader maps it.
//!
//! # Safety
//!
//! A ring buffer of `size` bytes maps as a page that the reader writes, and behind it a page and `2 * size` bytes that only the
//! kernel writes: its data twice, so that a record which begins before the end is in one piece. A mapping stays until it is
//! dropped, whoever closes the map. Positions and headers are accessed at once, because the kernel changes them meanwhile; the
//! bytes of a record that was submitted it leaves alone until the reader's position is behind them.
#![allow(unsafe_code)]

use std::os::fd::BorrowedFd;
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use rustix::param::page_size;

/// A ring buffer that is mapped.
#[derive(Debug)]
pub(crate) struct Mapping {
    /// A page, writable.
    consumer: NonNull<u8>,
    /// A page, and the data twice.
    producer: NonNull<u8>,
    /// Of the data, in bytes: a power of two of at least a page.
    size: usize,
}

// SAFETY: the memory belongs to the process and not to a thread, and `Mapping` owns it.
unsafe impl Send for Mapping {}

impl Mapping {
    /// Maps the ring buffer `map` of `size` bytes; fails where that isn't its size.
    pub(crate) fn new(map: BorrowedFd<'_>, size: usize) -> Result<Mapping, Errno> {
        let page = page_size();
        let read_write = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping, at an address that the kernel chooses, aliases nothing.
        let consumer = unsafe { mmap(null_mut(), page, read_write, MapFlags::SHARED, map, 0) }?;
        let consumer = NonNull::new(consumer.cast()).ok_or(Errno::FAULT)?;
        // SAFETY: as above.
        let producer =
            unsafe { mmap(null_mut(), page + 2 * size, ProtFlags::READ, MapFlags::SHARED, map, page as u64) };
        match producer.map(|producer| NonNull::new(producer.cast())) {
            Ok(Some(producer)) => Ok(Mapping { consumer, producer, size }),
            failed => {
                // SAFETY: the page was mapped above, and nothing refers to it.
                let _ = unsafe { munmap(consumer.as_ptr().cast(), page) };
                Err(failed.err().unwrap_or(Errno::FAULT))
            }
        }
    }

    /// The reader's position, which this process alone writes.
    pub(crate) fn consumed(&self) -> u64 {
        self.position(self.consumer).load(Ordering::Relaxed)
    }

    /// Moves the reader's position: the kernel may write over what is before it.
    pub(crate) fn consume(&mut self, position: u64) {
        self.position(self.consumer).store(position, Ordering::Release);
    }

    /// The position behind the last record.
    pub(crate) fn produced(&self) -> u64 {
        self.position(self.producer).load(Ordering::Acquire)
    }

    /// The first word of the header at a position, which is a multiple of 8.
    pub(crate) fn header(&self, position: u64) -> u32 {
        let at = self.at(position);
        assert!(at.is_multiple_of(8), "headers are aligned");
        // SAFETY: 4 bytes at a multiple of 8 below `size` are inside the mapping, aligned, and written at once by the kernel.
        unsafe { AtomicU32::from_ptr(self.data().add(at).cast().as_ptr()) }.load(Ordering::Acquire)
    }

    /// The bytes at a position: of a record that was submitted and not yet consumed. `None` for more than there is.
    pub(crate) fn bytes(&self, position: u64, length: usize) -> Option<Vec<u8>> {
        let at = self.at(position);
        if length > self.size {
            return None;
        }
        let mut bytes = vec![0; length];
        // SAFETY: `at` is below `size` and `length` at most `size`, so that both are inside the data, which is mapped twice in
        // a row. The kernel leaves it alone: only `consume`, which takes `self` mutably, lets it go on.
        unsafe { std::ptr::copy_nonoverlapping(self.data().add(at).as_ptr(), bytes.as_mut_ptr(), length) };
        Some(bytes)
    }

    fn position(&self, page: NonNull<u8>) -> &AtomicU64 {
        // SAFETY: both pages begin with a position of 8 bytes; they are mapped for as long as `self` is there.
        unsafe { AtomicU64::from_ptr(page.cast().as_ptr()) }
    }

    fn data(&self) -> NonNull<u8> {
        // SAFETY: the data is a page behind the producer's position, in the same mapping.
        unsafe { self.producer.add(page_size()) }
    }

    fn at(&self, position: u64) -> usize {
        (position % self.size as u64) as usize
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        let page = page_size();
        // SAFETY: both were mapped with these lengths, and nothing refers to them any more.
        unsafe {
            let _ = munmap(self.consumer.as_ptr().cast(), page);
            let _ = munmap(self.producer.as_ptr().cast(), page + 2 * self.size);
        }
    }
}
