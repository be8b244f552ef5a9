//! What surrounds an sk_lookup program while it runs.

use sklookup_bpf::Size;
use sklookup_vm::{Errno, Host, Map, SocketId, Value};

use super::assign::{self, NO_REUSEPORT, Unselectable};
use super::context::LookupContext;
use super::fields;
use crate::machine::Machine;
use crate::trace::{Sink, Step};
use crate::world::World;

/// A run of one program.
pub(crate) struct LookupHost<'a, S> {
    pub(crate) machine: &'a Machine,
    pub(crate) world: &'a World,
    pub(crate) context: &'a LookupContext,
    pub(crate) cpu: u32,
    /// What the program has selected, at first what the chain has.
    pub(crate) selected: Option<SocketId>,
    /// The flag of the last assignment that was accepted.
    pub(crate) no_reuseport: bool,
    /// Bytes that it has printed.
    pub(crate) printed: usize,
    pub(crate) sink: &'a mut S,
}

/// Most bytes of what a run prints that are kept, so that a program that prints in a loop can't fill the memory.
const MAX_PRINTED: usize = 16 << 10;

impl<S: Sink> Host for LookupHost<'_, S> {
    type Sockets = World;

    fn sockets(&self) -> &World {
        self.world
    }

    fn context(&self, offset: i64, size: Size) -> Option<Value> {
        self.context.read(offset, size, self.selected)
    }

    fn socket_field(&self, socket: SocketId, offset: i64, size: Size) -> Option<u64> {
        fields::of_socket(self.world, socket, offset, size)
    }

    fn packet(&self) -> &[u8] {
        &[]
    }

    fn sk_assign(&mut self, socket: Option<SocketId>, flags: u64) -> Result<(), Errno> {
        let LookupContext { family, protocol, .. } = *self.context;
        let candidate = socket.map(|socket| self.world.sock(socket).ok_or(Unselectable));
        let result = assign::check(candidate, family, protocol, self.selected.is_some(), flags);
        if result.is_ok() {
            self.selected = socket;
            self.no_reuseport = flags & NO_REUSEPORT != 0;
        }
        self.sink.record(|| Step::Assign { socket, flags, result });
        result
    }

    fn sk_select_reuseport(&mut self, _map: &Map, _key: &[u8], _flags: u64) -> Result<(), Errno> {
        Err(Errno::INVAL)
    }

    fn cpu(&self) -> u32 {
        self.cpu
    }

    fn time(&self) -> u64 {
        self.machine.time()
    }

    fn random(&mut self) -> u32 {
        self.machine.random()
    }

    fn print(&mut self, text: &[u8]) {
        if self.printed > MAX_PRINTED {
            return;
        }
        // An empty line is counted, too.
        self.printed += text.len() + 1;
        let more = self.printed > MAX_PRINTED;
        self.sink.record(|| match more {
            false => Step::Prints { text: String::from_utf8_lossy(text).into_owned() },
            true => Step::PrintsMore,
        });
    }
}
