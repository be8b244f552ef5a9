//! Packets that a service of somebody else's gets today.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use sklookup_policy::{Binding, Interface, Policy, Protocol, toward};

use super::{Catch, Hazard, TRIED, World, taker, taker_over};

/// A socket that listens on the machine, as the regular lookup sees it.
#[derive(Clone, Debug)]
pub struct Listener {
    /// TCP listener or unconnected UDP socket.
    pub protocol: Protocol,
    /// Local address; unspecified for every address.
    pub address: SocketAddr,
    /// An IPv6 socket that takes IPv4 packets too.
    pub dual_stack: bool,
    /// The interface that it is bound to: it gets packets over no other.
    pub interface: Option<Interface>,
    /// Its cookie.
    pub cookie: u64,
    /// Who has it, in words; escaped before it is printed.
    pub owner: String,
}

/// `taking` are the bindings by which the change takes packets from the regular lookup.
pub(super) fn catches(old: &Policy, new: &Policy, taking: &[&Binding], world: &World) -> Vec<Catch> {
    let mut taking = taking.to_vec();
    taking.sort_unstable();
    let mut catches = Vec::new();
    for listener in world.listeners.iter().filter(|listener| !world.registered.contains(&listener.cookie)) {
        let packets = candidates(&taking, listener)
            .into_iter()
            .filter(|binding| touches(binding, listener))
            .flat_map(|binding| addresses(binding, listener, world).map(move |address| (binding, address)))
            .take(TRIED);
        let mut taken = packets.filter_map(|(binding, address)| {
            let source = binding.source.map_or_else(|| any_source(address), |source| source.network());
            let source = SocketAddr::new(source, 1024);
            let destination = SocketAddr::new(address, listener.address.port());
            let taken = |policy| match &listener.interface {
                Some(own) => taker_over(policy, listener.protocol, source, destination, Some(own.clone())),
                None => taker(policy, listener.protocol, source, destination),
            };
            let winner = taken(new)?;
            taken(old).is_none().then_some((winner, destination))
        });
        if let Some((binding, destination)) = taken.next() {
            let device = listener.interface.as_ref().map(|own| format!(" dev {own}")).unwrap_or_default();
            catches.push(Catch {
                hazard: Hazard::Takeover,
                message: format!(
                    "`{binding}` takes packets to {destination} from {}, which listens on {} {}{device}",
                    listener.owner, listener.protocol, listener.address
                ),
                help: Some("register that socket under the label first, or carve it out with `pass`".to_owned()),
            });
        }
    }
    catches
}

/// The bindings that can touch a listener by their destination: on a busy machine there are a thousand listeners, most of
/// them on one address each.
fn candidates<'a>(taking: &[&'a Binding], listener: &Listener) -> Vec<&'a Binding> {
    let address = listener.address.ip();
    if address.is_unspecified() {
        return taking.to_vec();
    }
    let runs = toward(taking, |binding| binding, listener.protocol, address);
    runs.flat_map(|run| taking[run].iter().copied()).collect()
}

/// Whether some packet that the binding matches would reach the listener by the regular lookup.
fn touches(binding: &Binding, listener: &Listener) -> bool {
    let address = listener.address.ip();
    let family = binding.destination.network().is_ipv6() == address.is_ipv6()
        || (address == IpAddr::V6(Ipv6Addr::UNSPECIFIED) && listener.dual_stack);
    let device = listener.interface.is_none() || binding.interface.is_none() || listener.interface == binding.interface;
    binding.protocol == listener.protocol
        && binding.ports.contains(listener.address.port())
        && family
        && device
        && (address.is_unspecified() || binding.destination.contains(&address))
}

/// Where a packet for the listener may go that the binding matches: for one on every address, those that this machine has
/// are tried too, as a carve-out may spare the first one of a prefix only.
fn addresses<'a>(binding: &'a Binding, listener: &Listener, world: &'a World) -> impl Iterator<Item = IpAddr> {
    let own = listener.address.ip();
    let every = own.is_unspecified();
    let of_machine =
        world.addresses.iter().copied().filter(move |address| every && binding.destination.contains(address));
    std::iter::once(if every { binding.destination.network() } else { own }).chain(of_machine)
}

/// Addresses kept for documentation: nobody's prefix but 0.0.0.0/0 and ::/0 means them.
pub(super) fn any_source(like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1)),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
    }
}
