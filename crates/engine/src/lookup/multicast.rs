//! Datagrams to many: each socket of the port that matches gets a copy, and no program is asked.

use sklookup_vm::SocketId;

use super::{Search, score};
use crate::trace::{Sink, Step};

impl<S: Sink> Search<'_, S> {
    /// The sockets that get a copy, oldest first.
    pub(super) fn copies(&mut self) -> Vec<SocketId> {
        let sockets = self.namespace.tables.udp_ports.get(&self.flow.local_port).into_iter().flatten().copied();
        let matching = |socket: &SocketId| {
            let sock = self.world.known(*socket);
            let pass = |address| score::udp(sock, &self.flow, address, &self.namespace.sysctls);
            let score = pass(self.flow.local).or_else(|| pass(self.wildcard()));
            self.sink.record(|| Step::Candidate { socket: *socket, score });
            score.is_some()
        };
        sockets.filter(matching).collect()
    }
}
