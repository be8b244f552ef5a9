//! Which member of a SO_REUSEPORT group gets a packet.

use sklookup_bpf::abi::SK_PASS;
use sklookup_vm::{Fault, SocketId};

use super::Search;
use crate::hook::reuseport::ReuseportHost;
use crate::packet::Packet;
use crate::program::{Program, Verdict};
use crate::socket::sock::{GroupId, Sock};
use crate::trace::{Choice, ChosenBy, Sink, Step};

impl<S: Sink> Search<'_, S> {
    /// The choice of the group that a socket is in: by its program if there is a packet for it to look at, else by hash.
    pub(super) fn group_choice(&mut self, sock: &Sock) -> Result<Choice, Fault> {
        let Some(id) = sock.group else { return Ok(Choice::None) };
        let group = self.world.group(id);
        let (of, members) = (sock.id, group.members.len());
        let hash = self.flow.hash(self.machine.config().seed);
        if let (Some(program), Some(packet)) = (&group.program, self.packet) {
            let (verdict, selected) = self.run_reuseport(program, (sock, id), hash, packet)?;
            let choice = match (verdict, selected) {
                (Verdict::Drop, _) => Choice::Refused,
                (Verdict::Pass, Some(member)) => Choice::Socket(member),
                (Verdict::Pass, None) => Choice::None,
            };
            self.sink.record(|| {
                let by = ChosenBy::Program { id: program.id(), verdict };
                Step::Reuseport { of, members, by, choice }
            });
            if choice != Choice::None {
                return Ok(choice);
            }
        }
        let (by, choice) = self.by_hash(&group.members, hash);
        self.sink.record(|| Step::Reuseport { of, members, by, choice });
        Ok(choice)
    }

    /// Whatever isn't [`SK_PASS`] refuses.
    fn run_reuseport(
        &self,
        program: &Program,
        member: (&Sock, GroupId),
        hash: u32,
        packet: &Packet,
    ) -> Result<(Verdict, Option<SocketId>), Fault> {
        let mut host = ReuseportHost::new(self.machine, self.world, member, hash, packet);
        let outcome = self.machine.run(program.code(), &mut host)?;
        // The kernel looks at 32 bits.
        let verdict = if outcome.value as u32 == SK_PASS as u32 { Verdict::Pass } else { Verdict::Drop };
        Ok((verdict, host.selected))
    }

    /// The member at the hash's place or the next that isn't connected; one that wants this CPU goes before it.
    fn by_hash(&self, members: &[SocketId], hash: u32) -> (ChosenBy, Choice) {
        if members.is_empty() {
            return (ChosenBy::Nobody, Choice::None);
        }
        let start = ((u64::from(hash) * members.len() as u64) >> 32) as usize;
        let (before, from) = members.split_at(start);
        let unconnected = || {
            let socks = from.iter().chain(before).map(|member| self.world.known(*member));
            socks.filter(|sock| !sock.is_connected())
        };
        let of_cpu = unconnected().find(|sock| sock.incoming_cpu == Some(self.flow.cpu));
        match (of_cpu, unconnected().next()) {
            (Some(sock), _) => (ChosenBy::Cpu(self.flow.cpu), Choice::Socket(sock.id)),
            (None, Some(sock)) => (ChosenBy::Hash(hash), Choice::Socket(sock.id)),
            (None, None) => (ChosenBy::Nobody, Choice::None),
        }
    }
}
