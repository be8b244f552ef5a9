//! Helpers of ring buffers.

use sklookup_bpf::Reg;
use sklookup_bpf::abi::helper;

use super::status;
use crate::errno::Errno;
use crate::fault::Did;
use crate::host::Host;
use crate::run::Run;
use crate::value::{Pointer, Region, Value};

/// `BPF_RB_NO_WAKEUP` and `BPF_RB_FORCE_WAKEUP`: nobody sleeps here.
const WAKEUP_FLAGS: u64 = 3;

impl<H: Host> Run<'_, H> {
    /// `bpf_ringbuf_reserve(map, size, flags)`.
    pub(super) fn ringbuf_reserve(&mut self) -> Did<Value> {
        let map = self.map_for(helper::RINGBUF_RESERVE, Reg::R1)?;
        let (size, flags) = (self.number(Reg::R2)?, self.number(Reg::R3)?);
        let record = if flags == 0 { self.records.reserve(&map, size) } else { None };
        Ok(record.map_or(Value::NULL, |record| Value::start_of(Region::Record(record))))
    }

    /// `bpf_ringbuf_submit(record, flags)` and `bpf_ringbuf_discard`.
    pub(super) fn ringbuf_finish(&mut self, discard: bool) -> Did<Value> {
        match self.register(Reg::R1)? {
            Value::Pointer(Pointer { region: Region::Record(record), offset: 0 }) => {
                self.number(Reg::R2)?;
                self.records.finish(record, discard)?;
                Ok(Value::NULL)
            }
            other => Err(format!("gives {other} in r1, where a record as it was reserved has to be")),
        }
    }

    /// `bpf_ringbuf_output(map, data, size, flags)`.
    pub(super) fn ringbuf_output(&mut self) -> Did<Value> {
        let map = self.map_for(helper::RINGBUF_OUTPUT, Reg::R1)?;
        let bytes = self.bytes(Reg::R2, Reg::R3)?;
        if self.number(Reg::R4)? & !WAKEUP_FLAGS != 0 {
            return Ok(status(Err(Errno::INVAL)));
        }
        Ok(status(map.output(&bytes)))
    }

    /// `bpf_ringbuf_query(map, what)`.
    pub(super) fn ringbuf_query(&mut self) -> Did<Value> {
        let map = self.map_for(helper::RINGBUF_QUERY, Reg::R1)?;
        Ok(Value::Scalar(map.query(self.number(Reg::R2)?)))
    }
}
