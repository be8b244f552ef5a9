//! Calls: of helpers and of subprograms.

use sklookup_bpf::abi::helper;
use sklookup_bpf::{Reg, helper_name};

use super::stack::Stack;
use super::{Next, Run};
use crate::errno::Errno;
use crate::fault::Did;
use crate::host::Host;
use crate::map::{Found, Map};
use crate::socket::SocketId;
use crate::value::{MapNumber, Pointer, Region, Value};

/// The helpers that are implemented.
pub(crate) const HELPERS: [u32; 14] = [
    helper::MAP_LOOKUP_ELEM,
    helper::MAP_UPDATE_ELEM,
    helper::MAP_DELETE_ELEM,
    helper::KTIME_GET_NS,
    helper::GET_PRANDOM_U32,
    helper::GET_SMP_PROCESSOR_ID,
    helper::GET_NUMA_NODE_ID,
    helper::KTIME_GET_BOOT_NS,
    helper::KTIME_GET_COARSE_NS,
    helper::KTIME_GET_TAI_NS,
    helper::JIFFIES64,
    helper::SK_SELECT_REUSEPORT,
    helper::SK_RELEASE,
    helper::SK_ASSIGN,
];

/// Nanoseconds of a tick, 250 a second.
const JIFFY: u64 = 4_000_000;

/// Calls within calls that a program may make, itself being one.
const MAX_FRAMES: usize = 8;

/// A call that has not returned.
pub(super) struct Frame {
    /// Where the caller goes on.
    back: usize,
    /// R6 to R9 of the caller, which a call leaves as they are.
    saved: [Option<Value>; 4],
    /// The stack of the called.
    pub(super) stack: Stack,
}

impl<H: Host> Run<'_, H> {
    pub(super) fn call_helper(&mut self, number: u32) -> Did<()> {
        let result = match number {
            helper::MAP_LOOKUP_ELEM => self.map_lookup()?,
            helper::MAP_UPDATE_ELEM => self.map_update()?,
            helper::MAP_DELETE_ELEM => {
                let map = self.map_in(Reg::R1)?;
                let key = self.key(&map, Reg::R2)?;
                status(map.remove(&key, self.host.sockets()))
            }
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
                let map = self.map_in(Reg::R2)?;
                let (key, flags) = (self.key(&map, Reg::R3)?, self.number(Reg::R4)?);
                status(self.host.sk_select_reuseport(&map, &key, flags))
            }
            other => return Err(format!("calls {}, which is not implemented", named(other))),
        };
        self.registers[1..=5].fill(None);
        self.write(Reg::R0, result);
        Ok(())
    }

    /// The called gets R1 to R5 and a stack of its own.
    pub(super) fn call_local(&mut self, at: usize, target: usize) -> Did<Next> {
        if self.frames.len() + 1 == MAX_FRAMES {
            return Err(format!("is a call within {MAX_FRAMES} calls, the most there can be"));
        }
        let saved = [self.registers[6], self.registers[7], self.registers[8], self.registers[9]];
        self.frames.push(Frame { back: at + 1, saved, stack: Stack::new() });
        self.registers[0] = None;
        self.registers[6..=9].fill(None);
        self.registers[10] = Some(self.frame_pointer());
        Ok(Next::At(target))
    }

    /// Returns to the caller, or ends the program.
    pub(super) fn exit(&mut self) -> Did<Next> {
        let result = self.register(Reg::R0)?;
        let Some(frame) = self.frames.pop() else {
            return match result {
                Value::Scalar(value) => Ok(Next::End(value)),
                pointer => Err(format!("returns {pointer}")),
            };
        };
        self.registers[1..=5].fill(None);
        self.registers[6..=9].copy_from_slice(&frame.saved);
        self.registers[10] = Some(self.frame_pointer());
        Ok(Next::At(frame.back))
    }

    fn frame_pointer(&self) -> Value {
        Value::start_of(Region::Stack { frame: self.frames.len() })
    }

    fn map_lookup(&mut self) -> Did<Value> {
        let number = self.map_number(Reg::R1)?;
        let found = {
            let map = self.map(number);
            let key = self.pointer(Reg::R2)?;
            let cpu = self.host.cpu();
            // The key of nearly every map, without going through the heap.
            if map.spec().key_size == 4 {
                let mut bytes = [0; 4];
                self.read(key, &mut bytes)?;
                map.find(&bytes, cpu, self.host.sockets())
            } else {
                let mut bytes = vec![0; map.spec().key_size as usize];
                self.read(key, &mut bytes)?;
                map.find(&bytes, cpu, self.host.sockets())
            }
        };
        Ok(match found {
            None => Value::NULL,
            Some(Found::Value(place)) => Value::start_of(Region::MapValue { map: number, place }),
            Some(Found::Socket(socket)) => Value::start_of(Region::Socket(socket)),
            Some(Found::Map(map)) => {
                self.inner_maps.push(map);
                let number = self.program.maps.len() + self.inner_maps.len() - 1;
                Value::start_of(Region::Map(MapNumber(number)))
            }
        })
    }

    fn map_update(&mut self) -> Did<Value> {
        let map = self.map_in(Reg::R1)?;
        let key = self.key(&map, Reg::R2)?;
        let flags = self.number(Reg::R4)?;
        if map.values().is_some() {
            let mut value = vec![0; map.spec().value_size as usize];
            self.read(self.pointer(Reg::R3)?, &mut value)?;
            if !map.is_writable_by_programs() {
                return Err(format!("writes to `{}`, which programs may only read", map.spec().name));
            }
            return Ok(status(map.write(&key, &value, flags, self.host.cpu())));
        }
        let socket = self.socket_in(Reg::R3)?;
        Ok(status(map.put_socket(&key, socket, flags, self.host.sockets())))
    }

    fn pointer(&self, reg: Reg) -> Did<Pointer> {
        match self.register(reg)? {
            Value::Pointer(pointer) => Ok(pointer),
            number => Err(format!("gives {number} in {reg}, where an address has to be")),
        }
    }

    fn map_number(&self, reg: Reg) -> Did<MapNumber> {
        match self.register(reg)? {
            Value::Pointer(Pointer { region: Region::Map(number), offset: 0 }) => Ok(number),
            other => Err(format!("gives {other} in {reg}, where a map has to be")),
        }
    }

    fn map_in(&self, reg: Reg) -> Did<Map> {
        Ok(self.map(self.map_number(reg)?).clone())
    }

    fn key(&self, map: &Map, reg: Reg) -> Did<Vec<u8>> {
        let mut key = vec![0; map.spec().key_size as usize];
        self.read(self.pointer(reg)?, &mut key)?;
        Ok(key)
    }

    fn context_in(&self, reg: Reg) -> Did<()> {
        match self.register(reg)? {
            Value::Pointer(Pointer { region: Region::Context, offset: 0 }) => Ok(()),
            other => Err(format!("gives {other} in {reg}, where the context as it came has to be")),
        }
    }

    fn socket_in(&self, reg: Reg) -> Did<SocketId> {
        match self.register(reg)? {
            Value::Pointer(Pointer { region: Region::Socket(socket), offset: 0 }) => Ok(socket),
            other => Err(format!("gives {other} in {reg}, where a socket has to be")),
        }
    }

    fn socket_or_null(&self, reg: Reg) -> Did<Option<SocketId>> {
        match self.register(reg)? {
            Value::NULL => Ok(None),
            _ => self.socket_in(reg).map(Some),
        }
    }
}

/// 0, or the negative errno.
fn status(result: Result<(), Errno>) -> Value {
    Value::Scalar(result.map_or_else(Errno::as_result, |()| 0))
}

/// A helper as listings show it.
pub(crate) fn named(number: u32) -> String {
    format!("{}#{number}", helper_name(number).unwrap_or("unknown"))
}
