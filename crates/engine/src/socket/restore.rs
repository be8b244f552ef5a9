//! Sockets as the tables of another machine show them: put in as they are, without the calls that made them.

use std::net::{IpAddr, SocketAddr};

use super::sock::Sock;
use super::{Family, Open, Socket, State};
use crate::netns::Netns;
use crate::packet::Protocol;
use crate::tables::Connection;
use crate::world::World;
use sklookup_vm::SocketId;

/// What there is to know of a socket that is in the tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// What it speaks.
    pub protocol: Protocol,
    /// Its family.
    pub family: Family,
    /// A listener, a connection of TCP in any state, a UDP socket with or without a peer.
    pub state: State,
    /// Bound to, in the form of its family.
    pub local: SocketAddr,
    /// The peer; of an unconnected IPv6 UDP socket the address that a peer left behind, with port 0.
    pub peer: Option<SocketAddr>,
    /// Index of the interface that it is bound to, 0 for none.
    pub device: u32,
    /// It takes IPv6 only.
    pub v6only: bool,
    /// It shares its place (`SO_REUSEPORT`): it joins the group of those restored before it with which it can.
    pub reuse_port: bool,
    /// Whose it is.
    pub uid: u32,
}

impl Socket {
    /// Opens a socket that is what `snapshot` says, behind those of its place that were restored before.
    ///
    /// Nothing is compared with other sockets, whose neighbour it was where the snapshot is from; the interface need not
    /// exist. A socket that is in no table there (closed TCP) can be asked for and is in none here.
    pub fn restore(netns: &Netns, snapshot: &Snapshot) -> Socket {
        let id = netns.machine().change(|world| world.restore(netns.index(), snapshot));
        Socket(std::sync::Arc::new(Open { id, netns: netns.clone() }))
    }
}

impl World {
    fn restore(&mut self, netns: usize, snapshot: &Snapshot) -> SocketId {
        let Snapshot { protocol, family, state, local, peer, device, v6only, reuse_port, uid } = *snapshot;
        let id = self.add_sock(|id| Sock {
            state,
            local: local.ip(),
            port: local.port(),
            device,
            v6only,
            reuse_port,
            uid,
            address_is_bound: !local.ip().is_unspecified(),
            port_is_bound: true,
            ..Sock::new(id, netns, protocol, family)
        });
        if let Some(peer) = peer {
            self.known_mut(id).set_peer(peer.ip(), peer.port());
            if let (State::Close, IpAddr::V6(_)) = (state, peer.ip()) {
                // What a peer leaves behind concerns IPv6 alone.
                self.known_mut(id).peer4 = None;
            }
        }
        match (protocol, state) {
            (Protocol::Tcp, State::Close) => {}
            (Protocol::Tcp, State::Listen) => {
                self.tables_of(id).tcp_ports.entry(local.port()).or_default().push(id);
                self.join_group(id);
                let place = self.hashed(id);
                self.tables_of(id).listeners.push_back(place, id);
            }
            (Protocol::Tcp, _) => {
                let sock = self.known_mut(id);
                sock.hashed = true;
                let tuple = sock.tuple();
                self.tables_of(id).established.entry(tuple).or_default().push(Connection::Socket(id));
            }
            (Protocol::Udp, _) => {
                self.tables_of(id).udp_ports.entry(local.port()).or_default().push(id);
                let tuple = self.known(id).tuple();
                if state == State::Close {
                    self.join_group(id);
                } else {
                    self.tables_of(id).connected.entry(tuple).or_default().push(id);
                }
                let place = self.hashed(id);
                self.tables_of(id).udp.push_back(place, id);
            }
        }
        id
    }

    /// Notes that a socket is found by its place, and answers that.
    fn hashed(&mut self, id: SocketId) -> crate::tables::Place {
        let sock = self.known_mut(id);
        sock.hashed = true;
        sock.selectable = true;
        sock.place()
    }
}
