//! Which of a process's sockets a user means: `tcp 127.0.0.1:8080`, `tcp :8080`, `udp`.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use sklookup_policy::Protocol;

/// A description of local sockets; what is left out may be anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketMatch {
    /// The protocol.
    pub protocol: Protocol,
    /// The local address.
    pub address: Option<IpAddr>,
    /// The local port.
    pub port: Option<u16>,
}

impl SocketMatch {
    /// Whether it describes a socket with this local address.
    pub fn describes(&self, protocol: Protocol, local: SocketAddr) -> bool {
        self.protocol == protocol
            && self.address.is_none_or(|address| address == local.ip())
            && self.port.is_none_or(|port| port == local.port())
    }
}

impl FromStr for SocketMatch {
    type Err = String;

    fn from_str(text: &str) -> Result<SocketMatch, String> {
        const FORM: &str = "write `tcp ADDR:PORT`, `tcp :PORT`, `tcp ADDR` or `tcp` (or udp), IPv6 in brackets";
        let mut words = text.split_whitespace();
        let protocol = words.next().ok_or(FORM)?;
        let protocol = protocol.parse().map_err(|_| format!("{protocol:?} is neither tcp nor udp; {FORM}"))?;
        let socket = words.next();
        if let Some(more) = words.next() {
            return Err(format!("{more:?} is one word too many; {FORM}"));
        }
        let Some(socket) = socket else { return Ok(SocketMatch { protocol, address: None, port: None }) };
        let bad = || format!("{socket:?} is no address and port; {FORM}");
        // `::1` is an address.
        let port = socket.strip_prefix(':').filter(|rest| !rest.starts_with(':'));
        if let Some(port) = port.or_else(|| socket.strip_prefix("*:")) {
            let port = port.parse().map_err(|_| bad())?;
            return Ok(SocketMatch { protocol, address: None, port: Some(port) });
        }
        if let Ok(socket) = socket.parse::<SocketAddr>() {
            return Ok(SocketMatch { protocol, address: Some(socket.ip()), port: Some(socket.port()) });
        }
        let bare = socket.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(socket);
        let address = bare.parse().map_err(|_| bad())?;
        Ok(SocketMatch { protocol, address: Some(address), port: None })
    }
}

impl fmt::Display for SocketMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.protocol)?;
        match (self.address, self.port) {
            (Some(address), Some(port)) => write!(f, " {}", SocketAddr::new(address, port)),
            (Some(address), None) => write!(f, " {address}"),
            (None, Some(port)) => write!(f, " :{port}"),
            (None, None) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_is_read_and_printed_alike() {
        for text in ["tcp", "udp :53", "tcp 127.0.0.1:8080", "tcp [::1]:8080", "udp 192.0.2.7"] {
            assert_eq!(text.parse::<SocketMatch>().unwrap().to_string(), text);
        }
        assert_eq!("tcp *:80".parse::<SocketMatch>(), "tcp :80".parse());
        assert_eq!("tcp [::1]".parse::<SocketMatch>(), "tcp ::1".parse());
    }

    #[test]
    fn what_is_no_socket_says_what_one_looks_like() {
        for text in ["", "sctp :80", "tcp 80000", "tcp :80 x", "tcp :99999", "8080"] {
            let error = text.parse::<SocketMatch>().unwrap_err();
            assert!(error.contains("write `tcp ADDR:PORT`"), "{text}: {error}");
        }
    }

    #[test]
    fn what_is_left_out_may_be_anything() {
        let any: SocketMatch = "tcp :80".parse().unwrap();
        assert!(any.describes(Protocol::Tcp, "192.0.2.7:80".parse().unwrap()));
        assert!(!any.describes(Protocol::Udp, "192.0.2.7:80".parse().unwrap()));
        assert!(!any.describes(Protocol::Tcp, "192.0.2.7:81".parse().unwrap()));
    }
}
