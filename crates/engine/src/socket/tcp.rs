//! TCP sockets in the tables: listeners, connections, handshakes.

use std::net::SocketAddr;

use sklookup_vm::{Errno, SocketId};

use super::sock::Sock;
use super::{Family, Shutdown, State};
use crate::addresses::source_for;
use crate::packet::{Packet, Protocol};
use crate::tables::{Connection, Place, Tuple, remove};
use crate::world::World;

impl World {
    pub(crate) fn listen(&mut self, id: SocketId, random: u32) -> Result<(), Errno> {
        let sock = self.known(id);
        match (sock.protocol, sock.state) {
            (Protocol::Udp, _) => return Err(Errno::OPNOTSUPP),
            (Protocol::Tcp, State::Listen) => return Ok(()),
            (Protocol::Tcp, State::Close) => {}
            (Protocol::Tcp, _) => return Err(Errno::INVAL),
        }
        self.autobind(id, random)?;
        // Others may have come to the port since it was bound, by right of SO_REUSEADDR.
        let sock = self.known(id);
        if self.conflicts(sock, sock.port) {
            return Err(Errno::ADDRINUSE);
        }
        self.join_group(id);
        let sock = self.known_mut(id);
        sock.state = State::Listen;
        sock.hashed = true;
        sock.selectable = true;
        let place = sock.place();
        let last = sock.family == Family::V6 && sock.reuse_port;
        let listeners = &mut self.tables_of(id).listeners;
        if last {
            listeners.push_back(place, id);
        } else {
            listeners.push_front(place, id);
        }
        Ok(())
    }

    /// Connects without a handshake.
    pub(crate) fn connect_tcp(&mut self, id: SocketId, peer: SocketAddr, random: u32) -> Result<(), Errno> {
        let sock = self.known(id);
        if sock.state != State::Close {
            return Err(Errno::ISCONN);
        }
        if sock.family == Family::V6 && peer.is_ipv4() {
            return Err(Errno::INVAL);
        }
        let peer_ip = sock.check_peer(peer.ip())?;
        let namespace = &self.namespaces[sock.netns];
        let source = source_for(&namespace.interfaces, &namespace.local, peer_ip).ok_or(Errno::NETUNREACH)?;
        let local = if sock.local.is_unspecified() { sock.own_form(source) } else { sock.local };
        self.autobind(id, random)?;
        let sock = self.known(id);
        let peer_ip = sock.own_form(peer_ip);
        let tuple = Tuple { local: Place::new(local, sock.port), remote: Place::new(peer_ip, peer.port()) };
        if self.namespaces[sock.netns].tables.established.contains_key(&tuple) {
            return Err(Errno::ADDRNOTAVAIL);
        }
        let sock = self.known_mut(id);
        sock.local = local;
        sock.set_peer(peer_ip, peer.port());
        sock.state = State::Established;
        sock.hashed = true;
        self.tables_of(id).established.entry(tuple).or_default().push(Connection::Socket(id));
        Ok(())
    }

    /// Notes that a listener has answered a SYN.
    pub(crate) fn handshake(&mut self, listener: SocketId, syn: &Packet) -> Result<(), Errno> {
        let (tuple, device) = self.new_connection(listener, syn)?;
        self.tables_of(listener).established.entry(tuple).or_default().push(Connection::Handshake { listener, device });
        Ok(())
    }

    /// The connection that a listener makes of a SYN.
    pub(crate) fn accept(&mut self, listener: SocketId, syn: &Packet) -> Result<SocketId, Errno> {
        let (tuple, device) = self.new_connection(listener, syn)?;
        let id = self.add_sock(|id| Sock::new(id, 0, Protocol::Tcp, Family::V4));
        let parent = self.known(listener);
        let child = Sock {
            family: parent.family,
            netns: parent.netns,
            state: State::Established,
            local: parent.own_form(syn.destination.ip()),
            port: syn.destination.port(),
            v6only: parent.v6only,
            reuse_address: parent.reuse_address,
            reuse_port: parent.reuse_port,
            device,
            incoming_cpu: parent.incoming_cpu,
            mark: parent.mark,
            priority: parent.priority,
            uid: parent.uid,
            hashed: true,
            ..Sock::new(id, parent.netns, Protocol::Tcp, parent.family)
        };
        let port = child.port;
        *self.known_mut(id) = child;
        let child = self.known_mut(id);
        child.set_peer(child.own_form(syn.source.ip()), syn.source.port());
        let tables = self.tables_of(id);
        tables.established.entry(tuple).or_default().push(Connection::Socket(id));
        tables.tcp_ports.entry(port).or_default().push(id);
        Ok(id)
    }

    /// Closes a connection and leaves its 4-tuple waiting.
    pub(crate) fn time_wait(&mut self, id: SocketId) -> Result<(), Errno> {
        let sock = self.known(id);
        if sock.protocol != Protocol::Tcp || matches!(sock.state, State::Close | State::Listen) {
            return Err(Errno::NOTCONN);
        }
        let (tuple, device) = (sock.tuple(), sock.device);
        self.unhash_tcp(id);
        self.give_up_tcp_port(id);
        self.known_mut(id).state = State::Close;
        self.tables_of(id).established.entry(tuple).or_default().push(Connection::TimeWait { device });
        Ok(())
    }

    pub(crate) fn shut_down(&mut self, id: SocketId, how: Shutdown) -> Result<(), Errno> {
        let sock = self.known_mut(id);
        match (sock.protocol, sock.state, how) {
            (_, State::Close, _) => Err(Errno::NOTCONN),
            (Protocol::Tcp, State::Listen, Shutdown::Write) | (Protocol::Udp, ..) => Ok(()),
            (Protocol::Tcp, State::Listen, _) => {
                self.disconnect_tcp(id);
                Ok(())
            }
            (Protocol::Tcp, _, Shutdown::Read) => Ok(()),
            (Protocol::Tcp, state, _) => {
                sock.state = if state == State::CloseWait { State::LastAck } else { State::FinWait };
                Ok(())
            }
        }
    }

    pub(crate) fn peer_shut_down(&mut self, id: SocketId) -> Result<(), Errno> {
        let sock = self.known_mut(id);
        match (sock.protocol, sock.state) {
            (Protocol::Tcp, State::Established) => sock.state = State::CloseWait,
            (Protocol::Tcp, State::FinWait | State::CloseWait | State::LastAck) => {}
            _ => return Err(Errno::NOTCONN),
        }
        Ok(())
    }

    /// What `connect` to AF_UNSPEC and shutting down do: it keeps an address and a port that it was bound to.
    pub(crate) fn disconnect_tcp(&mut self, id: SocketId) {
        self.unhash_tcp(id);
        let sock = self.known_mut(id);
        sock.state = State::Close;
        (sock.peer4, sock.peer6, sock.peer_port) = (None, None, 0);
        if !sock.address_is_bound {
            sock.local = sock.family.unspecified();
        }
        if !sock.port_is_bound {
            self.give_up_tcp_port(id);
        }
    }

    /// Takes a listener or a connection out of the tables.
    pub(crate) fn unhash_tcp(&mut self, id: SocketId) {
        self.leave_group(id);
        let sock = self.known_mut(id);
        let (state, place, tuple) = (sock.state, sock.place(), sock.tuple());
        sock.hashed = false;
        let tables = self.tables_of(id);
        if state == State::Listen {
            tables.listeners.remove(place, id);
        } else {
            remove(&mut tables.established, &tuple, &Connection::Socket(id));
        }
    }

    pub(crate) fn give_up_tcp_port(&mut self, id: SocketId) {
        let sock = self.known_mut(id);
        let port = std::mem::take(&mut sock.port);
        remove(&mut self.tables_of(id).tcp_ports, &port, &id);
    }

    /// The 4-tuple and device of the connection that a SYN makes with a listener. Its own handshake and what waits give way.
    fn new_connection(&mut self, listener: SocketId, syn: &Packet) -> Result<(Tuple, u32), Errno> {
        let sock = self.known(listener);
        if sock.state != State::Listen {
            return Err(Errno::INVAL);
        }
        let device = sock.device;
        let tuple = Tuple {
            local: Place::new(syn.destination.ip(), syn.destination.port()),
            remote: Place::new(syn.source.ip(), syn.source.port()),
        };
        let established = &mut self.tables_of(listener).established;
        if let Some(known) = established.get_mut(&tuple) {
            known.retain(|known| matches!(known, Connection::Socket(_)));
            if !known.is_empty() {
                return Err(Errno::ADDRINUSE);
            }
            established.remove(&tuple);
        }
        Ok((tuple, device))
    }
}
