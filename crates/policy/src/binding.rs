//! One rule of a policy.

use std::cmp::{Ordering, Reverse};
use std::fmt;

use ipnet::IpNet;

use crate::names::{Interface, Label};
use crate::packet::Packet;
use crate::ports::Ports;
use crate::prefix::{self, Shown};
use crate::problem::Problem;
use crate::protocol::Protocol;

/// What a packet gets while its label has no socket that can take it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WhenEmpty {
    /// A TCP reset or an ICMP port unreachable.
    Refuse,
    /// The regular lookup, never the next binding.
    Pass,
}

/// What a binding does with the packets it wins.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// A socket registered under `label` receives the packet.
    Steer {
        /// The service.
        label: Label,
        /// What happens instead while it has no socket.
        when_empty: WhenEmpty,
    },
    /// The regular lookup: a carve-out from a wider binding.
    Pass,
    /// A TCP reset or an ICMP port unreachable.
    Refuse,
}

/// A rule: packets that match it get its outcome, unless a binding of greater precedence matches too.
///
/// The parser makes only valid ones, and [`Policy::new`](crate::Policy::new) refuses the others: prefixes have no host
/// bits, source and destination are of one family, and neither is v4-mapped.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Binding {
    /// The transport protocol.
    pub protocol: Protocol,
    /// Where packets go. An IPv4 prefix matches IPv4 packets only, an IPv6 prefix IPv6 packets only.
    pub destination: IpNet,
    /// The destination ports.
    pub ports: Ports,
    /// Where packets come from; `None`: anyone.
    pub source: Option<IpNet>,
    /// Over which interface they arrive; `None`: any.
    pub interface: Option<Interface>,
    /// What they get.
    pub outcome: Outcome,
}

/// How precise a binding is. Of the bindings that match a packet the one with the greatest precedence wins.
///
/// Two bindings that match one packet have equal precedence only if their destinations, sources and interfaces are
/// equal and their ports overlap with equal width.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Precedence {
    destination_length: u8,
    port_width: Reverse<u32>,
    source_length: u8,
    interface: bool,
}

impl Binding {
    /// What is compared when several bindings match a packet.
    pub fn precedence(&self) -> Precedence {
        Precedence {
            destination_length: self.destination.prefix_len(),
            port_width: Reverse(self.ports.width()),
            source_length: self.source.map_or(0, |source| source.prefix_len()),
            interface: self.interface.is_some(),
        }
    }

    /// Whether `packet` is one of those this binding speaks of.
    pub fn matches(&self, packet: &Packet) -> bool {
        self.protocol == packet.protocol
            && self.destination.contains(&packet.destination.ip())
            && self.ports.contains(packet.destination.port())
            && self.source.is_none_or(|source| source.contains(&packet.source.ip()))
            && (self.interface.is_none() || self.interface == packet.interface)
    }

    /// The label it steers to, if it steers.
    pub fn label(&self) -> Option<&Label> {
        match &self.outcome {
            Outcome::Steer { label, .. } => Some(label),
            Outcome::Pass | Outcome::Refuse => None,
        }
    }

    /// Compares all but the outcome, in the order of [`Ord`]. Bindings that are equal here match the same packets.
    pub fn cmp_match(&self, other: &Self) -> Ordering {
        self.cmp_but_first_port(other).then_with(|| self.ports.first().cmp(&other.ports.first()))
    }

    /// Compares everything that two bindings of equal precedence have in common when a packet matches both.
    pub(crate) fn cmp_but_first_port(&self, other: &Self) -> Ordering {
        (self.protocol.cmp(&other.protocol))
            .then_with(|| self.destination.cmp(&other.destination))
            .then_with(|| self.ports.width().cmp(&other.ports.width()))
            .then_with(|| self.source.cmp(&other.source))
            .then_with(|| self.interface.cmp(&other.interface))
    }

    /// Makes equal what means the same (a source of length 0 is anyone), and refuses what can't be meant.
    pub(crate) fn normalize(&mut self) -> Result<(), Problem> {
        prefix::check(self.destination)?;
        if let Some(source) = self.source {
            prefix::check(source)?;
            if source.addr().is_ipv4() != self.destination.addr().is_ipv4() {
                return Err(Problem::new(format!(
                    "no packet goes from {} to {}: one is IPv4, the other IPv6",
                    Shown(source),
                    Shown(self.destination)
                )));
            }
            self.source = Some(source).filter(|source| source.prefix_len() > 0);
        }
        match self.ports {
            Ports::Range(range) if range.first == 0 => Err(crate::ports::port_zero()),
            Ports::Range(range) if range.first > range.last => {
                Err(Problem::new(format!("port range {range} ends before it starts")))
            }
            _ => Ok(()),
        }
    }
}

/// The order of a policy and of its canonical text: by protocol, destination (IPv4 first, by address, the shorter
/// prefix first), port width, source (anyone first), interface (any first), first port, outcome.
///
/// Bindings that could conflict are neighbours in it.
impl Ord for Binding {
    fn cmp(&self, other: &Self) -> Ordering {
        self.cmp_match(other).then_with(|| self.outcome.cmp(&other.outcome))
    }
}

impl PartialOrd for Binding {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The canonical text: the one-line form with all defaults left out.
impl fmt::Display for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.outcome, self.protocol, Shown(self.destination))?;
        if let Ports::Range(range) = self.ports {
            write!(f, " {range}")?;
        }
        if let Some(source) = self.source.filter(|source| source.prefix_len() > 0) {
            write!(f, " from {}", Shown(source))?;
        }
        if let Some(interface) = &self.interface {
            write!(f, " dev {interface}")?;
        }
        if let Outcome::Steer { when_empty: WhenEmpty::Pass, .. } = self.outcome {
            f.write_str(" when-empty pass")?;
        }
        Ok(())
    }
}

/// The first word of the one-line form: the label, `pass` or `refuse`.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Steer { label, .. } => label.fmt(f),
            Self::Pass => f.pad("pass"),
            Self::Refuse => f.pad("refuse"),
        }
    }
}

impl fmt::Display for WhenEmpty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Refuse => "refuse",
            Self::Pass => "pass",
        })
    }
}
