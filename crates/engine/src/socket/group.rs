//! SO_REUSEPORT groups: who joins which, and who leaves when.

use sklookup_bpf::ProgramType;
use sklookup_vm::{Errno, SocketId};

use super::sock::{GroupId, Sock};
use crate::packet::Protocol;
use crate::program::Program;
use crate::world::World;

/// Sockets that share one address and port.
#[derive(Debug, Default)]
pub(crate) struct Group {
    /// In the order in which they joined; the last one takes the place of one that leaves.
    pub(crate) members: Vec<SocketId>,
    /// A member was connected once. Stays so as long as the group lives.
    pub(crate) has_connections: bool,
    pub(crate) program: Option<Program>,
}

impl World {
    /// Puts a socket that goes into the tables into the group of its address, or into a new one.
    pub(crate) fn join_group(&mut self, id: SocketId) {
        let sock = self.known(id);
        if !sock.reuse_port {
            return;
        }
        let tables = &self.namespaces[sock.netns].tables;
        let ports = match sock.protocol {
            Protocol::Tcp => &tables.tcp_ports,
            Protocol::Udp => &tables.udp_ports,
        };
        let neighbours = ports.get(&sock.port).into_iter().flatten().map(|other| self.known(*other));
        let group = neighbours.filter(|other| shares_group(sock, other)).find_map(|other| other.group);
        match (group, sock.group) {
            // A program came before its address, and with it a group of its own. Who reuses addresses, too, gets here all
            // the same, and gives it up.
            (Some(group), Some(own)) if group != own => {
                self.leave_group(id);
                self.enter_group(id, group);
            }
            (Some(group), None) => self.enter_group(id, group),
            (None, None) => {
                let group = self.add_group(Group::default());
                self.enter_group(id, group);
            }
            (_, Some(_)) => {}
        }
    }

    pub(crate) fn leave_group(&mut self, id: SocketId) {
        let Some(group) = self.known_mut(id).group.take() else { return };
        self.known(id).leave_reuseport_array();
        let members = &mut self.group_mut(group).members;
        if let Some(place) = members.iter().position(|member| *member == id) {
            members.swap_remove(place);
        }
        if members.is_empty() {
            self.remove_group(group);
        }
    }

    pub(crate) fn attach_reuseport(&mut self, id: SocketId, program: &Program) -> Result<(), Errno> {
        let sock = self.known(id);
        if program.kind() != ProgramType::SkReuseport || !sock.reuse_port && !sock.hashed {
            return Err(Errno::INVAL);
        }
        let group = match sock.group {
            Some(group) => group,
            None if sock.hashed => return Err(Errno::INVAL),
            None => {
                let group = self.add_group(Group::default());
                self.enter_group(id, group);
                group
            }
        };
        self.group_mut(group).program = Some(program.clone());
        Ok(())
    }

    pub(crate) fn detach_reuseport(&mut self, id: SocketId) -> Result<(), Errno> {
        let sock = self.known(id);
        let Some(group) = sock.group else {
            return Err(if sock.reuse_port { Errno::NOENT } else { Errno::INVAL });
        };
        self.group_mut(group).program.take().map(drop).ok_or(Errno::NOENT)
    }

    fn enter_group(&mut self, id: SocketId, group: GroupId) {
        self.known_mut(id).group = Some(group);
        self.group_mut(group).members.push(id);
    }
}

/// Whether `other`, who is in the tables, lets `sock` into its group.
fn shares_group(sock: &Sock, other: &Sock) -> bool {
    other.id != sock.id
        && other.hashed
        && other.reuse_port
        && (other.family, other.v6only, other.device, other.uid, other.local)
            == (sock.family, sock.v6only, sock.device, sock.uid, sock.local)
}
