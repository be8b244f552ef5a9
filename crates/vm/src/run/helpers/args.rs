//! What a helper is given: registers as what it takes them for.

use sklookup_bpf::abi::helper;
use sklookup_bpf::{MapType, Reg};

use super::named;
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

    /// A map of a type that this helper takes.
    pub(in crate::run) fn map_for(&self, helper: u32, reg: Reg) -> Did<Map> {
        let map = self.map_in(reg)?;
        takes(helper, &map, reg)?;
        Ok(map)
    }

    /// Bytes by their address and number.
    pub(in crate::run) fn bytes(&self, at: Reg, size: Reg) -> Did<Vec<u8>> {
        let size = self.number(size)?;
        if size == 0 {
            return Ok(Vec::new());
        }
        let at = self.pointer(at)?;
        // Whoever may read the first byte and the last, which is no nearer, has all between: no number that a program
        // makes up is allocated.
        let reach = i64::try_from(size - 1).ok().and_then(|reach| at.offset.checked_add(reach));
        let last = reach.ok_or_else(|| format!("reads {size} bytes at offset {} of {}", at.offset, at.region))?;
        self.read(at, &mut [0])?;
        self.read(Pointer { offset: last, ..at }, &mut [0])?;
        let mut bytes = vec![0; size as usize];
        self.read(at, &mut bytes)?;
        Ok(bytes)
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

/// Whether Linux lets a helper have a map of this type.
pub(super) fn takes(number: u32, map: &Map, reg: Reg) -> Did<()> {
    let kind = map.kind();
    let taken = match number {
        helper::MAP_LOOKUP_ELEM => !matches!(kind, MapType::ProgArray | MapType::Ringbuf | MapType::ReuseportSockarray),
        helper::MAP_UPDATE_ELEM | helper::MAP_DELETE_ELEM => {
            !matches!(kind, MapType::ProgArray | MapType::Ringbuf | MapType::ReuseportSockarray) && !kind.holds_maps()
        }
        helper::MAP_LOOKUP_PERCPU_ELEM => kind.is_per_cpu(),
        helper::RINGBUF_OUTPUT | helper::RINGBUF_RESERVE | helper::RINGBUF_QUERY => kind == MapType::Ringbuf,
        helper::SK_SELECT_REUSEPORT => kind.holds_sockets(),
        helper::TAIL_CALL => kind == MapType::ProgArray,
        helper::FOR_EACH_MAP_ELEM => matches!(
            kind,
            MapType::Array | MapType::PercpuArray | MapType::Hash | MapType::PercpuHash | MapType::LruHash
        ),
        _ => true,
    };
    if taken {
        return Ok(());
    }
    let (name, kind) = (&map.spec().name, kind.name());
    Err(format!("gives `{name}` of type {kind} in {reg}, which {} does not take", named(number)))
}
