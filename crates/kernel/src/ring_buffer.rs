//! Reading the records of a ring buffer.

use std::os::fd::AsFd;

use rustix::io::Errno;
use sklookup_bpf::MapType;

use crate::error::{Error, Result};
use crate::map::Map;
use crate::sys::ring::Mapping;

/// In a header: a program still writes the record (`BPF_RINGBUF_BUSY_BIT`).
const BUSY: u32 = 1 << 31;
/// In a header: the record was given up (`BPF_RINGBUF_DISCARD_BIT`).
const DISCARDED: u32 = 1 << 30;
/// Bytes of a header (`BPF_RINGBUF_HDR_SZ`).
const HEADER: u64 = 8;

/// The reader of a RINGBUF. A ring buffer has one: two would take records from each other, and the same ones twice.
#[derive(Debug)]
pub struct RingBuffer {
    memory: Mapping,
}

impl RingBuffer {
    /// Begins to read where the last reader ended.
    ///
    /// # Errors
    /// EINVAL if the map is something else; EPERM without the right to write it; ENOMEM.
    pub fn new(map: &Map) -> Result<RingBuffer> {
        let fail = |errno| Error::new("mmap", format!("ring buffer `{}`", map.info().name), errno);
        if !map.info().is(MapType::Ringbuf) {
            return Err(Error::new("mmap", format!("`{}`, which is not a ring buffer", map.info().name), Errno::INVAL));
        }
        let memory = Mapping::new(map.as_fd(), map.info().max_entries as usize).map_err(fail)?;
        Ok(RingBuffer { memory })
    }

    /// Takes the next record out; `None` when all were read, or a program still writes the next.
    pub fn next_record(&mut self) -> Option<Vec<u8>> {
        let mut position = self.memory.consumed();
        let produced = self.memory.produced();
        while position < produced {
            let header = self.memory.header(position);
            if header & BUSY != 0 {
                return None;
            }
            let length = header & !DISCARDED;
            let record =
                if header & DISCARDED == 0 { self.memory.bytes(position + HEADER, length as usize) } else { None };
            position += (HEADER + u64::from(length)).next_multiple_of(8);
            self.memory.consume(position);
            if record.is_some() {
                return record;
            }
        }
        None
    }
}
