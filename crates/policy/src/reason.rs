//! Why one binding goes before another.

use std::fmt;

use crate::binding::Binding;

/// The rule of precedence by which one binding beats another that matches the same packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Its destination prefix is longer.
    LongerDestination,
    /// It takes fewer ports.
    NarrowerPorts,
    /// Its source prefix is longer.
    LongerSource,
    /// It names an interface.
    Interface,
    /// None: both are equally precise and have one outcome, and it is the first in order.
    Order,
}

impl Reason {
    /// Why `winner` goes before `other`: the first rule that tells them apart.
    pub fn of(winner: &Binding, other: &Binding) -> Reason {
        let length = |binding: &Binding| binding.source.map_or(0, |source| source.prefix_len());
        if winner.destination.prefix_len() != other.destination.prefix_len() {
            Reason::LongerDestination
        } else if winner.ports.width() != other.ports.width() {
            Reason::NarrowerPorts
        } else if length(winner) != length(other) {
            Reason::LongerSource
        } else if winner.interface.is_some() != other.interface.is_some() {
            Reason::Interface
        } else {
            Reason::Order
        }
    }
}

/// Ends a sentence that begins with the winner: "has the longer destination prefix".
impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Reason::LongerDestination => "has the longer destination prefix",
            Reason::NarrowerPorts => "takes fewer ports",
            Reason::LongerSource => "has the longer source prefix",
            Reason::Interface => "names the interface",
            Reason::Order => "comes first, and both do the same",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Origin, Policy, decide, parse_binding};

    #[test]
    fn the_first_rule_that_differs_is_the_reason() {
        let parse = |line: &str| parse_binding(line, Origin::Command("test".into())).unwrap();
        for (winner, other, reason) in [
            ("a tcp 192.0.2.7", "b tcp 192.0.2.0/24 80 from 10.0.0.0/8 dev x", Reason::LongerDestination),
            ("a tcp 192.0.2.7 80", "b tcp 192.0.2.7 80-81 from 10.0.0.0/8 dev x", Reason::NarrowerPorts),
            ("a tcp 192.0.2.7 80 from 10.0.0.0/16", "b tcp 192.0.2.7 80 from 10.0.0.0/8 dev x", Reason::LongerSource),
            ("a tcp 192.0.2.7 80 dev x", "b tcp 192.0.2.7 80", Reason::Interface),
            ("a tcp 192.0.2.7 80-81", "a tcp 192.0.2.7 79-80", Reason::Order),
        ] {
            let policy = Policy::new([parse(winner), parse(other)].concat()).unwrap();
            let decision = decide(&policy, &"tcp 10.0.0.1:9 > 192.0.2.7:80 dev x".parse().unwrap());
            let [first, second] =
                [decision.winner.unwrap(), decision.runners_up[0]].map(|i| &policy.entries()[i].binding);
            assert_eq!(Reason::of(first, second), reason, "{first} / {second}");
            if reason != Reason::Order {
                assert_eq!(first.to_string(), winner);
            }
        }
    }
}
