//! Everything that changes on a machine: namespaces, sockets, groups, links.
//!
//! Sockets refer to each other in many ways, so they are kept here by number, and the public handles are numbers too.

use std::collections::BTreeMap;

use ipnet::IpNet;
use sklookup_vm::{Errno, Map, SocketId, Sockets};

use crate::addresses::{LOOPBACK, LocalAddresses};
use crate::netns::{Interface, Sysctls};
use crate::program::Program;
use crate::socket::OtherSock;
use crate::socket::group::Group;
use crate::socket::sock::{GroupId, Sock};
use crate::tables::Tables;

/// The state of a machine.
#[derive(Debug, Default)]
pub(crate) struct World {
    /// By cookie, from 1; a place is never used again.
    sockets: Vec<Option<Entry>>,
    pub(crate) namespaces: Vec<Namespace>,
    groups: Vec<Option<Group>>,
    free_groups: Vec<usize>,
    /// Links by id.
    pub(crate) links: BTreeMap<u32, LinkState>,
    pub(crate) last_link: u32,
}

/// A socket that is open.
#[derive(Debug)]
enum Entry {
    Inet(Box<Sock>),
    Other(OtherSock),
}

/// A network namespace.
#[derive(Debug)]
pub(crate) struct Namespace {
    pub(crate) inode: u64,
    pub(crate) interfaces: Vec<Interface>,
    pub(crate) local_routes: Vec<IpNet>,
    /// Made from the two above whenever they change.
    pub(crate) local: LocalAddresses,
    pub(crate) sysctls: Sysctls,
    pub(crate) tables: Tables,
    /// Links and their programs, in the order in which they run.
    pub(crate) attached: Vec<(u32, Program)>,
}

/// A link, attached or not.
#[derive(Debug)]
pub(crate) struct LinkState {
    /// Index of the namespace; `None` once it is detached, for ever.
    pub(crate) netns: Option<usize>,
    /// The program it runs, or ran last.
    pub(crate) program: Program,
}

impl World {
    pub(crate) fn sock(&self, id: SocketId) -> Option<&Sock> {
        match self.sockets.get(place(id))? {
            Some(Entry::Inet(sock)) => Some(sock),
            _ => None,
        }
    }

    pub(crate) fn other(&self, id: SocketId) -> Option<OtherSock> {
        match self.sockets.get(place(id))? {
            Some(Entry::Other(sock)) => Some(*sock),
            _ => None,
        }
    }

    /// A TCP or UDP socket that is in a table or a group, or has a handle, and so is open.
    pub(crate) fn known(&self, id: SocketId) -> &Sock {
        self.sock(id).expect("a closed socket has no handle and is in no table or group")
    }

    /// As [`World::known`].
    pub(crate) fn known_mut(&mut self, id: SocketId) -> &mut Sock {
        match self.sockets.get_mut(place(id)) {
            Some(Some(Entry::Inet(sock))) => sock,
            _ => unreachable!("a closed socket has no handle and is in no table or group"),
        }
    }

    pub(crate) fn add_sock(&mut self, new: impl FnOnce(SocketId) -> Sock) -> SocketId {
        let id = self.next_socket();
        self.sockets.push(Some(Entry::Inet(Box::new(new(id)))));
        id
    }

    pub(crate) fn add_other(&mut self, sock: OtherSock) -> SocketId {
        let id = self.next_socket();
        self.sockets.push(Some(Entry::Other(sock)));
        id
    }

    pub(crate) fn remove_sock(&mut self, id: SocketId) {
        if let Some(sock) = self.sockets.get_mut(place(id)) {
            *sock = None;
        }
    }

    pub(crate) fn group(&self, id: GroupId) -> &Group {
        self.groups[id.0].as_ref().expect("a group is there as long as it has members")
    }

    pub(crate) fn group_mut(&mut self, id: GroupId) -> &mut Group {
        self.groups[id.0].as_mut().expect("a group is there as long as it has members")
    }

    pub(crate) fn add_group(&mut self, group: Group) -> GroupId {
        let place = self.free_groups.pop().unwrap_or_else(|| {
            self.groups.push(None);
            self.groups.len() - 1
        });
        self.groups[place] = Some(group);
        GroupId(place)
    }

    pub(crate) fn remove_group(&mut self, id: GroupId) {
        self.groups[id.0] = None;
        self.free_groups.push(id.0);
    }

    fn next_socket(&self) -> SocketId {
        SocketId::from_cookie(self.sockets.len() as u64 + 1).expect("it counts from 1")
    }

    pub(crate) fn tables_of(&mut self, id: SocketId) -> &mut Tables {
        let netns = self.known(id).netns;
        &mut self.namespaces[netns].tables
    }
}

impl Namespace {
    pub(crate) fn new(inode: u64) -> Namespace {
        let addresses = ["127.0.0.1/8", "::1/128"].map(|address| address.parse().expect("it is an address")).to_vec();
        let loopback = Interface { index: LOOPBACK, name: "lo".to_owned(), addresses, vrf: None };
        let mut namespace = Namespace {
            inode,
            interfaces: vec![loopback],
            local_routes: Vec::new(),
            local: LocalAddresses::default(),
            sysctls: Sysctls::default(),
            tables: Tables::default(),
            attached: Vec::new(),
        };
        namespace.addresses_changed();
        namespace
    }

    pub(crate) fn addresses_changed(&mut self) {
        self.local = LocalAddresses::of(&self.interfaces, &self.local_routes);
    }
}

impl Sockets for World {
    fn is_open(&self, socket: SocketId) -> bool {
        matches!(self.sockets.get(place(socket)), Some(Some(_)))
    }

    fn is_suitable(&self, socket: SocketId, kind: sklookup_bpf::MapType) -> Result<(), Errno> {
        match self.sockets.get(place(socket)) {
            Some(Some(Entry::Inet(sock))) => sock.is_suitable(kind),
            Some(Some(Entry::Other(sock))) => sock.is_suitable(kind),
            _ => Err(Errno::BADF),
        }
    }

    fn is_free_for(&self, socket: SocketId, map: &Map) -> Result<(), Errno> {
        // Others are never in an array of a reuseport group.
        self.sock(socket).map_or(Ok(()), |sock| sock.is_free_for(map))
    }
}

fn place(id: SocketId) -> usize {
    // Cookies count from 1, and a place of the vector is below 2^63.
    (id.cookie() - 1) as usize
}
