//! Loads, stores and atomic operations, by region.

use sklookup_bpf::{AtomicOp, Reg, Size};

use super::Run;
use super::stack::Stack;
use crate::fault::Did;
use crate::host::Host;
use crate::value::{MapNumber, Pointer, Region, Value};
use crate::words::{Words, mask, number};

impl<H: Host> Run<'_, H> {
    /// `base + offset`, which has to be a pointer.
    pub(super) fn address(&self, base: Reg, offset: i16) -> Did<Pointer> {
        match self.register(base)? {
            Value::Pointer(pointer) => Ok(pointer.plus(offset as u64)),
            number => Err(format!("goes to memory at {number} in {base}")),
        }
    }

    pub(super) fn load(&self, at: Pointer, size: Size) -> Did<Value> {
        let refused = || format!("reads {} bytes at offset {} of {}", size.bytes(), at.offset, at.region);
        match at.region {
            Region::Context => self.host.context(at.offset, size).ok_or_else(refused),
            Region::Socket(socket) => {
                self.host.socket_field(socket, at.offset, size).map(Value::Scalar).ok_or_else(refused)
            }
            Region::Stack { frame } => self.stack_of(frame).load(at.offset, size),
            Region::MapValue { map, place } => {
                let (words, from) = self.value(map, place, at.offset, size.bytes())?;
                Ok(Value::Scalar(words.load(from, size)))
            }
            Region::Packet => {
                let mut bytes = [0; 8];
                self.read(at, &mut bytes[..size.bytes()])?;
                Ok(Value::Scalar(number(&bytes[..size.bytes()])))
            }
            Region::Map(_) | Region::Subprogram { .. } => Err(refused()),
        }
    }

    pub(super) fn store(&mut self, at: Pointer, size: Size, value: Value) -> Did<()> {
        match (at.region, value) {
            (Region::Stack { frame }, value) => self.stack_of_mut(frame).store(at.offset, size, value),
            (Region::MapValue { map, place }, Value::Scalar(number)) => {
                self.check_writable(map)?;
                let (words, to) = self.value(map, place, at.offset, size.bytes())?;
                words.store(to, size, number);
                Ok(())
            }
            (region, value) => Err(format!("writes {value} to {region}")),
        }
    }

    /// Answers the old number in the source register, or in R0, where the operation says so.
    pub(super) fn atomic(&mut self, size: Size, op: AtomicOp, at: Pointer, src: Reg) -> Did<()> {
        let operand = self.number(src)?;
        let expected = if op == AtomicOp::Cmpxchg { self.number(Reg::R0)? & mask(size.bytes()) } else { 0 };
        let change = |old: u64| match op {
            AtomicOp::Add { .. } => Some(old.wrapping_add(operand)),
            AtomicOp::Or { .. } => Some(old | operand),
            AtomicOp::And { .. } => Some(old & operand),
            AtomicOp::Xor { .. } => Some(old ^ operand),
            AtomicOp::Xchg => Some(operand),
            AtomicOp::Cmpxchg => (old == expected).then_some(operand),
        };
        if at.offset.rem_euclid(size.bytes() as i64) != 0 {
            return Err(format!("changes {} bytes at offset {}, which is not a multiple", size.bytes(), at.offset));
        }
        let old = match at.region {
            Region::MapValue { map, place } => {
                self.check_writable(map)?;
                let (words, to) = self.value(map, place, at.offset, size.bytes())?;
                words.update(to, size, change)
            }
            Region::Stack { frame } => {
                let stack = self.stack_of_mut(frame);
                let Value::Scalar(old) = stack.load(at.offset, size)? else {
                    return Err("calculates with a pointer on the stack".to_owned());
                };
                if let Some(new) = change(old) {
                    stack.store(at.offset, size, Value::Scalar(new))?;
                }
                old
            }
            region => return Err(format!("writes to {region}")),
        };
        match op {
            AtomicOp::Add { fetch: false }
            | AtomicOp::Or { fetch: false }
            | AtomicOp::And { fetch: false }
            | AtomicOp::Xor { fetch: false } => {}
            AtomicOp::Cmpxchg => self.write(Reg::R0, Value::Scalar(old)),
            _ => self.write(src, Value::Scalar(old)),
        }
        Ok(())
    }

    /// Copies the bytes that a helper is given by address.
    pub(super) fn read(&self, from: Pointer, to: &mut [u8]) -> Did<()> {
        match from.region {
            Region::Stack { frame } => self.stack_of(frame).read(from.offset, to),
            Region::MapValue { map, place } => {
                let (words, start) = self.value(map, place, from.offset, to.len())?;
                for (at, byte) in (start..).zip(to) {
                    *byte = words.load(at, Size::B1) as u8;
                }
                Ok(())
            }
            Region::Packet => {
                let packet = self.host.packet();
                let start = usize::try_from(from.offset).ok();
                let bytes = start.and_then(|start| packet.get(start..start.checked_add(to.len())?));
                let outside =
                    || format!("reads {} bytes at offset {} of a packet of {}", to.len(), from.offset, packet.len());
                to.copy_from_slice(bytes.ok_or_else(outside)?);
                Ok(())
            }
            region => Err(format!("gives {region} where {} bytes of memory have to be", to.len())),
        }
    }

    /// The memory of a map, and where so many bytes of a value begin in it.
    fn value(&self, map: MapNumber, place: usize, offset: i64, bytes: usize) -> Did<(&Words, usize)> {
        let map = self.map(map);
        let size = map.spec().value_size as usize;
        let start =
            usize::try_from(offset).ok().filter(|start| start.checked_add(bytes).is_some_and(|end| end <= size));
        let (Some(start), Some((words, first))) = (start, map.value_at(place)) else {
            return Err(format!(
                "accesses {bytes} bytes at offset {offset} of a value of `{}`, which has {size}",
                map.spec().name
            ));
        };
        if !map.is_readable_by_programs() {
            return Err(format!("accesses `{}`, which programs may only write by helper", map.spec().name));
        }
        Ok((words, first + start))
    }

    fn check_writable(&self, map: MapNumber) -> Did<()> {
        let map = self.map(map);
        if map.is_writable_by_programs() {
            return Ok(());
        }
        Err(format!("writes to `{}`, which programs may only read", map.spec().name))
    }

    fn stack_of(&self, frame: usize) -> &Stack {
        match frame {
            0 => &self.stack,
            frame => &self.frames[frame - 1].stack,
        }
    }

    fn stack_of_mut(&mut self, frame: usize) -> &mut Stack {
        match frame {
            0 => &mut self.stack,
            frame => &mut self.frames[frame - 1].stack,
        }
    }
}
