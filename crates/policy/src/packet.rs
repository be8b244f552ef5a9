//! What a policy decides about.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use crate::names::Interface;
use crate::problem::{Problem, quote};
use crate::protocol::Protocol;

/// The packet that opens a TCP connection, or a UDP datagram, as it arrives. Both addresses are of one family.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Packet {
    /// The transport protocol.
    pub protocol: Protocol,
    /// Who sent it.
    pub source: SocketAddr,
    /// Where it goes: for an arriving packet the local side.
    pub destination: SocketAddr,
    /// The interface it arrived on; `None` if that is not known, and then no binding with an interface matches.
    pub interface: Option<Interface>,
}

const FORM: &str = "write tcp|udp SOURCE:PORT > DESTINATION:PORT [dev INTERFACE], as in \
                    \"tcp 198.51.100.9:40000 > 192.0.2.7:80\" (`to` may stand for `>`)";

impl Packet {
    /// Reads `tcp|udp SOURCE:PORT > DESTINATION:PORT [dev INTERFACE]` from one or several arguments; `to` may stand for
    /// `>`, which a shell takes as a redirection. IPv6 addresses are in brackets.
    pub fn from_words(words: &[impl AsRef<str>]) -> Result<Self, Problem> {
        let words: Vec<&str> = words.iter().flat_map(|word| word.as_ref().split_whitespace()).collect();
        let (four, interface) = match words[..] {
            [protocol, source, arrow, destination] => ([protocol, source, arrow, destination], None),
            [protocol, source, arrow, destination, "dev", interface] => {
                ([protocol, source, arrow, destination], Some(interface.parse()?))
            }
            _ => return Err(Problem::new(format!("{} is not a packet", quote(&words.join(" ")))).help(FORM)),
        };
        let [protocol, source, arrow, destination] = four;
        let protocol = protocol.parse().map_err(|problem: Problem| problem.help("a packet starts with tcp or udp"))?;
        if !matches!(arrow, ">" | "to") {
            return Err(Problem::new(format!("{} stands where > or to is expected", quote(arrow))).help(FORM));
        }
        let (source, destination) = (endpoint(source)?, endpoint(destination)?);
        if source.is_ipv4() != destination.is_ipv4() {
            return Err(Problem::new(format!("no packet goes from {source} to {destination}"))
                .help("source and destination are both IPv4 or both IPv6"));
        }
        Ok(Self { protocol, source, destination, interface })
    }
}

impl FromStr for Packet {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        Self::from_words(&[text])
    }
}

impl fmt::Display for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} > {}", self.protocol, self.source, self.destination)?;
        match &self.interface {
            Some(interface) => write!(f, " dev {interface}"),
            None => Ok(()),
        }
    }
}

fn endpoint(text: &str) -> Result<SocketAddr, Problem> {
    let leading_zero = text.rsplit_once(':').is_some_and(|(_, port)| port.len() > 1 && port.starts_with('0'));
    let address: SocketAddr = text.parse().ok().filter(|_| !leading_zero).ok_or_else(|| {
        Problem::new(format!("{} is not an address with a port", quote(text)))
            .help("write 192.0.2.7:80 or [2001:db8::7]:80")
    })?;
    if let SocketAddr::V6(v6) = address {
        if let Some(v4) = v6.ip().to_ipv4_mapped() {
            return Err(Problem::new(format!("{address} is v4-mapped: on the wire it is an IPv4 packet"))
                .help(format!("write {v4}:{}", v6.port())));
        }
        if v6.scope_id() != 0 {
            return Err(Problem::new(format!("{address} has a zone")).help(format!(
                "write [{}]:{} and name the interface with dev",
                v6.ip(),
                v6.port()
            )));
        }
    }
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        text.parse::<Packet>().unwrap_err().to_string()
    }

    #[test]
    fn text_round_trips() {
        for text in ["tcp 198.51.100.9:40000 > 192.0.2.7:80", "udp [2001:db8::9]:0 > [2001:db8::7]:53 dev eth0"] {
            assert_eq!(text.parse::<Packet>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn one_argument_or_several_and_to_for_the_arrow() {
        let whole: Packet = "tcp 198.51.100.9:40000 > 192.0.2.7:80 dev lo".parse().unwrap();
        let words = ["tcp", "198.51.100.9:40000", "to", "192.0.2.7:80", "dev", "lo"];
        assert_eq!(Packet::from_words(&words), Ok(whole.clone()));
        assert_eq!(Packet::from_words(&["tcp 198.51.100.9:40000", "to 192.0.2.7:80", "dev lo"]), Ok(whole));
    }

    #[test]
    fn wrong_packets_say_what_is_wrong() {
        for (text, message) in [
            ("", "\"\" is not a packet"),
            ("tcp 1.2.3.4:5 > ", "\"tcp 1.2.3.4:5 >\" is not a packet"),
            ("tcp 1.2.3.4:5 > 1.2.3.4:6 eth0", "\"tcp 1.2.3.4:5 > 1.2.3.4:6 eth0\" is not a packet"),
            ("icmp 1.2.3.4:5 > 1.2.3.4:6", "\"icmp\" is not a protocol"),
            ("tcp 1.2.3.4:5 < 1.2.3.4:6", "\"<\" stands where > or to is expected"),
            ("tcp 1.2.3.4 > 1.2.3.4:6", "\"1.2.3.4\" is not an address with a port"),
            ("tcp 1.2.3.4:5 > 1.2.3.4:65536", "\"1.2.3.4:65536\" is not an address with a port"),
            ("tcp 1.2.3.4:5 > 1.2.3.4:080", "\"1.2.3.4:080\" is not an address with a port"),
            ("tcp 1.2.3.4:5 > [::1]:6", "no packet goes from 1.2.3.4:5 to [::1]:6"),
            ("tcp [::ffff:1.2.3.4]:5 > [::1]:6", "[::ffff:1.2.3.4]:5 is v4-mapped: on the wire it is an IPv4 packet"),
            ("tcp [fe80::1%2]:5 > [::1]:6", "[fe80::1%2]:5 has a zone"),
            ("tcp 1.2.3.4:5 > 1.2.3.4:6 dev a/b", "interface \"a/b\" can't exist: it would be a path"),
        ] {
            assert_eq!(error(text).lines().next(), Some(message));
            assert_eq!(error(text).lines().count(), 2, "{}", error(text));
        }
        assert!(error("tcp [::ffff:1.2.3.4]:5 > [::1]:6").ends_with("write 1.2.3.4:5"));
    }
}
