//! Namespaces, interfaces, local routes and settings.

use sklookup_engine::{Netns, Sysctls};

use super::host::Simulated;
use crate::case::World;
use crate::host::{Outcome, Refusal};

/// Loopback's index, the same in every namespace.
const LOOPBACK: u32 = 1;

impl Simulated {
    pub(super) fn furnish_world(&mut self, world: &World) -> Outcome {
        let mut sysctls = Sysctls::default();
        for (name, value) in &world.sysctls {
            match (name.as_str(), value.as_str()) {
                ("net.ipv6.bindv6only", value) => sysctls.bindv6only = value != "0",
                ("net.ipv4.tcp_l3mdev_accept", value) => sysctls.tcp_l3mdev_accept = value != "0",
                ("net.ipv4.udp_l3mdev_accept", value) => sysctls.udp_l3mdev_accept = value != "0",
                ("net.ipv4.tcp_syncookies", "2") => self.syn_cookies = true,
                // What it changes, no lookup shows.
                ("net.ipv4.ip_early_demux", _) => {}
                _ => return Err(Refusal::Cannot(format!("it has no sysctl {name} of {value}"))),
            }
        }
        self.own.set_sysctls(sysctls);
        for name in &world.netns {
            self.netns.insert(name.clone(), Netns::new_private(&self.machine));
        }
        for interface in &world.interfaces {
            let index = if interface.name == "lo" { LOOPBACK } else { self.own.add_interface(&interface.name)? };
            for address in &interface.addresses {
                self.own.add_address(index, *address)?;
            }
        }
        for prefix in &world.local {
            self.own.add_local_route(*prefix)?;
        }
        Ok(())
    }
}
