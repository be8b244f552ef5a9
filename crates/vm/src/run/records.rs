//! Records of ring buffers that a run has reserved.

use crate::fault::Did;
use crate::map::Map;
use crate::value::RecordNumber;

/// What was reserved, in its order. A run that breaks off gives up what it has not submitted, or the buffer's owner would
/// wait for it for ever.
#[derive(Default)]
pub(super) struct Records(Vec<Record>);

struct Record {
    map: Map,
    /// Where its bytes begin in the map's memory.
    start: usize,
    size: usize,
    open: bool,
}

impl Records {
    /// Reserves a record; `None` if there is no room.
    pub(super) fn reserve(&mut self, map: &Map, size: u64) -> Option<RecordNumber> {
        let start = map.reserve(size)?;
        self.0.push(Record { map: map.clone(), start, size: size as usize, open: true });
        Some(RecordNumber(self.0.len() - 1))
    }

    /// The map of a record, where its bytes begin in the map's memory, and how many it has.
    pub(super) fn open(&self, number: RecordNumber) -> Did<(&Map, usize, usize)> {
        let Record { map, start, size, open } = &self.0[number.0];
        if !open {
            return Err(format!("accesses a record of `{}` that was submitted or discarded", map.spec().name));
        }
        Ok((map, *start, *size))
    }

    /// Submits or discards a record.
    pub(super) fn finish(&mut self, number: RecordNumber, discard: bool) -> Did<()> {
        self.open(number)?;
        let record = &mut self.0[number.0];
        record.open = false;
        record.map.finish(record.start, discard);
        Ok(())
    }

    /// A program may not end while it has a record.
    pub(super) fn check_all_finished(&self) -> Did<()> {
        match self.0.iter().find(|record| record.open) {
            None => Ok(()),
            Some(record) => Err(format!(
                "ends the program with a record of `{}` neither submitted nor discarded",
                record.map.spec().name
            )),
        }
    }
}

impl Drop for Records {
    fn drop(&mut self) {
        for record in self.0.iter().filter(|record| record.open) {
            record.map.finish(record.start, true);
        }
    }
}
