//! Destination ports of a binding.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use crate::problem::{Problem, quote};

/// Consecutive ports, both ends included. The parser makes only `1 <= first <= last`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PortRange {
    /// The lowest port.
    pub first: u16,
    /// The highest port; equal to `first` for a single port.
    pub last: u16,
}

/// Which destination ports a binding takes.
///
/// "Every port" is a variant and not `1-65535`: packets may bear port 0, and the two differ in width.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ports {
    /// All 65536 of them.
    Every,
    /// A single port or a range.
    Range(PortRange),
}

impl PortRange {
    /// A range of one port.
    pub const fn single(port: u16) -> Self {
        Self { first: port, last: port }
    }

    /// How many ports it has.
    pub const fn width(self) -> u32 {
        self.last as u32 - self.first as u32 + 1
    }
}

impl Ports {
    /// How many ports it has: 1 to 65535 for a range, 65536 for every port. Narrower wins.
    pub const fn width(self) -> u32 {
        match self {
            Self::Every => 1 << 16,
            Self::Range(range) => range.width(),
        }
    }

    /// The lowest port that matches.
    pub const fn first(self) -> u16 {
        match self {
            Self::Every => 0,
            Self::Range(range) => range.first,
        }
    }

    /// The highest port that matches.
    pub const fn last(self) -> u16 {
        match self {
            Self::Every => u16::MAX,
            Self::Range(range) => range.last,
        }
    }

    /// Whether `port` is one of them.
    pub const fn contains(self, port: u16) -> bool {
        self.first() <= port && port <= self.last()
    }
}

/// The narrower first, then the lower.
impl Ord for Ports {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.width(), self.first()).cmp(&(other.width(), other.first()))
    }
}

impl PartialOrd for Ports {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last { write!(f, "{}", self.first) } else { write!(f, "{}-{}", self.first, self.last) }
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Every => f.write_str("*"),
            Self::Range(range) => range.fmt(f),
        }
    }
}

impl FromStr for Ports {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        if text == "*" {
            return Ok(Self::Every);
        }
        let (first, last) = match text.split_once('-') {
            Some((first, last)) => (port(first, text)?, port(last, text)?),
            None => {
                let port = port(text, text)?;
                (port, port)
            }
        };
        if first > last {
            return Err(Problem::new(format!("port range {first}-{last} ends before it starts"))
                .help(format!("write {last}-{first}, or {first} for a single port")));
        }
        Ok(Self::Range(PortRange { first, last }))
    }
}

/// Reads one port number, which is the whole of `written` or one end of it.
fn port(text: &str, written: &str) -> Result<u16, Problem> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Problem::new(format!("{} is not a port", quote(written)))
            .help("write a port (80), a range (8000-8999), or * for every port"));
    }
    if text.len() > 1 && text.starts_with('0') {
        // Elsewhere such a number is octal; and a policy has one spelling of it.
        let bare = text.trim_start_matches('0');
        return Err(Problem::new(format!("port {} starts with a 0", quote(text)))
            .help(format!("write {}", if bare.is_empty() { "a port from 1 to 65535" } else { bare })));
    }
    match text.parse() {
        Ok(0) => Err(port_zero()),
        Ok(port) => Ok(port),
        // Only digits, so what fails is the size.
        Err(_) => Err(port_too_high(text)),
    }
}

/// Why port 0 can't be written: nothing can listen on it, and "every port" has a word of its own.
pub(crate) fn port_zero() -> Problem {
    Problem::new("port 0 can't be named").help("ports are 1 to 65535; for every port write * or leave the ports out")
}

/// Why a number above 65535 is no port; `text` is the number as written.
pub(crate) fn port_too_high(text: &str) -> Problem {
    Problem::new(format!("port {} is too high", quote(text)))
        .help("ports are 1 to 65535; for every port write * or leave the ports out")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        text.parse::<Ports>().unwrap_err().to_string()
    }

    #[test]
    fn text_round_trips() {
        for text in ["*", "1", "80", "80-90", "1-65535", "65535"] {
            assert_eq!(text.parse::<Ports>().unwrap().to_string(), text);
        }
        assert_eq!("80-80".parse::<Ports>().unwrap().to_string(), "80");
    }

    #[test]
    fn every_port_is_wider_than_the_widest_range_and_holds_port_zero() {
        let widest: Ports = "1-65535".parse().unwrap();
        assert_eq!((widest.width(), Ports::Every.width()), (65535, 65536));
        assert!(Ports::Every.contains(0) && !widest.contains(0));
        assert!(widest < Ports::Every);
    }

    #[test]
    fn wrong_ports_are_named_with_the_fix() {
        assert_eq!(
            error("9000-8000"),
            "port range 9000-8000 ends before it starts\n    write 8000-9000, or 9000 for a single port"
        );
        assert!(error("0").starts_with("port 0 can't be named\n"));
        assert!(error("0-80").starts_with("port 0 can't be named\n"));
        assert_eq!(error("080"), "port \"080\" starts with a 0\n    write 80");
        assert!(error("80-0090").ends_with("write 90"));
        assert!(error("00").ends_with("write a port from 1 to 65535"));
        assert!(error("65536").starts_with("port \"65536\" is too high\n"));
        assert!(error("99999999999999999999").contains("is too high"));
        for text in ["", "http", "-80", "80-", "+80", "80-90-100", " 80", "8 0"] {
            assert!(error(text).contains("is not a port\n"), "{text:?}: {}", error(text));
        }
    }
}
