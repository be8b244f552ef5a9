//! Binding: addresses that can be had, and ports that are free.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

use sklookup_vm::{Errno, SocketId};

use super::sock::Sock;
use super::{Family, State};
use crate::addresses::is_multicast_or_broadcast;
use crate::packet::Protocol;
use crate::world::World;

/// The ports that are given to sockets without one (`net.ipv4.ip_local_port_range`).
const EPHEMERAL: RangeInclusive<u16> = 32768..=60999;

impl World {
    /// `bind(2)`; `random` picks where the search for a free port starts.
    pub(crate) fn bind(&mut self, id: SocketId, address: SocketAddr, random: u32) -> Result<(), Errno> {
        let device = self.check_address(id, address)?;
        let sock = self.known_mut(id);
        if sock.port != 0 || sock.state != State::Close {
            return Err(Errno::INVAL);
        }
        let before = (sock.local, sock.v6only, sock.device);
        sock.device = device;
        sock.local = address.ip();
        if let IpAddr::V6(v6) = address.ip()
            && !v6.is_unspecified()
            && v6.to_ipv4_mapped().is_none()
        {
            sock.v6only = true;
        }
        if let Err(errno) = self.take_port(id, address.port(), random) {
            let sock = self.known_mut(id);
            (sock.local, sock.v6only, sock.device) = before;
            return Err(errno);
        }
        let sock = self.known_mut(id);
        sock.address_is_bound = !address.ip().is_unspecified();
        sock.port_is_bound = address.port() != 0;
        Ok(())
    }

    /// Gives a socket without a port one that is free.
    pub(crate) fn autobind(&mut self, id: SocketId, random: u32) -> Result<(), Errno> {
        if self.known(id).port != 0 {
            return Ok(());
        }
        self.take_port(id, 0, random)
    }

    /// Whether a port can be had with the socket as it is; other sockets that have it may stand in the way.
    pub(crate) fn conflicts(&self, sock: &Sock, port: u16) -> bool {
        let tables = &self.namespaces[sock.netns].tables;
        let ports = match sock.protocol {
            Protocol::Tcp => &tables.tcp_ports,
            Protocol::Udp => &tables.udp_ports,
        };
        let others = ports.get(&port).into_iter().flatten().filter(|other| **other != sock.id);
        others.map(|other| self.known(*other)).any(|other| excludes(sock, other))
    }

    /// The interface that the socket is bound to with this address, its own or that of a link-local address.
    fn check_address(&self, id: SocketId, address: SocketAddr) -> Result<u32, Errno> {
        let sock = self.known(id);
        let namespace = &self.namespaces[sock.netns];
        let is_local = |ip: IpAddr| {
            sock.freebind
                || ip.is_unspecified()
                || namespace.local.owner(ip).is_some()
                || is_multicast_or_broadcast(&namespace.interfaces, ip)
        };
        let available = |ip: IpAddr| if is_local(ip) { Ok(sock.device) } else { Err(Errno::ADDRNOTAVAIL) };
        match (sock.family, address) {
            (Family::V4, SocketAddr::V4(v4)) => available((*v4.ip()).into()),
            (Family::V4, SocketAddr::V6(_)) => Err(Errno::AFNOSUPPORT),
            // An IPv4 address is too short for what an IPv6 socket expects.
            (Family::V6, SocketAddr::V4(_)) => Err(Errno::INVAL),
            (Family::V6, SocketAddr::V6(v6)) => match v6.ip().to_ipv4_mapped() {
                Some(_) if sock.v6only => Err(Errno::INVAL),
                Some(v4) => available(v4.into()),
                None if v6.ip().is_unicast_link_local() => {
                    let device = if v6.scope_id() != 0 { v6.scope_id() } else { sock.device };
                    let interface = namespace.interfaces.iter().find(|interface| interface.index == device);
                    match interface {
                        _ if device == 0 => Err(Errno::INVAL),
                        None => Err(Errno::NODEV),
                        Some(_) => available((*v6.ip()).into()).map(|_| device),
                    }
                }
                None => available((*v6.ip()).into()),
            },
        }
    }

    fn take_port(&mut self, id: SocketId, port: u16, random: u32) -> Result<(), Errno> {
        let sock = self.known(id);
        let port = match port {
            0 => {
                let (first, count) = (*EPHEMERAL.start(), EPHEMERAL.len() as u32);
                let ports = (0..count).map(|step| first + ((random % count + step) % count) as u16);
                ports.into_iter().find(|port| !self.conflicts(sock, *port)).ok_or(Errno::ADDRINUSE)?
            }
            port if self.conflicts(sock, port) => return Err(Errno::ADDRINUSE),
            port => port,
        };
        self.known_mut(id).port = port;
        match self.known(id).protocol {
            Protocol::Tcp => self.tables_of(id).tcp_ports.entry(port).or_default().push(id),
            Protocol::Udp => self.hash_udp(id),
        }
        Ok(())
    }
}

/// Whether two sockets can't have one port.
fn excludes(sock: &Sock, other: &Sock) -> bool {
    let devices_meet = sock.device == 0 || other.device == 0 || sock.device == other.device;
    // One that has a group already, by a program attached before it had an address, can't join another.
    let share_port = sock.reuse_port && sock.group.is_none() && other.reuse_port && sock.uid == other.uid;
    // A TCP listener does not give up its port to who may only reuse addresses.
    let share_address = sock.reuse_address && other.reuse_address && other.state != State::Listen;
    devices_meet && !share_port && !share_address && sock.overlaps(other)
}
