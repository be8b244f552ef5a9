//! ARRAY and PERCPU_ARRAY: every index is there from the start.

use sklookup_bpf::{MapSpec, MapType};

use super::update;
use crate::errno::Errno;
use crate::words::{Words, number};

/// Values by index, one for each CPU where they are per CPU.
#[derive(Debug)]
pub(crate) struct Array {
    words: Words,
    entries: u32,
    /// Values that an index has.
    cpus: u32,
    per_cpu: bool,
    value_size: usize,
}

impl Array {
    pub(super) fn new(spec: &MapSpec, cpus: u32) -> Result<Array, Errno> {
        let value_size = spec.value_size as usize;
        let words = spec.max_entries as usize * cpus as usize * value_size.div_ceil(8);
        let per_cpu = spec.kind == MapType::PercpuArray;
        Ok(Array { words: Words::zeroed(words)?, entries: spec.max_entries, cpus, per_cpu, value_size })
    }

    #[inline]
    pub(super) fn words(&self) -> &Words {
        &self.words
    }

    /// The place of the value of an index on a CPU.
    #[inline]
    pub(super) fn place(&self, index: u32, cpu: u32) -> Option<usize> {
        (index < self.entries).then(|| index as usize * self.cpus as usize + (cpu % self.cpus) as usize)
    }

    /// The values under a key, of all CPUs.
    pub(super) fn lookup(&self, key: &[u8]) -> Result<Vec<u8>, Errno> {
        let first = self.place(number(key) as u32, 0).ok_or(Errno::NOENT)?;
        let mut values = vec![0; self.stride() * self.cpus as usize];
        self.words.read(first * self.stride(), &mut values);
        values.truncate(self.visible());
        Ok(values)
    }

    /// Writes what a program on `cpu` writes, or for `None` the values of all CPUs.
    pub(super) fn update(&self, key: &[u8], value: &[u8], flags: u64, cpu: Option<u32>) -> Result<(), Errno> {
        if flags & !update::LOCK > update::EXIST {
            return Err(Errno::INVAL);
        }
        let place = self.place(number(key) as u32, cpu.unwrap_or(0)).ok_or(Errno::TOOBIG)?;
        if flags & update::NOEXIST != 0 {
            return Err(Errno::EXIST);
        }
        if flags & update::LOCK != 0 {
            return Err(Errno::INVAL);
        }
        let expected = if cpu.is_some() { self.value_size } else { self.visible() };
        if value.len() != expected {
            return Err(Errno::INVAL);
        }
        self.words.write(place * self.stride(), value);
        Ok(())
    }

    /// Bytes from one value to the next.
    #[inline]
    pub(super) fn stride(&self) -> usize {
        self.value_size.next_multiple_of(8)
    }

    /// Bytes of what the owner of the map reads and writes.
    fn visible(&self) -> usize {
        if self.per_cpu { self.stride() * self.cpus as usize } else { self.value_size }
    }
}
