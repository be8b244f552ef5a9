//! Calls of helpers.

mod args;
mod maps;
mod print;
mod ringbuf;
mod strings;
mod table;

use sklookup_bpf::abi::helper;
use sklookup_bpf::{Reg, helper_name};

use super::{Next, Run};
use crate::errno::Errno;
use crate::fault::Did;
use crate::host::Host;
use crate::program::Program;
use crate::value::Value;

pub(crate) use table::refusal;
pub use table::{Helper, helpers};

/// Nanoseconds of a tick, 250 a second.
const JIFFY: u64 = 4_000_000;

impl<H: Host> Run<'_, H> {
    /// Calls a helper: most answer at once, some lead elsewhere first.
    pub(super) fn call_helper(&mut self, program: &Program, at: usize, number: u32) -> Did<Next> {
        match number {
            helper::LOOP => self.call_loop(at),
            helper::FOR_EACH_MAP_ELEM => self.call_for_each(at),
            helper::TAIL_CALL => self.tail_call(program, at),
            _ => {
                let result = self.answer(number)?;
                Ok(self.answered(at, result))
            }
        }
    }

    /// A helper has returned.
    pub(super) fn answered(&mut self, at: usize, result: Value) -> Next {
        self.registers[1..=5].fill(None);
        self.write(Reg::R0, result);
        Next::At(at + 1)
    }

    fn answer(&mut self, number: u32) -> Did<Value> {
        Ok(match number {
            helper::MAP_LOOKUP_ELEM => self.map_lookup()?,
            helper::MAP_UPDATE_ELEM => self.map_update()?,
            helper::MAP_DELETE_ELEM => self.map_delete()?,
            helper::MAP_LOOKUP_PERCPU_ELEM => self.map_lookup_percpu()?,
            helper::STRTOL => self.strtol()?,
            helper::STRTOUL => self.strtoul()?,
            helper::STRNCMP => self.strncmp()?,
            helper::TRACE_PRINTK => self.trace_printk()?,
            helper::TRACE_VPRINTK => self.trace_vprintk()?,
            helper::RINGBUF_OUTPUT => self.ringbuf_output()?,
            helper::RINGBUF_RESERVE => self.ringbuf_reserve()?,
            helper::RINGBUF_SUBMIT => self.ringbuf_finish(false)?,
            helper::RINGBUF_DISCARD => self.ringbuf_finish(true)?,
            helper::RINGBUF_QUERY => self.ringbuf_query()?,
            // One clock for all: the machine never sleeps and its time is never set.
            helper::KTIME_GET_NS
            | helper::KTIME_GET_BOOT_NS
            | helper::KTIME_GET_COARSE_NS
            | helper::KTIME_GET_TAI_NS => Value::Scalar(self.host.time()),
            helper::JIFFIES64 => Value::Scalar(self.host.time() / JIFFY),
            helper::GET_NUMA_NODE_ID => Value::NULL,
            helper::GET_PRANDOM_U32 => Value::Scalar(u64::from(self.host.random())),
            helper::GET_SMP_PROCESSOR_ID => Value::Scalar(u64::from(self.host.cpu())),
            helper::SK_ASSIGN => {
                self.context_in(Reg::R1)?;
                let (socket, flags) = (self.socket_or_null(Reg::R2)?, self.number(Reg::R3)?);
                status(self.host.sk_assign(socket, flags))
            }
            helper::SK_RELEASE => {
                self.socket_in(Reg::R1)?;
                Value::NULL
            }
            helper::SK_SELECT_REUSEPORT => {
                self.context_in(Reg::R1)?;
                let map = self.map_for(helper::SK_SELECT_REUSEPORT, Reg::R2)?;
                let (key, flags) = (self.key(&map, Reg::R3)?, self.number(Reg::R4)?);
                status(self.host.sk_select_reuseport(&map, &key, flags))
            }
            other => return Err(format!("calls {}, which is not implemented", named(other))),
        })
    }
}

/// 0, or the negative errno.
pub(super) fn status(result: Result<(), Errno>) -> Value {
    Value::Scalar(result.map_or_else(Errno::as_result, |()| 0))
}

/// A helper as listings show it.
pub(crate) fn named(number: u32) -> String {
    format!("{}#{number}", helper_name(number).unwrap_or("unknown"))
}
