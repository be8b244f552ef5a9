//! What a helper is given: registers as what it takes them for.

use sklookup_bpf::Reg;

use crate::fault::Did;
use crate::host::Host;
use crate::map::Map;
use crate::run::Run;
use crate::socket::SocketId;
use crate::value::{MapNumber, Pointer, Region, Value};

impl<H: Host> Run<'_, H> {
    pub(in crate::run) fn pointer(&self, reg: Reg) -> Did<Pointer> {
        match self.register(reg)? {
            Value::Pointer(pointer) => Ok(pointer),
            number => Err(format!("gives {number} in {reg}, where an address has to be")),
        }
    }

    pub(in crate::run) fn map_number(&self, reg: Reg) -> Did<MapNumber> {
        match self.register(reg)? {
            Value::Pointer(Pointer { region: Region::Map(number), offset: 0 }) => Ok(number),
            other => Err(format!("gives {other} in {reg}, where a map has to be")),
        }
    }

    pub(in crate::run) fn map_in(&self, reg: Reg) -> Did<Map> {
        Ok(self.map(self.map_number(reg)?).clone())
    }

    pub(in crate::run) fn key(&self, map: &Map, reg: Reg) -> Did<Vec<u8>> {
        let mut key = vec![0; map.spec().key_size as usize];
        self.read(self.pointer(reg)?, &mut key)?;
        Ok(key)
    }

    pub(in crate::run) fn context_in(&self, reg: Reg) -> Did<()> {
        match self.register(reg)? {
            Value::Pointer(Pointer { region: Region::Context, offset: 0 }) => Ok(()),
            other => Err(format!("gives {other} in {reg}, where the context as it came has to be")),
        }
    }

    pub(in crate::run) fn socket_in(&self, reg: Reg) -> Did<SocketId> {
        match self.register(reg)? {
            Value::Pointer(Pointer { region: Region::Socket(socket), offset: 0 }) => Ok(socket),
            other => Err(format!("gives {other} in {reg}, where a socket has to be")),
        }
    }

    pub(in crate::run) fn socket_or_null(&self, reg: Reg) -> Did<Option<SocketId>> {
        match self.register(reg)? {
            Value::NULL => Ok(None),
            _ => self.socket_in(reg).map(Some),
        }
    }
}
