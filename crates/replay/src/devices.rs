//! Through which interface a packet came in, for bindings that ask.

use std::collections::BTreeMap;
use std::net::IpAddr;

use sklookup_policy::Interface;

/// What is known of interfaces besides what the capture says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Devices {
    /// Where packets came in of which the capture does not tell it.
    pub untold: Option<Interface>,
    /// Where packets came in whose interface the capture calls so: by a name, or by an index.
    pub called: BTreeMap<String, Interface>,
}

/// What the capture says of a packet's interface.
#[derive(Debug, Clone, Copy)]
pub struct Told<'a> {
    /// What the capture calls it.
    pub name: Option<&'a str>,
    /// The index that the frame bears.
    pub index: Option<u32>,
    /// Whether the frame bears a VLAN tag.
    pub tagged: bool,
}

impl Devices {
    /// The interface that the hook would see; `None` if that can't be told.
    pub fn of(&self, told: Told<'_>, destination: IpAddr) -> Option<Interface> {
        /// What libpcap calls all interfaces together.
        const ALL: &str = "any";
        const LOOPBACK: &str = "lo";
        let index = told.index.map(|index| index.to_string());
        let called = [told.name, index.as_deref()].into_iter().flatten().find_map(|name| self.called.get(name));
        // A tagged packet comes in through the VLAN's own interface. What a host sends to itself is recorded on the loopback
        // interface, and comes in through the one that has the address.
        let name = told.name.filter(|&name| match name {
            ALL => false,
            LOOPBACK => destination.is_loopback(),
            _ => !told.tagged,
        });
        called.cloned().or_else(|| name?.parse().ok()).or_else(|| self.untold.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(devices: &Devices, name: Option<&str>, index: Option<u32>, tagged: bool, to: &str) -> Option<String> {
        let found = devices.of(Told { name, index, tagged }, to.parse().unwrap());
        found.map(|interface| interface.to_string())
    }

    #[test]
    fn the_name_in_the_capture_counts_where_the_packet_comes_in_there() {
        let nothing = Devices::default();
        assert_eq!(of(&nothing, Some("eth0"), None, false, "192.0.2.7").as_deref(), Some("eth0"));
        assert_eq!(of(&nothing, Some("lo"), None, false, "127.0.0.1").as_deref(), Some("lo"));
        for (name, tagged) in
            [(Some("any"), false), (Some("eth0"), true), (Some("lo"), false), (Some("a b"), false), (None, false)]
        {
            assert_eq!(of(&nothing, name, Some(2), tagged, "192.0.2.7"), None, "{name:?}");
        }
    }

    #[test]
    fn what_is_said_beside_the_capture_counts_more() {
        let interface = |name: &str| name.parse::<Interface>().unwrap();
        let devices = Devices {
            untold: Some(interface("eth9")),
            called: [("eth0", "br0"), ("2", "eth2")].map(|(name, is)| (name.to_owned(), interface(is))).into(),
        };
        assert_eq!(of(&devices, Some("eth0"), None, false, "192.0.2.7").as_deref(), Some("br0"));
        assert_eq!(of(&devices, Some("any"), Some(2), false, "192.0.2.7").as_deref(), Some("eth2"));
        assert_eq!(of(&devices, Some("eth1"), None, false, "192.0.2.7").as_deref(), Some("eth1"));
        assert_eq!(of(&devices, Some("eth1"), None, true, "192.0.2.7").as_deref(), Some("eth9"));
        assert_eq!(of(&devices, None, Some(3), false, "192.0.2.7").as_deref(), Some("eth9"));
    }
}
