//! Network namespaces: interfaces, addresses and local routes as data, and packets that arrive.

use std::net::SocketAddr;
use std::sync::Arc;

use ipnet::IpNet;
use sklookup_vm::{Errno, Fault, SocketId};

use crate::delivery::Delivery;
use crate::error::{Error, Result};
use crate::lookup;
use crate::machine::Machine;
use crate::packet::{Packet, Protocol};
use crate::trace::Trace;
use crate::world::Namespace;

/// Inodes of namespaces begin here on Linux.
const FIRST_INODE: u64 = 0xf000_0000;

/// A network namespace, kept alive by this handle, its clones and its sockets.
#[derive(Clone, Debug)]
pub struct Netns(Arc<Alive>);

/// What dies with the last handle and the last socket.
#[derive(Debug)]
struct Alive {
    machine: Machine,
    /// Its place among the namespaces of the machine.
    index: usize,
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.machine.change(|world| world.detach_all(self.index));
    }
}

/// An interface and what it is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Index, as in a program's context.
    pub index: u32,
    /// Name.
    pub name: String,
    /// Its addresses, with the prefix length they were given.
    pub addresses: Vec<IpNet>,
    /// The VRF it belongs to.
    pub vrf: Option<u32>,
}

/// Switches of a namespace, named as in `/proc/sys/net`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sysctls {
    /// `ipv6.bindv6only`: what a new IPv6 socket starts from.
    pub bindv6only: bool,
    /// `ipv4.tcp_l3mdev_accept`: unbound TCP sockets take what comes in through a VRF.
    pub tcp_l3mdev_accept: bool,
    /// `ipv4.udp_l3mdev_accept`: the same for UDP.
    pub udp_l3mdev_accept: bool,
}

/// A question about a lookup without a packet, as a socket-diag request asks it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lookup {
    /// Protocol.
    pub protocol: Protocol,
    /// Where the packet is from.
    pub source: SocketAddr,
    /// Where it goes; of the source's family.
    pub destination: SocketAddr,
    /// Index of the interface that the lookup is for; 0 is none.
    pub interface: u32,
}

impl Netns {
    /// Makes a new one, with its loopback up (index 1, 127.0.0.1/8 and ::1/128).
    pub fn new_private(machine: &Machine) -> Netns {
        let index = machine.change(|world| {
            let index = world.namespaces.len();
            world.namespaces.push(Namespace::new(FIRST_INODE + index as u64));
            index
        });
        Netns(Arc::new(Alive { machine: machine.clone(), index }))
    }

    /// Its inode: no two living namespaces of a machine share one.
    pub fn inode(&self) -> u64 {
        self.read(|namespace| namespace.inode)
    }

    /// Its interfaces, by index.
    pub fn interfaces(&self) -> Vec<Interface> {
        self.read(|namespace| namespace.interfaces.clone())
    }

    /// The index of the interface of this name.
    pub fn index_of(&self, name: &str) -> Option<u32> {
        let find = |known: &Interface| (known.name == name).then_some(known.index);
        self.read(|namespace| namespace.interfaces.iter().find_map(find))
    }

    /// Adds an interface, and answers its index.
    ///
    /// # Errors
    /// EEXIST if the name is taken.
    pub fn add_interface(&self, name: &str) -> Result<u32> {
        self.change(|namespace| {
            if namespace.interfaces.iter().any(|known| known.name == name) {
                return Err(Error::new("RTM_NEWLINK", format!("interface {name}"), Errno::EXIST));
            }
            let index = namespace.interfaces.iter().map(|known| known.index).max().unwrap_or(0) + 1;
            let interface = Interface { index, name: name.to_owned(), addresses: Vec::new(), vrf: None };
            namespace.interfaces.push(interface);
            Ok(index)
        })
    }

    /// Makes an interface part of a VRF, which is an interface too.
    ///
    /// # Errors
    /// ENODEV if there is no such interface.
    pub fn set_vrf(&self, index: u32, vrf: u32) -> Result<()> {
        self.change(|namespace| {
            namespace.interface(vrf)?;
            namespace.interface(index)?.vrf = Some(vrf);
            Ok(())
        })
    }

    /// Gives an interface an address.
    ///
    /// # Errors
    /// ENODEV if there is no such interface; EEXIST if it has the address.
    pub fn add_address(&self, index: u32, address: IpNet) -> Result<()> {
        self.change(|namespace| {
            let interface = namespace.interface(index)?;
            if interface.addresses.contains(&address) {
                let object = format!("{address} of interface {}", interface.name);
                return Err(Error::new("RTM_NEWADDR", object, Errno::EXIST));
            }
            interface.addresses.push(address);
            namespace.addresses_changed();
            Ok(())
        })
    }

    /// Makes all addresses of a prefix local (`ip route add local PREFIX dev lo`).
    ///
    /// # Errors
    /// EEXIST if it is there.
    pub fn add_local_route(&self, prefix: IpNet) -> Result<()> {
        self.change(|namespace| {
            if namespace.local_routes.contains(&prefix.trunc()) {
                return Err(Error::new("RTM_NEWROUTE", format!("local {prefix}"), Errno::EXIST));
            }
            namespace.local_routes.push(prefix.trunc());
            namespace.addresses_changed();
            Ok(())
        })
    }

    /// Sets the switches.
    pub fn set_sysctls(&self, sysctls: Sysctls) {
        self.change(|namespace| namespace.sysctls = sysctls);
    }

    /// What happens to a packet that arrives.
    ///
    /// Sockets stay as they are: a SYN begins no handshake by itself ([`Socket::handshake`](crate::Socket::handshake)
    /// and [`Socket::accept`](crate::Socket::accept) do). Programs run, and what they write to maps stays.
    ///
    /// # Errors
    /// A program did what Linux would have refused to load, or ran longer than the machine's limit.
    pub fn receive(&self, packet: &Packet) -> std::result::Result<Delivery, Fault> {
        self.0.machine.look(|world| lookup::receive(&self.0.machine, world, self.0.index, packet, &mut ()))
    }

    /// The same, and every step on the way.
    pub fn receive_traced(&self, packet: &Packet) -> (std::result::Result<Delivery, Fault>, Trace) {
        let mut trace = Trace::default();
        let machine = &self.0.machine;
        let delivery = machine.look(|world| lookup::receive(machine, world, self.0.index, packet, &mut trace));
        (delivery, trace)
    }

    /// What happens to an ICMP error about `sent`, a packet that left this namespace: its source is local.
    ///
    /// # Errors
    /// As [`Netns::receive`].
    pub fn receive_error(&self, sent: &Packet) -> std::result::Result<Delivery, Fault> {
        self.0.machine.look(|world| lookup::receive_error(&self.0.machine, world, self.0.index, sent, &mut ()))
    }

    /// The same, and every step on the way.
    pub fn receive_error_traced(&self, sent: &Packet) -> (std::result::Result<Delivery, Fault>, Trace) {
        let mut trace = Trace::default();
        let machine = &self.0.machine;
        let delivery = machine.look(|world| lookup::receive_error(machine, world, self.0.index, sent, &mut trace));
        (delivery, trace)
    }

    /// The socket that a packet would reach, without a packet: reuseport programs aren't run.
    ///
    /// # Errors
    /// As [`Netns::receive`].
    pub fn lookup(&self, lookup: &Lookup) -> std::result::Result<Option<SocketId>, Fault> {
        self.0.machine.look(|world| lookup::without_packet(&self.0.machine, world, self.0.index, lookup, &mut ()))
    }

    /// The same, and every step on the way.
    pub fn lookup_traced(&self, lookup: &Lookup) -> (std::result::Result<Option<SocketId>, Fault>, Trace) {
        let mut trace = Trace::default();
        let machine = &self.0.machine;
        let found = machine.look(|world| lookup::without_packet(machine, world, self.0.index, lookup, &mut trace));
        (found, trace)
    }

    pub(crate) fn machine(&self) -> &Machine {
        &self.0.machine
    }

    pub(crate) fn index(&self) -> usize {
        self.0.index
    }

    fn read<T>(&self, read: impl FnOnce(&Namespace) -> T) -> T {
        self.0.machine.look(|world| read(&world.namespaces[self.0.index]))
    }

    fn change<T>(&self, change: impl FnOnce(&mut Namespace) -> T) -> T {
        self.0.machine.change(|world| change(&mut world.namespaces[self.0.index]))
    }
}

impl Namespace {
    fn interface(&mut self, index: u32) -> Result<&mut Interface> {
        let found = self.interfaces.iter_mut().find(|known| known.index == index);
        found.ok_or_else(|| Error::new("if_indextoname", format!("interface {index}"), Errno::NODEV))
    }
}
