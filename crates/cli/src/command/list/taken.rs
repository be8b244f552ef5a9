//! What is taken of addresses: bindings that differ in port or destination alone, put together.

use std::collections::HashMap;
use std::fmt::{self, Write as _};

use ipnet::IpNet;
use serde_json::{Map, Value, json};
use sklookup_policy::{Interface, Outcome, PortRange, Ports, Protocol, Shown, WhenEmpty};
use sklookup_steering::Sum;

use super::Listed;
use crate::counts;

/// How many intervals of ports are shown in a line for people.
const PORTS_SHOWN: usize = 8;

/// What bindings say, but for their destination.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct What<'a> {
    /// The protocol.
    pub protocol: Protocol,
    /// What the packets get.
    pub outcome: &'a Outcome,
    /// Where they come from.
    pub source: Option<IpNet>,
    /// Over which interface.
    pub interface: Option<&'a Interface>,
    /// The ports of all of them, lowest first, with a gap between each two.
    ports: Vec<Span>,
}

/// Consecutive ports, both ends included; from 0 on where a binding takes every port.
type Span = (u16, u16);

/// What is taken of one destination by bindings that differ in nothing but their ports.
#[derive(Clone, Debug)]
pub struct Line<'a> {
    /// What.
    pub what: What<'a>,
    /// What the bindings counted.
    pub sum: Sum,
}

/// A destination, and all that is taken of it.
#[derive(Clone, Debug)]
pub struct Destination<'a> {
    /// The prefix.
    pub prefix: IpNet,
    /// What; not empty.
    pub lines: Vec<Line<'a>>,
}

/// Destinations of which the same is taken.
#[derive(Clone, Debug)]
pub struct Alike<'a> {
    /// Prefixes that are next to each other put together.
    pub prefixes: Vec<IpNet>,
    /// How many prefixes policies have for them.
    pub count: usize,
    /// What is taken of each.
    pub line: Line<'a>,
}

/// Puts together what bindings take of each destination; IPv4 first, by address, the shorter prefix first.
pub fn by_destination<'a>(listed: &[Listed<'a>]) -> Vec<Destination<'a>> {
    let mut sorted: Vec<&Listed<'a>> = listed.iter().collect();
    sorted.sort_by_key(|(entry, _)| {
        let binding = &entry.binding;
        (
            binding.destination,
            binding.protocol,
            binding.source,
            &binding.interface,
            &binding.outcome,
            binding.ports.first(),
        )
    });
    let mut destinations: Vec<Destination<'a>> = Vec::new();
    for &&(entry, counts) in &sorted {
        let binding = &entry.binding;
        let sum = Sum::of(binding, counts);
        let what = What {
            protocol: binding.protocol,
            outcome: &binding.outcome,
            source: binding.source,
            interface: binding.interface.as_ref(),
            ports: vec![(binding.ports.first(), binding.ports.last())],
        };
        match destinations.last_mut().filter(|last| last.prefix == binding.destination) {
            Some(last) => match last.lines.last_mut().filter(|line| line.what.differs_only_in_ports(&what)) {
                Some(line) => {
                    line.what.add_ports(binding.ports);
                    line.sum.add(&sum);
                }
                None => last.lines.push(Line { what, sum }),
            },
            None => destinations.push(Destination { prefix: binding.destination, lines: vec![Line { what, sum }] }),
        }
    }
    destinations
}

/// Puts destinations of which the same is taken together, in the order of the first of each.
pub fn alike<'a>(destinations: Vec<Destination<'a>>) -> Vec<Alike<'a>> {
    let mut numbers: HashMap<What<'a>, usize> = HashMap::new();
    let mut groups: Vec<Alike<'a>> = Vec::new();
    for Destination { prefix, lines } in destinations {
        for line in lines {
            match numbers.get(&line.what) {
                Some(&number) => {
                    let group = &mut groups[number];
                    group.prefixes.push(prefix);
                    group.count += 1;
                    group.line.sum.add(&line.sum);
                }
                None => {
                    numbers.insert(line.what.clone(), groups.len());
                    groups.push(Alike { prefixes: vec![prefix], count: 1, line });
                }
            }
        }
    }
    for group in &mut groups {
        group.prefixes = IpNet::aggregate(&group.prefixes);
    }
    groups
}

impl What<'_> {
    fn differs_only_in_ports(&self, other: &What<'_>) -> bool {
        (self.protocol, self.outcome, self.source, self.interface)
            == (other.protocol, other.outcome, other.source, other.interface)
    }

    /// Adds ports that don't begin before those that are there.
    fn add_ports(&mut self, ports: Ports) {
        let (first, last) = (ports.first(), ports.last());
        match self.ports.last_mut().filter(|(_, end)| first <= end.saturating_add(1)) {
            Some((_, end)) => *end = last.max(*end),
            None => self.ports.push((first, last)),
        }
    }

    /// The label, or the rule.
    pub fn receiver(&self) -> String {
        match self.outcome {
            Outcome::Steer { label, when_empty: WhenEmpty::Pass } => format!("{label} (when-empty pass)"),
            outcome => outcome.to_string(),
        }
    }

    /// The fields of a binding but for its destination, for machines: several intervals of ports are one text.
    pub fn json(&self, sum: &Sum) -> Map<String, Value> {
        let mut fields = Map::new();
        match self.outcome {
            Outcome::Steer { label, when_empty } => {
                fields.insert("label".to_owned(), json!(label.to_string()));
                fields.insert("when-empty".to_owned(), json!(when_empty.to_string()));
            }
            rule => drop(fields.insert("action".to_owned(), json!(rule.to_string()))),
        }
        fields.insert("protocol".to_owned(), json!(self.protocol.to_string()));
        match self.ports[..] {
            [(0, u16::MAX)] => {}
            [(first, last)] if first == last => drop(fields.insert("ports".to_owned(), json!(first))),
            _ => drop(fields.insert("ports".to_owned(), json!(spelled(&self.ports)))),
        }
        if let Some(source) = self.source {
            fields.insert("source".to_owned(), json!(source.to_string()));
        }
        if let Some(interface) = self.interface {
            fields.insert("interface".to_owned(), json!(interface.to_string()));
        }
        fields.insert("bindings".to_owned(), json!(sum.bindings));
        fields.insert("counts".to_owned(), counts::json(sum));
        fields
    }
}

/// As in a policy, without destination and label: `tcp 80,443 from 198.51.100.0/24 dev eth0`.
impl fmt::Display for What<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.ports[..self.ports.len().min(PORTS_SHOWN)];
        write!(f, "{} {}", self.protocol, spelled(shown))?;
        if self.ports.len() > PORTS_SHOWN {
            write!(f, ",... ({} intervals)", self.ports.len())?;
        }
        if let Some(source) = self.source {
            write!(f, " from {}", Shown(source))?;
        }
        if let Some(interface) = self.interface {
            write!(f, " dev {interface}")?;
        }
        Ok(())
    }
}

fn spelled(ports: &[Span]) -> String {
    if ports == [(0, u16::MAX)] {
        return Ports::Every.to_string();
    }
    let mut text = String::new();
    for (number, &(first, last)) in ports.iter().enumerate() {
        let comma = if number == 0 { "" } else { "," };
        write!(text, "{comma}{}", PortRange { first, last }).expect("a String takes all");
    }
    text
}

/// A few prefixes, and how many more there are: `192.0.2.0/24, 198.51.100.7 and 3 more`.
pub fn some(prefixes: &[IpNet], most: usize) -> String {
    let named: Vec<String> = prefixes.iter().take(most).map(|prefix| Shown(*prefix).to_string()).collect();
    let text = named.join(", ");
    match prefixes.len().saturating_sub(most) {
        0 => text,
        more => format!("{text} and {more} more"),
    }
}
