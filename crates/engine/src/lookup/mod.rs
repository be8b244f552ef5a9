//! From a packet to its receiver: the pipelines of TCP and UDP, in the kernel's order.

mod flow;
mod multicast;
mod reuseport;
mod score;
mod search;
mod tcp;
mod udp;

use sklookup_vm::{Fault, SocketId};

use crate::addresses::{LOOPBACK, is_multicast_or_broadcast};
use crate::delivery::Delivery;
use crate::hook::Chain;
use crate::hook::context::LookupContext;
use crate::machine::Machine;
use crate::netns::Lookup;
use crate::packet::{Ingress, Packet, Protocol};
use crate::trace::{Choice, HookResult, Sink, Step};
use crate::world::{Namespace, World};
use flow::Flow;

/// One lookup.
struct Search<'a, S> {
    machine: &'a Machine,
    world: &'a World,
    namespace: &'a Namespace,
    flow: Flow,
    /// The packet, where there is one: reuseport programs are run for packets only.
    packet: Option<&'a Packet>,
    sink: &'a mut S,
}

/// What happens to a packet that arrives.
pub(crate) fn receive<S: Sink>(
    machine: &Machine,
    world: &World,
    netns: usize,
    packet: &Packet,
    sink: &mut S,
) -> Result<Delivery, Fault> {
    let namespace = &world.namespaces[netns];
    let (source, destination) = (packet.source.ip(), packet.destination.ip());
    if source.is_ipv4() != destination.is_ipv4() {
        return Ok(Delivery::NotLocal);
    }
    let copied = packet.protocol == Protocol::Udp && is_multicast_or_broadcast(&namespace.interfaces, destination);
    let (dif, sdif) = match (packet.ingress, namespace.local.owner(destination)) {
        (Ingress::Interface(index), _) if copied => namespace.behind_vrf(index),
        (Ingress::Host, _) if copied => (LOOPBACK, 0),
        (_, None) => return Ok(Delivery::NotLocal),
        (Ingress::Host, Some(owner)) => namespace.behind_vrf(owner),
        (Ingress::Interface(index), Some(_)) => namespace.behind_vrf(index),
    };
    let flow = Flow::new(packet.protocol, packet.source, packet.destination, (dif, sdif), packet.cpu);
    sink.record(|| Step::Interface { index: dif });
    let mut search = Search { machine, world, namespace, flow, packet: Some(packet), sink };
    if copied {
        return Ok(Delivery::Copies(search.copies()));
    }
    match packet.protocol {
        Protocol::Tcp => search.receive_tcp(packet),
        Protocol::Udp => match search.udp()? {
            Choice::Socket(socket) => Ok(Delivery::Socket(socket)),
            Choice::Refused | Choice::None => Ok(Delivery::Unreachable),
        },
    }
}

/// Whom an ICMP error is for that answers `sent`. It is looked up as a packet from `sent`'s destination to its source.
pub(crate) fn receive_error<S: Sink>(
    machine: &Machine,
    world: &World,
    netns: usize,
    sent: &Packet,
    sink: &mut S,
) -> Result<Delivery, Fault> {
    let namespace = &world.namespaces[netns];
    let Some(owner) = namespace.local.owner(sent.source.ip()) else { return Ok(Delivery::NotLocal) };
    let (dif, sdif) = match sent.ingress {
        Ingress::Interface(index) => namespace.behind_vrf(index),
        // Where the error arrives: an IPv4 error of this host comes in through loopback.
        Ingress::Host if sent.source.is_ipv4() => (LOOPBACK, 0),
        Ingress::Host => namespace.behind_vrf(owner),
    };
    let flow = Flow::new(sent.protocol, sent.destination, sent.source, (dif, sdif), sent.cpu);
    sink.record(|| Step::Interface { index: dif });
    let mut search = Search { machine, world, namespace, flow, packet: None, sink };
    let found = match sent.protocol {
        // Errors about handshakes and connections only: listeners are not asked.
        Protocol::Tcp => search.connection_owner(),
        Protocol::Udp => match search.udp()? {
            Choice::Socket(socket) => Some(socket),
            Choice::Refused | Choice::None => None,
        },
    };
    Ok(found.map_or(Delivery::Dropped, Delivery::Socket))
}

/// The socket that a lookup without a packet finds.
pub(crate) fn without_packet<S: Sink>(
    machine: &Machine,
    world: &World,
    netns: usize,
    lookup: &Lookup,
    sink: &mut S,
) -> Result<Option<SocketId>, Fault> {
    let namespace = &world.namespaces[netns];
    let flow = Flow::new(lookup.protocol, lookup.source, lookup.destination, (lookup.interface, 0), 0);
    sink.record(|| Step::Interface { index: lookup.interface });
    let mut search = Search { machine, world, namespace, flow, packet: None, sink };
    let choice = match lookup.protocol {
        Protocol::Tcp => match search.connection_owner() {
            Some(socket) => Choice::Socket(socket),
            None => search.listener()?,
        },
        Protocol::Udp => search.udp()?,
    };
    Ok(match choice {
        Choice::Socket(socket) => Some(socket),
        Choice::Refused | Choice::None => None,
    })
}

impl<S: Sink> Search<'_, S> {
    /// Runs the programs of the namespace, and asks the reuseport group of whom they select.
    fn hook(&mut self) -> Result<Hooked, Fault> {
        if self.namespace.attached.is_empty() {
            return Ok(Hooked::Continue);
        }
        let flow = &self.flow;
        let (remote, local) = ((flow.remote, flow.remote_port), (flow.local, flow.local_port));
        let context = LookupContext::new(u16::from(flow.protocol.number()), remote, local, flow.dif);
        let mut chain = Chain::new();
        for (place, (_, program)) in self.namespace.attached.iter().enumerate() {
            self.sink.record(|| Step::Program { place, id: program.id(), name: program.name().to_owned() });
            chain.run(program, self.machine, self.world, &context, self.flow.cpu, self.sink)?;
        }
        let result = chain.result();
        self.sink.record(|| Step::Hook { result });
        let (socket, no_reuseport) = match result {
            HookResult::Continue => return Ok(Hooked::Continue),
            HookResult::Drop => return Ok(Hooked::Is(Choice::None)),
            HookResult::Selected { socket, no_reuseport } => (socket, no_reuseport),
        };
        let sock = self.world.known(socket);
        if no_reuseport || !sock.reuse_port {
            return Ok(Hooked::Is(Choice::Socket(socket)));
        }
        // Whoever is refused by a group is refused: there is no regular lookup after a selection.
        Ok(Hooked::Is(match self.group_choice(sock)? {
            Choice::None => Choice::Socket(socket),
            choice => choice,
        }))
    }
}

/// What the hook leaves to do.
enum Hooked {
    /// The regular lookup.
    Continue,
    /// Nothing: this is the answer of the lookup.
    Is(Choice),
}

impl Namespace {
    /// The interfaces of a lookup for what comes in through this one: a VRF stands in front of its members.
    fn behind_vrf(&self, index: u32) -> (u32, u32) {
        let vrf = self.interfaces.iter().find(|interface| interface.index == index).and_then(|interface| interface.vrf);
        vrf.map_or((index, 0), |vrf| (vrf, index))
    }
}
