//! From an entry, which is shorthand, to its bindings.

use std::collections::HashSet;

use ipnet::IpNet;

use crate::binding::{Binding, Outcome};
use crate::entry::{Entry, Origin};
use crate::names::{Interface, Label};
use crate::ports::Ports;
use crate::prefix::Shown;
use crate::problem::Problem;
use crate::protocol::Protocol;

/// An entry as written: each combination of the lists is a binding.
#[derive(Debug)]
pub(crate) struct Shorthand {
    pub(crate) protocols: Vec<Protocol>,
    pub(crate) destinations: Vec<IpNet>,
    pub(crate) ports: Vec<Ports>,
    /// Empty: anyone.
    pub(crate) sources: Vec<IpNet>,
    pub(crate) interface: Option<Interface>,
    pub(crate) outcome: Outcome,
}

/// Why an entry has no bindings.
#[derive(Debug)]
pub(crate) enum Unexpanded {
    /// It makes no sense.
    Wrong(Problem),
    /// It would be more than a policy can hold; so would most of what follows.
    TooMany(Problem),
}

impl Shorthand {
    /// Adds the bindings to `entries`, which never hold more than `most`. Items written twice count once.
    pub(crate) fn expand(mut self, origin: &Origin, entries: &mut Vec<Entry>, most: usize) -> Result<(), Unexpanded> {
        sort_and_dedup(&mut self.protocols);
        sort_and_dedup(&mut self.destinations);
        sort_and_dedup(&mut self.ports);
        sort_and_dedup(&mut self.sources);
        self.check_partners().map_err(Unexpanded::Wrong)?;

        // In 128 bits: three lists can have millions of items each.
        let count = (self.protocols.len() * self.ports.len()) as u128 * self.pairs();
        if count > most.saturating_sub(entries.len()) as u128 {
            let problem = Problem::new(format!("{count} bindings more than the {} before", entries.len()))
                .help(format!("at most {most} are possible: write prefixes and port ranges where you can"));
            return Err(Unexpanded::TooMany(problem));
        }

        entries.reserve(count as usize);
        for &protocol in &self.protocols {
            for &destination in &self.destinations {
                for &ports in &self.ports {
                    let mut add = |source: Option<IpNet>| {
                        let (interface, outcome) = (self.interface.clone(), self.outcome.clone());
                        let binding = Binding { protocol, destination, ports, source, interface, outcome };
                        entries.push(Entry { binding, origin: origin.clone(), owner: None });
                    };
                    if self.sources.is_empty() {
                        add(None);
                    }
                    for &source in self.sources.iter().filter(|&&source| same_family(source, destination)) {
                        add(Some(source).filter(|source| source.prefix_len() > 0));
                    }
                }
            }
        }
        Ok(())
    }

    /// How many pairs of destination and source there are.
    fn pairs(&self) -> u128 {
        if self.sources.is_empty() {
            return self.destinations.len() as u128;
        }
        let count = |nets: &[IpNet], v4: bool| nets.iter().filter(|net| net.addr().is_ipv4() == v4).count() as u128;
        [true, false].map(|v4| count(&self.destinations, v4) * count(&self.sources, v4)).iter().sum()
    }

    /// Every destination and every source must be part of some binding, or a part of the entry would be lost in silence.
    fn check_partners(&self) -> Result<(), Problem> {
        if self.sources.is_empty() {
            return Ok(());
        }
        let lonely = |nets: &[IpNet], others: &[IpNet]| {
            let [v4, v6] = [true, false].map(|v4| others.iter().any(|other| other.addr().is_ipv4() == v4));
            nets.iter().copied().find(|net| if net.addr().is_ipv4() { !v4 } else { !v6 })
        };
        let (what, net, other) = if let Some(net) = lonely(&self.destinations, &self.sources) {
            ("destination", net, "source")
        } else if let Some(net) = lonely(&self.sources, &self.destinations) {
            ("source", net, "destination")
        } else {
            return Ok(());
        };
        let family = if net.addr().is_ipv4() { "IPv4" } else { "IPv6" };
        Err(Problem::new(format!("{what} {} is {family}, and no {other} of this entry is", Shown(net)))
            .help(format!("add an {family} {other}, or write an entry for each family")))
    }
}

impl From<Unexpanded> for Problem {
    fn from(unexpanded: Unexpanded) -> Self {
        match unexpanded {
            Unexpanded::Wrong(problem) | Unexpanded::TooMany(problem) => problem,
        }
    }
}

/// The names met so far: a million bindings share the text of their few labels and interfaces.
#[derive(Debug, Default)]
pub(crate) struct Names {
    labels: HashSet<Label>,
    interfaces: HashSet<Interface>,
}

impl Names {
    pub(crate) fn label(&mut self, text: &str) -> Result<Label, Problem> {
        if let Some(label) = self.labels.get(text) {
            return Ok(label.clone());
        }
        let label: Label = text.parse()?;
        self.labels.insert(label.clone());
        Ok(label)
    }

    pub(crate) fn interface(&mut self, text: &str) -> Result<Interface, Problem> {
        if let Some(interface) = self.interfaces.get(text) {
            return Ok(interface.clone());
        }
        let interface: Interface = text.parse()?;
        self.interfaces.insert(interface.clone());
        Ok(interface)
    }
}

fn same_family(a: IpNet, b: IpNet) -> bool {
    a.addr().is_ipv4() == b.addr().is_ipv4()
}

fn sort_and_dedup<T: Ord>(items: &mut Vec<T>) {
    items.sort_unstable();
    items.dedup();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::parse_binding;

    /// Each of one list was once compared with each of the other.
    #[test]
    fn a_destination_without_a_source_of_its_family_is_found_at_once_in_long_lists() {
        const LONG: u32 = 300_000;
        let v6: String = (0..LONG).map(|n| format!("fd00::{:x}:{:x},", n >> 16, n & 0xffff)).collect();
        let v4: String = (0..LONG).map(|n| format!("10.{}.{}.{},", n >> 16, n >> 8 & 255, n & 255)).collect();
        let line = format!("web tcp {v6}fd01::1 80 from {v4}10.255.0.0");
        let problem = parse_binding(&line, Origin::Command("test".into())).unwrap_err();
        assert!(problem.message.contains("is IPv6, and no source of this entry is"), "{problem}");
    }
}
