//! Loads, stores and atomic operations, by region.

use sklookup_bpf::{AtomicOp, Reg, Size};

use super::Run;
use super::stack::Stack;
use crate::fault::Did;
use crate::host::Host;
use crate::value::{Pointer, Region, Value};
use crate::words::{Words, mask, number};

impl<H: Host> Run<'_, H> {
    /// `base + offset`, which has to be a pointer.
    #[inline(always)]
    pub(super) fn address(&self, base: Reg, offset: i16) -> Did<Pointer> {
        match self.register(base)? {
            Value::Pointer(pointer) => Ok(pointer.plus(offset as u64)),
            number => Err(format!("goes to memory at {number} in {base}")),
        }
    }

    #[inline(always)]
    pub(super) fn load(&self, at: Pointer, size: Size) -> Did<Value> {
        let refused = || format!("reads {} bytes at offset {} of {}", size.bytes(), at.offset, at.region);
        match at.region {
            Region::Context => self.host.context(at.offset, size).ok_or_else(refused),
            Region::Socket(socket) => {
                self.host.socket_field(socket, at.offset, size).map(Value::Scalar).ok_or_else(refused)
            }
            Region::Stack { frame } => self.stack_of(frame)?.load(at.offset, size),
            Region::MapValue { .. } | Region::Record(_) => {
                let (words, from) = self.readable_words(at, size.bytes())?;
                Ok(Value::Scalar(words.load(from, size)))
            }
            Region::Packet | Region::Key { .. } => {
                let mut bytes = [0; 8];
                self.read(at, &mut bytes[..size.bytes()])?;
                Ok(Value::Scalar(number(&bytes[..size.bytes()])))
            }
            Region::Map(_) | Region::Subprogram { .. } => Err(refused()),
        }
    }

    #[inline(always)]
    pub(super) fn store(&mut self, at: Pointer, size: Size, value: u64) -> Did<()> {
        match at.region {
            Region::Stack { frame } => self.stack_of_mut(frame)?.store(at.offset, size, value),
            Region::MapValue { .. } | Region::Record(_) => {
                let (words, to) = self.writable_words(at, size.bytes())?;
                words.store(to, size, value);
                Ok(())
            }
            region => Err(format!("writes {} to {region}", Value::Scalar(value))),
        }
    }

    /// Puts a pointer by, which can be done on the stack alone.
    pub(super) fn store_pointer(&mut self, at: Pointer, size: Size, value: Pointer) -> Did<()> {
        match at.region {
            Region::Stack { frame } => self.stack_of_mut(frame)?.store_pointer(at.offset, size, value),
            region => Err(format!("writes {} to {region}", Value::Pointer(value))),
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
            Region::MapValue { .. } | Region::Record(_) => {
                self.readable_words(at, size.bytes())?;
                let (words, to) = self.writable_words(at, size.bytes())?;
                words.update(to, size, change)
            }
            Region::Stack { frame } => {
                let stack = self.stack_of_mut(frame)?;
                let Value::Scalar(old) = stack.load(at.offset, size)? else {
                    return Err("calculates with a pointer on the stack".to_owned());
                };
                if let Some(new) = change(old) {
                    stack.store(at.offset, size, new)?;
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
            Region::Stack { frame } => self.stack_of(frame)?.read(from.offset, to),
            Region::MapValue { .. } | Region::Record(_) => {
                let (words, start) = self.readable_words(from, to.len())?;
                for (at, byte) in (start..).zip(to) {
                    *byte = words.load(at, Size::B1) as u8;
                }
                Ok(())
            }
            Region::Packet => copy(self.host.packet(), "packet", from.offset, to),
            Region::Key { frame } => {
                let round = frame.checked_sub(1).and_then(|frame| self.frames.get(frame)?.round.as_ref());
                let round = round.ok_or_else(|| "reads a key after its callback has returned".to_owned())?;
                copy(round.key(), "key", from.offset, to)
            }
            region => Err(format!("gives {region} where {} bytes of memory have to be", to.len())),
        }
    }

    /// Copies bytes to where a helper is told to write them.
    pub(super) fn write_bytes(&mut self, to: Pointer, from: &[u8]) -> Did<()> {
        if from.is_empty() {
            return Ok(());
        }
        match to.region {
            Region::Stack { frame } => {
                let stack = self.stack_of_mut(frame)?;
                let mut bytes = (to.offset..).zip(from);
                bytes.try_for_each(|(at, byte)| stack.store(at, Size::B1, u64::from(*byte)))
            }
            Region::MapValue { .. } | Region::Record(_) => {
                let (words, start) = self.writable_words(to, from.len())?;
                for (at, byte) in (start..).zip(from) {
                    words.store(at, Size::B1, u64::from(*byte));
                }
                Ok(())
            }
            region => Err(format!("has {} bytes written to {region}", from.len())),
        }
    }

    /// The memory of a map that has these bytes, and where they begin in it.
    fn words(&self, at: Pointer, bytes: usize) -> Did<(&Words, usize)> {
        let (map, place, size, what) = match at.region {
            Region::MapValue { map, place } => {
                let map = self.map(map);
                (map, place, map.spec().value_size as usize, "a value")
            }
            Region::Record(number) => {
                let (map, start, size) = self.records.open(number)?;
                (map, start, size, "a record")
            }
            region => return Err(format!("accesses {bytes} bytes of {region}")),
        };
        let start =
            usize::try_from(at.offset).ok().filter(|start| start.checked_add(bytes).is_some_and(|end| end <= size));
        let (Some(start), Some((words, first))) = (start, map.value_at(place)) else {
            let offset = at.offset;
            return Err(format!(
                "accesses {bytes} bytes at offset {offset} of {what} of `{}`, which has {size}",
                map.spec().name
            ));
        };
        Ok((words, first + start))
    }

    fn readable_words(&self, at: Pointer, bytes: usize) -> Did<(&Words, usize)> {
        if let Region::MapValue { map, .. } = at.region {
            let map = self.map(map);
            if !map.is_readable_by_programs() {
                return Err(format!("reads from `{}`, which programs may only write", map.spec().name));
            }
        }
        self.words(at, bytes)
    }

    fn writable_words(&self, at: Pointer, bytes: usize) -> Did<(&Words, usize)> {
        if let Region::MapValue { map, .. } = at.region {
            let map = self.map(map);
            if !map.is_writable_by_programs() {
                return Err(format!("writes to `{}`, which programs may only read", map.spec().name));
            }
        }
        self.words(at, bytes)
    }

    fn stack_of(&self, frame: usize) -> Did<&Stack> {
        match frame.checked_sub(1) {
            None => Ok(&self.stack),
            Some(call) => self.frames.get(call).map(|frame| &frame.stack).ok_or_else(returned),
        }
    }

    fn stack_of_mut(&mut self, frame: usize) -> Did<&mut Stack> {
        match frame.checked_sub(1) {
            None => Ok(&mut self.stack),
            Some(call) => self.frames.get_mut(call).map(|frame| &mut frame.stack).ok_or_else(returned),
        }
    }
}

fn returned() -> String {
    "accesses the stack of a call that has returned".to_owned()
}

/// Copies bytes out of what a program sees as memory of so many bytes.
fn copy(bytes: &[u8], of: &str, offset: i64, to: &mut [u8]) -> Did<()> {
    let start = usize::try_from(offset).ok();
    let found = start.and_then(|start| bytes.get(start..start.checked_add(to.len())?));
    let outside = || format!("reads {} bytes at offset {offset} of a {of} of {}", to.len(), bytes.len());
    to.copy_from_slice(found.ok_or_else(outside)?);
    Ok(())
}
