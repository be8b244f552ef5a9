//! UDP: connected sockets first, then the sockets of the exact address, then the hook, which overrides them.

use sklookup_vm::{Fault, SocketId};

use super::{Hooked, Search};
use crate::trace::{Choice, Pass, Sink, Step};

impl<S: Sink> Search<'_, S> {
    /// The socket that gets a datagram of this flow.
    pub(super) fn udp(&mut self) -> Result<Choice, Fault> {
        if let Some(socket) = self.connected() {
            return Ok(Choice::Socket(socket));
        }
        // Before the hook, which may make it futile: a reuseport program can be run here, too.
        let exact = self.search_udp(Pass::Exact, self.flow.local)?;
        if let Choice::Socket(socket) = exact
            && self.world.known(socket).is_connected()
        {
            return Ok(exact);
        }
        if let Hooked::Is(choice) = self.hook()? {
            return Ok(choice);
        }
        match exact {
            Choice::None => self.search_udp(Pass::Wildcard, self.wildcard()),
            exact => Ok(exact),
        }
    }

    /// The socket that is connected to this sender at this address. One that is connected to port 0 of its peer isn't
    /// found by its 4-tuple but by its score.
    fn connected(&mut self) -> Option<SocketId> {
        let any_vrf = self.namespace.sysctls.udp_l3mdev_accept;
        let known = self.namespace.tables.connected.get(&self.flow.tuple());
        let mut sockets = known.into_iter().flatten().copied();
        let found = sockets.find(|socket| {
            let sock = self.world.known(*socket);
            sock.is_bound_to(self.flow.local) && self.flow.is_on(sock.device, any_vrf)
        });
        self.sink.record(|| Step::Connected { found });
        found
    }
}
