//! UDP sockets in the tables: bound, connected, disconnected.

use std::net::{IpAddr, SocketAddr};

use sklookup_vm::{Errno, SocketId};

use super::{Family, State};
use crate::addresses::source_for;
use crate::tables::remove;
use crate::world::World;

impl World {
    /// Puts a socket that has just got its port into the tables.
    pub(crate) fn hash_udp(&mut self, id: SocketId) {
        self.join_group(id);
        let sock = self.known_mut(id);
        sock.hashed = true;
        sock.selectable = true;
        let (place, port) = (sock.place(), sock.port);
        let last = sock.family == Family::V6 && sock.reuse_port;
        let tables = self.tables_of(id);
        tables.udp_ports.entry(port).or_default().push(id);
        if last {
            tables.udp.push_back(place, id);
        } else {
            tables.udp.push_front(place, id);
        }
    }

    /// Takes it out of all tables; it has no port then.
    pub(crate) fn unhash_udp(&mut self, id: SocketId) {
        self.leave_group(id);
        let sock = self.known_mut(id);
        if !sock.hashed {
            return;
        }
        sock.hashed = false;
        let (place, tuple, port) = (sock.place(), sock.tuple(), sock.port);
        sock.port = 0;
        let tables = self.tables_of(id);
        tables.udp.remove(place, id);
        remove(&mut tables.udp_ports, &port, &id);
        remove(&mut tables.connected, &tuple, &id);
    }

    pub(crate) fn connect_udp(&mut self, id: SocketId, peer: SocketAddr, random: u32) -> Result<(), Errno> {
        // It keeps the port, whatever becomes of the rest.
        self.autobind(id, random)?;
        let sock = self.known(id);
        if sock.family == Family::V6 && sock.v6only && peer.is_ipv4() {
            return Err(Errno::AFNOSUPPORT);
        }
        let peer_ip = sock.check_peer(peer.ip())?;
        let namespace = &self.namespaces[sock.netns];
        let source = source_for(&namespace.interfaces, &namespace.local, peer_ip).ok_or(Errno::NETUNREACH)?;
        let tuple = self.known(id).tuple();
        remove(&mut self.tables_of(id).connected, &tuple, &id);
        if self.known(id).local.is_unspecified() {
            let local = self.known(id).own_form(source);
            self.move_to(id, local);
        }
        let sock = self.known_mut(id);
        let peer_ip = sock.own_form(peer_ip);
        sock.set_peer(peer_ip, peer.port());
        sock.state = State::Established;
        let tuple = sock.tuple();
        if let Some(group) = sock.group {
            self.group_mut(group).has_connections = true;
        }
        // Since 6.13: a connected socket is found by its 4-tuple, and its group goes on without it.
        self.leave_group(id);
        self.tables_of(id).connected.entry(tuple).or_default().push(id);
        Ok(())
    }

    pub(crate) fn disconnect_udp(&mut self, id: SocketId) {
        let tuple = self.known(id).tuple();
        remove(&mut self.tables_of(id).connected, &tuple, &id);
        let sock = self.known_mut(id);
        sock.state = State::Close;
        // The IPv6 peer stays behind, and goes on keeping others away in the regular lookup.
        sock.peer4 = None;
        sock.peer_port = 0;
        sock.device = 0;
        let (port_is_bound, unspecified) = (sock.port_is_bound, sock.family.unspecified());
        if !sock.address_is_bound && sock.local != unspecified {
            if port_is_bound {
                self.move_to(id, unspecified);
            } else {
                self.unhash_udp(id);
                self.known_mut(id).local = unspecified;
            }
        } else if !port_is_bound {
            self.unhash_udp(id);
        }
    }

    /// Moves it to the bucket of another local address, in front of all others, and out of its group.
    fn move_to(&mut self, id: SocketId, local: IpAddr) {
        let sock = self.known_mut(id);
        let from = sock.place();
        sock.local = local;
        let to = sock.place();
        self.leave_group(id);
        let tables = self.tables_of(id);
        tables.udp.remove(from, id);
        tables.udp.push_front(to, id);
    }
}
