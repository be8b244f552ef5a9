//! Helpers of maps.

use sklookup_bpf::Reg;
use sklookup_bpf::abi::helper;

use super::args::takes;
use super::status;
use crate::fault::Did;
use crate::host::Host;
use crate::map::Found;
use crate::run::Run;
use crate::value::{Region, Value};

impl<H: Host> Run<'_, H> {
    pub(super) fn map_lookup(&mut self) -> Did<Value> {
        let number = self.map_number(Reg::R1)?;
        let found = {
            let map = self.map(number);
            takes(helper::MAP_LOOKUP_ELEM, map, Reg::R1)?;
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
            Some(Found::Map(map)) => Value::start_of(Region::Map(self.come_upon(&[map]))),
        })
    }

    pub(super) fn map_update(&mut self) -> Did<Value> {
        let map = self.map_for(helper::MAP_UPDATE_ELEM, Reg::R1)?;
        let key = self.key(&map, Reg::R2)?;
        let flags = self.number(Reg::R4)?;
        if map.holds_bytes() {
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

    /// `bpf_map_delete_elem(map, key)`.
    pub(super) fn map_delete(&mut self) -> Did<Value> {
        let map = self.map_for(helper::MAP_DELETE_ELEM, Reg::R1)?;
        let key = self.key(&map, Reg::R2)?;
        Ok(status(map.remove(&key, self.host.sockets())))
    }

    /// `bpf_map_lookup_percpu_elem(map, key, cpu)`.
    pub(super) fn map_lookup_percpu(&mut self) -> Did<Value> {
        let number = self.map_number(Reg::R1)?;
        let map = self.map_for(helper::MAP_LOOKUP_PERCPU_ELEM, Reg::R1)?;
        let (key, cpu) = (self.key(&map, Reg::R2)?, self.number(Reg::R3)? as u32);
        let found = if cpu < map.cpus() { map.find(&key, cpu, self.host.sockets()) } else { None };
        Ok(match found {
            Some(Found::Value(place)) => Value::start_of(Region::MapValue { map: number, place }),
            _ => Value::NULL,
        })
    }
}
