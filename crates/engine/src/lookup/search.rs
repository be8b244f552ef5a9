//! The regular lookup: the best socket among those bound to one address and port.

use std::net::IpAddr;

use sklookup_vm::Fault;

use super::{Search, score};
use crate::tables::Place;
use crate::trace::{Choice, Pass, Sink, Step};

impl<S: Sink> Search<'_, S> {
    /// The best listener. The first group that beats all before it ends the search, whoever comes after.
    pub(super) fn search_tcp(&mut self, pass: Pass, address: IpAddr) -> Result<Choice, Fault> {
        self.sink.record(|| Step::Search { pass, address });
        let namespace = self.namespace;
        let mut best = 0;
        let mut result = Choice::None;
        for id in namespace.tables.listeners.at(Place::new(address, self.flow.local_port)) {
            let sock = self.world.known(id);
            let score = score::tcp(sock, &self.flow, address, &namespace.sysctls);
            self.sink.record(|| Step::Candidate { socket: id, score });
            let Some(score) = score.filter(|score| *score > best) else { continue };
            if sock.reuse_port {
                let choice = self.group_choice(sock)?;
                if choice != Choice::None {
                    result = choice;
                    break;
                }
            }
            result = Choice::Socket(id);
            best = score;
        }
        self.sink.record(|| Step::Found { choice: result });
        Ok(result)
    }

    /// The best UDP socket. A group whose member was connected once doesn't end the search.
    pub(super) fn search_udp(&mut self, pass: Pass, address: IpAddr) -> Result<Choice, Fault> {
        self.sink.record(|| Step::Search { pass, address });
        let namespace = self.namespace;
        let mut best = None;
        let mut result = Choice::None;
        for id in namespace.tables.udp.at(Place::new(address, self.flow.local_port)) {
            let sock = self.world.known(id);
            let score = score::udp(sock, &self.flow, address, &namespace.sysctls);
            self.sink.record(|| Step::Candidate { socket: id, score });
            if score <= best {
                continue;
            }
            best = score;
            let asks = sock.reuse_port && !sock.is_connected();
            let choice = if asks { self.group_choice(sock)? } else { Choice::None };
            match choice {
                Choice::None => result = Choice::Socket(id),
                choice if !sock.group.is_some_and(|group| self.world.group(group).has_connections) => {
                    result = choice;
                    break;
                }
                Choice::Refused => result = Choice::Refused,
                Choice::Socket(member) => {
                    result = Choice::Socket(member);
                    best = best.max(score::udp(self.world.known(member), &self.flow, address, &namespace.sysctls));
                }
            }
        }
        self.sink.record(|| Step::Found { choice: result });
        Ok(result)
    }
}
