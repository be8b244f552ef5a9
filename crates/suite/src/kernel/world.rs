//! Namespaces, interfaces, local routes and settings.

use std::time::{Duration, Instant};

use ipnet::IpNet;
use sklookup_kernel::route::LocalRoutes;
use sklookup_kernel::{Netns, interface, route};

use super::host::Machine;
use crate::case::{Interface, World};
use crate::host::{Outcome, Refusal};

/// How long an address may take to become local.
const LONG: Duration = Duration::from_secs(10);

impl Machine<'_> {
    pub(super) fn furnish_world(&mut self, world: &World) -> Outcome {
        // A host that refuses much slows down: not in a case.
        for (name, value) in [("net.ipv4.icmp_ratelimit", "0"), ("net.ipv6.icmp.ratelimit", "0")] {
            set(name, value)?;
        }
        for (name, value) in &world.sysctls {
            set(name, value)?;
        }
        for name in &world.netns {
            let made = Netns::new_private().map_err(|error| Refusal::Broken(error.to_string()))?;
            self.netns.insert(name.clone(), made);
        }
        for interface in &world.interfaces {
            self.add_interface(interface).map_err(|refusal| of(&interface.name, refusal))?;
        }
        for prefix in &world.local {
            route::add_local_route(*prefix)?;
        }
        Ok(())
    }

    fn add_interface(&mut self, made: &Interface) -> Outcome {
        if made.name == "lo" {
            return addresses(interface::LOOPBACK, &made.addresses);
        }
        let peer = format!("{}-o", made.name);
        let (inner, outer) = interface::add_veth(&made.name, &peer)?;
        let outside = Netns::new_private().map_err(|error| Refusal::Broken(error.to_string()))?;
        interface::move_to(outer, &outside)?;
        Machine::inside(&outside, || {
            let outer = interface::index_of(&peer)?;
            let outer = outer.ok_or_else(|| Refusal::Broken("it did not arrive outside".to_owned()))?;
            interface::set_up(outer)?;
            addresses(outer, &made.outside)
        })?;
        interface::set_up(inner)?;
        addresses(inner, &made.addresses)?;
        self.outside.insert(made.name.clone(), outside);
        Ok(())
    }
}

/// Gives an interface addresses, and waits until they are local: for IPv6 the kernel does that a moment later.
fn addresses(index: u32, addresses: &[IpNet]) -> Outcome {
    for address in addresses {
        interface::add_address(index, *address)?;
    }
    let deadline = Instant::now() + LONG;
    // To bind to an IPv6 address is possible before there is a way to it.
    while !local(addresses)? {
        if Instant::now() > deadline {
            return Err(Refusal::Broken("its addresses do not become local".to_owned()));
        }
        std::thread::yield_now();
    }
    Ok(())
}

fn local(addresses: &[IpNet]) -> Outcome<bool> {
    let routes = LocalRoutes::read()?;
    Ok(addresses.iter().all(|address| routes.covers(&IpNet::from(address.addr()))))
}

fn set(name: &str, value: &str) -> Outcome {
    let path = format!("/proc/sys/{}", name.replace('.', "/"));
    std::fs::write(&path, value).map_err(|error| Refusal::Cannot(format!("sysctl {name}: {error}")))
}

fn of(interface: &str, refusal: Refusal) -> Refusal {
    match refusal {
        Refusal::Errno(errno) => Refusal::Broken(format!("interface {interface}: {errno}")),
        Refusal::Broken(why) => Refusal::Broken(format!("interface {interface}: {why}")),
        cannot => cannot,
    }
}
