//! The transport protocols that the hook serves.

use std::fmt;
use std::str::FromStr;

use crate::problem::{Problem, quote};

/// TCP or UDP: the kernel runs sk_lookup programs for no other protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// Matches the packet that opens a connection.
    Tcp,
    /// Matches every datagram that no connected socket receives.
    Udp,
}

impl Protocol {
    /// The protocol number of the IP header: 6 or 17.
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }

    /// The word of the language, `tcp` or `udp`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Protocol {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        match text {
            "tcp" => Ok(Self::Tcp),
            "udp" => Ok(Self::Udp),
            _ => Err(Problem::new(format!("{} is not a protocol", quote(text))).help("write tcp, udp or tcp,udp")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lower_case_and_numbers_are_those_of_the_ip_header() {
        for (protocol, name, number) in [(Protocol::Tcp, "tcp", 6), (Protocol::Udp, "udp", 17)] {
            assert_eq!(protocol.to_string(), name);
            assert_eq!(name.parse(), Ok(protocol));
            assert_eq!(protocol.number(), number);
        }
        assert_eq!(
            "TCP".parse::<Protocol>().unwrap_err().to_string(),
            "\"TCP\" is not a protocol\n    write tcp, udp or tcp,udp"
        );
    }
}
