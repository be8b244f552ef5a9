//! Packets of a case, and who got them.

use std::net::{IpAddr, SocketAddr};

use sklookup_engine::{Delivery as Engine, Family, Packet as Arriving, Protocol, Segment, Socket, SocketId, State};

use super::connection::wire;
use super::host::{Simulated, protocol};
use super::sockets::Open;
use crate::case::{Flags, Packet, Receiver, Send};
use crate::errno::Errno;
use crate::host::{Delivery, Outcome, Refusal};

const ECONNREFUSED: Errno = Errno(111);

impl Simulated {
    pub(super) fn deliver(&mut self, send: &Send) -> Outcome<Delivery> {
        let packet = self.arriving(&send.packet, send.cpu)?;
        match (send.packet.flags, &send.from) {
            (Some(flags), _) => self.segment(send, packet, flags),
            (None, Some(sender)) => self.by_socket(send, &packet, sender),
            (None, None) if send.packet.protocol == sklookup_policy::Protocol::Tcp => self.connect(send, packet),
            (None, None) => {
                let delivered = self.receive(&send.packet, &packet)?;
                Ok(plain(self.receiver(delivered, &send.packet)?))
            }
        }
    }

    /// The packet as it arrives.
    fn arriving(&mut self, packet: &Packet, cpu: Option<u32>) -> Outcome<Arriving> {
        let port = packet.source_port.unwrap_or_else(|| {
            self.next_port += 1;
            self.next_port
        });
        let source = SocketAddr::new(packet.source, port);
        let arriving = match protocol(packet) {
            Protocol::Tcp => Arriving::tcp(source, packet.destination),
            Protocol::Udp => Arriving::udp(source, packet.destination),
        };
        let arriving = arriving.on_cpu(cpu.unwrap_or(0));
        match packet.interface.as_deref().filter(|name| *name != "lo") {
            None => Ok(arriving),
            Some(name) => {
                let index = self.netns(packet.netns.as_deref())?.index_of(name);
                let index = index.ok_or_else(|| Refusal::Broken(format!("there is no interface {name}")))?;
                Ok(arriving.on_interface(index))
            }
        }
    }

    fn receive(&mut self, packet: &Packet, arriving: &Arriving) -> Outcome<Engine> {
        let (delivered, trace) = self.netns(packet.netns.as_deref())?.receive_traced(arriving);
        self.trace = Some(trace);
        delivered.map_err(|fault| Refusal::Broken(format!("a program broke off: {fault}")))
    }

    fn receiver(&self, delivered: Engine, packet: &Packet) -> Outcome<Receiver> {
        match delivered {
            Engine::Socket(id) => self.named(id).map(Receiver::Socket),
            Engine::Copies(ids) => match ids[..] {
                [] => Ok(Receiver::Dropped),
                [id] => self.named(id).map(Receiver::Socket),
                _ => Err(Refusal::Broken(format!("{packet}: {} sockets got a copy", ids.len()))),
            },
            Engine::Reset => Ok(Receiver::Reset),
            Engine::Unreachable => Ok(Receiver::Unreachable),
            Engine::Dropped => Ok(Receiver::Dropped),
            other => Err(Refusal::Broken(format!("{packet}: {other:?}"))),
        }
    }

    fn named(&self, id: SocketId) -> Outcome<String> {
        let found = self.sockets.iter().find(|(_, open)| open.id() == id);
        found
            .map(|(name, _)| name.clone())
            .ok_or_else(|| Refusal::Broken(format!("socket {id} got it, which is none of the case's")))
    }

    /// A client that connects: its SYN, the acknowledgement that ends the handshake, a byte.
    fn connect(&mut self, send: &Send, syn: Arriving) -> Outcome<Delivery> {
        let listener = match self.receive(&send.packet, &syn)? {
            Engine::Socket(id) => self.named(id)?,
            other => return Ok(plain(self.receiver(other, &send.packet)?)),
        };
        if !self.answers(&listener, &send.packet)? {
            return Ok(plain(Receiver::Dropped));
        }
        let broken =
            |what: &str, delivered: Engine| Refusal::Broken(format!("{}: {what} came to {delivered:?}", send.packet));
        let acknowledgement = syn.clone().with_segment(Segment::ACK);
        let socket = self.socket(&listener)?.internet()?.clone();
        if self.syn_cookies {
            // Nothing remembers the SYN: the acknowledgement is looked up as the SYN was.
            match self.receive(&send.packet, &acknowledgement)? {
                Engine::Socket(id) if id == socket.id() => {}
                other => return Err(broken("the acknowledgement", other)),
            }
        } else {
            socket.handshake(&syn)?;
            match self.receive(&send.packet, &acknowledgement)? {
                Engine::Handshake(id) if id == socket.id() => {}
                other => return Err(broken("the acknowledgement", other)),
            }
        }
        let child = socket.accept(&syn)?;
        let trace = self.trace.take();
        match self.receive(&send.packet, &acknowledgement)? {
            Engine::Socket(id) if id == child.id() => {}
            other => return Err(broken("a byte", other)),
        }
        self.trace = trace;
        let local = wire(child.local_address());
        self.keep(send, &listener, syn.source, child)?;
        Ok(Delivery { receiver: Receiver::Socket(listener), local: Some(local), sender: None })
    }

    /// Keeps the ends of a connection that the case has names for.
    fn keep(&mut self, send: &Send, listener: &str, source: SocketAddr, child: Socket) -> Outcome {
        if let Some(name) = &send.client {
            let netns = self.netns(send.packet.netns.as_deref())?;
            let client = Socket::open(netns, Protocol::Tcp, Family::of(source.ip()));
            client.set_reuse_address(true);
            client.bind(source)?;
            client.connect(send.packet.destination)?;
            let ipv6 = source.is_ipv6();
            let end = Open::connection(client, ipv6, send.packet.netns.clone(), send.child.clone());
            self.sockets.insert(name.clone(), end);
        }
        if let Some(name) = &send.child {
            let (ipv6, netns) = (self.socket(listener)?.ipv6, self.socket(listener)?.netns.clone());
            self.sockets.insert(name.clone(), Open::connection(child, ipv6, netns, send.client.clone()));
        }
        Ok(())
    }

    /// Whether the answer of this listener finds the client. It leaves in the listener's namespace, and through the
    /// interface that it is bound to: there the client must be.
    fn answers(&self, listener: &str, packet: &Packet) -> Outcome<bool> {
        let open = self.socket(listener)?;
        if open.netns != packet.netns {
            return Ok(false);
        }
        let Some(device) = &open.device else { return Ok(true) };
        let behind = packet.interface.as_ref() == Some(device);
        Ok(behind || self.has_address(device, packet.source))
    }

    fn has_address(&self, device: &str, address: IpAddr) -> bool {
        let loopback = device == "lo" && address.is_loopback();
        let interfaces = self.own.interfaces();
        let found = interfaces.iter().find(|interface| interface.name == device);
        loopback || found.is_some_and(|found| found.addresses.iter().any(|own| own.addr() == address))
    }

    /// A segment of no connection; what comes back is the answer of whoever got it.
    fn segment(&mut self, send: &Send, packet: Arriving, flags: Flags) -> Outcome<Delivery> {
        let bit = |name: &str| Flags::NAMES.iter().any(|(known, bit)| *known == name && flags.has(*bit));
        let segment = Segment { syn: bit("syn"), ack: bit("ack"), fin: bit("fin"), rst: bit("rst"), ..Segment::NONE };
        let delivered = self.receive(&send.packet, &packet.with_segment(segment))?;
        let receiver = match delivered {
            Engine::Socket(id) => {
                let listens = self.socket(&self.named(id)?)?.internet()?.state() == State::Listen;
                match listens {
                    false => return Err(Refusal::Broken(format!("{}: a connection got it", send.packet))),
                    true if segment.rst => Receiver::Dropped,
                    true if segment.ack => Receiver::Reset,
                    true if segment.syn && !segment.fin => Receiver::SynAck,
                    true => Receiver::Dropped,
                }
            }
            other => self.receiver(other, &send.packet)?,
        };
        Ok(plain(receiver))
    }

    /// From a socket of the case, which hears of an error where it can be told.
    fn by_socket(&mut self, send: &Send, packet: &Arriving, sender: &str) -> Outcome<Delivery> {
        let delivered = self.receive(&send.packet, packet)?;
        let receiver = self.receiver(delivered, &send.packet)?;
        let open = self.socket(sender)?;
        if receiver != Receiver::Unreachable {
            return Ok(plain(receiver));
        }
        let told = self.netns(open.netns.as_deref())?.receive_error(packet);
        let told = told.map_err(|fault| Refusal::Broken(format!("a program broke off: {fault}")))?;
        let hears = open.recverr || open.internet()?.state() == State::Established;
        let heard = told == Engine::Socket(open.id()) && hears;
        Ok(Delivery { receiver, local: None, sender: heard.then_some(ECONNREFUSED) })
    }
}

/// Nothing but who got it.
fn plain(receiver: Receiver) -> Delivery {
    Delivery { receiver, local: None, sender: None }
}
