//! The policy in numbers: what both strategies start from.

use ipnet::IpNet;
use sklookup_policy::{Binding, Label, Outcome, Policy, Protocol, WhenEmpty};

use crate::Options;
use crate::error::CompileError;
use crate::family::Family;
use crate::label_map;

/// A prefix as a number of as many bits as its family's addresses have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Prefix {
    pub(crate) address: u128,
    pub(crate) length: u8,
}

/// What the winner of a packet does with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Steer { label: u32, when_empty: WhenEmpty },
    Pass,
    Refuse,
}

/// A binding in numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rule {
    /// The binding's number: its index in the policy.
    pub(crate) number: u32,
    pub(crate) destination: Prefix,
    /// The lowest and the highest port.
    pub(crate) ports: (u16, u16),
    /// `None`: anyone.
    pub(crate) source: Option<Prefix>,
    /// `None`: any interface.
    pub(crate) interface: Option<u32>,
    pub(crate) action: Action,
}

/// The rules of one family and protocol: no packet sees those of two domains.
pub(crate) struct Domain {
    pub(crate) family: Family,
    pub(crate) protocol: Protocol,
    /// Of the rules that match a packet the first in this order wins. Those of one destination prefix stand together,
    /// those with a single port first and by port.
    pub(crate) rules: Vec<Rule>,
}

impl Prefix {
    fn new(prefix: &IpNet) -> Prefix {
        let address = match prefix {
            IpNet::V4(net) => u128::from(net.network().to_bits()),
            IpNet::V6(net) => net.network().to_bits(),
        };
        Prefix { address, length: prefix.prefix_len() }
    }

    /// Its first and last address, of so many bits.
    pub(crate) fn range(self, bits: u8) -> (u128, u128) {
        let host = u128::MAX.checked_shr(u32::from(128 - bits + self.length)).unwrap_or(0);
        (self.address, self.address | host)
    }
}

impl Rule {
    fn new(number: usize, binding: &Binding, labels: &[Label], interface: Option<u32>) -> Rule {
        let action = match &binding.outcome {
            Outcome::Steer { label, when_empty } => {
                let label = labels.binary_search(label).expect("a policy lists the labels of its bindings");
                Action::Steer { label: label as u32, when_empty: *when_empty }
            }
            Outcome::Pass => Action::Pass,
            Outcome::Refuse => Action::Refuse,
        };
        Rule {
            number: u32::try_from(number).expect("a policy has at most a million bindings"),
            destination: Prefix::new(&binding.destination),
            ports: (binding.ports.first(), binding.ports.last()),
            source: binding.source.as_ref().map(Prefix::new).filter(|source| source.length > 0),
            interface,
            action,
        }
    }

    /// 1 to 65536.
    pub(crate) fn width(&self) -> u32 {
        u32::from(self.ports.1) - u32::from(self.ports.0) + 1
    }

    /// Whether it takes a packet whatever its source and interface.
    pub(crate) fn takes_anyone(&self) -> bool {
        self.source.is_none() && self.interface.is_none()
    }
}

impl Domain {
    /// Where the members of its family and protocol begin in the map of a label.
    pub(crate) fn first_slot(&self) -> u32 {
        label_map::slot(self.family, self.protocol, 0)
    }

    /// `tcp over IPv4`, for notes.
    pub(crate) fn name(&self) -> String {
        let family = match self.family {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        };
        format!("{} over {family}", self.protocol)
    }

    /// The ports that some rule takes, as few intervals as they make.
    pub(crate) fn ports(&self) -> Vec<(u16, u16)> {
        let mut ports: Vec<_> = self.rules.iter().map(|rule| rule.ports).collect();
        ports.sort_unstable();
        ports.dedup_by(|next, merged| {
            let touches = u32::from(next.0) <= u32::from(merged.1) + 1;
            if touches {
                merged.1 = merged.1.max(next.1);
            }
            touches
        });
        ports
    }
}

/// The domains that have rules, always in the same order.
pub(crate) fn domains(policy: &Policy, options: &Options) -> Result<Vec<Domain>, CompileError> {
    let indices = interface_indices(policy, options)?;
    let mut domains: Vec<Domain> = Vec::new();
    for family in [Family::V4, Family::V6] {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            domains.push(Domain { family, protocol, rules: Vec::new() });
        }
    }
    for (number, entry) in policy.entries().iter().enumerate() {
        let binding = &entry.binding;
        let interface = binding.interface.as_ref().map(|name| {
            indices[policy.interfaces().binary_search(name).expect("a policy lists the interfaces of its bindings")]
        });
        let rule = Rule::new(number, binding, policy.labels(), interface);
        let domain = 2 * usize::from(Family::from(&binding.destination) == Family::V6)
            + usize::from(binding.protocol == Protocol::Udp);
        domains[domain].rules.push(rule);
    }
    domains.retain(|domain| !domain.rules.is_empty());
    for domain in &mut domains {
        // Of two rules with single ports at most one matches a packet if their ports differ, so these may be sorted by
        // port before the source.
        domain.rules.sort_unstable_by_key(|rule| {
            (
                (std::cmp::Reverse(rule.destination.length), rule.destination.address),
                (rule.width(), if rule.width() == 1 { rule.ports.0 } else { 0 }),
                std::cmp::Reverse(rule.source.map_or(0, |source| source.length)),
                rule.interface.is_none(),
                rule.number,
            )
        });
    }
    Ok(domains)
}

/// The index of each of the policy's interfaces, in the policy's order.
fn interface_indices(policy: &Policy, options: &Options) -> Result<Vec<u32>, CompileError> {
    let mut indices = Vec::with_capacity(policy.interfaces().len());
    for interface in policy.interfaces() {
        let Some(&index) = options.interfaces.get(interface) else {
            let names_it = |binding: &&Binding| binding.interface.as_ref() == Some(interface);
            let mut bindings = policy.entries().iter().map(|entry| &entry.binding);
            let binding = bindings.find(names_it).map_or_else(String::new, Binding::to_string);
            return Err(CompileError::NoIndex { interface: interface.to_string(), binding });
        };
        if let Some(other) = indices.iter().position(|&other| other == index) {
            return Err(CompileError::SameInterface {
                first: policy.interfaces()[other].to_string(),
                second: interface.to_string(),
                index,
            });
        }
        indices.push(index);
    }
    Ok(indices)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::policy;

    #[test]
    fn a_prefix_ends_where_its_host_bits_are_all_ones() {
        assert_eq!(Prefix { address: 0x0a000000, length: 8 }.range(32), (0x0a000000, 0x0affffff));
        assert_eq!(Prefix { address: 7, length: 32 }.range(32), (7, 7));
        assert_eq!(Prefix { address: 0, length: 0 }.range(32), (0, 0xffff_ffff));
        assert_eq!(Prefix { address: 0, length: 0 }.range(128), (0, u128::MAX));
        assert_eq!(Prefix { address: 7, length: 128 }.range(128), (7, 7));
    }

    #[test]
    fn ports_that_touch_are_one_interval() {
        let policy = policy(&["a tcp 192.0.2.0/24 80,81,443,8000-8999,8500-9000"]);
        let domains = domains(&policy, &Options::default()).unwrap();
        assert_eq!(domains[0].ports(), [(80, 81), (443, 443), (8000, 9000)]);
    }

    #[test]
    fn an_interface_without_an_index_is_named_with_its_binding() {
        let policy = policy(&["a tcp 192.0.2.0/24 80 dev eth7"]);
        let Err(error) = domains(&policy, &Options::default()) else { panic!("eth7 has no index") };
        assert_eq!(error.to_string(), "`a tcp 192.0.2.0/24 80 dev eth7` names interface eth7, which has no index");
    }

    #[test]
    fn two_names_of_one_interface_are_refused() {
        let policy = policy(&["a tcp 192.0.2.0/24 80 dev eth7", "b tcp 192.0.2.0/24 80 dev lan"]);
        let interfaces = policy.interfaces().iter().map(|name| (name.clone(), 7)).collect();
        let Err(error) = domains(&policy, &Options { interfaces, ..Options::default() }) else { panic!("both are 7") };
        assert_eq!(error.to_string(), "eth7 and lan are one interface (index 7): write one of the names");
    }
}
