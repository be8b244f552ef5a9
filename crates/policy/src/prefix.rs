//! Address prefixes as people write them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net};

use crate::problem::{Problem, quote};

/// Reads an address (a host) or a prefix without host bits; v4-mapped ones are refused, for IPv4 packets match IPv4
/// prefixes only.
pub fn parse_prefix(text: &str) -> Result<IpNet, Problem> {
    let Some((address, length)) = text.split_once('/') else {
        let net = IpNet::from(parse_address(text, text)?);
        return check(net).map(|()| net);
    };
    let address = parse_address(address, text)?;
    let longest = IpNet::from(address).max_prefix_len();
    if length.is_empty() || !length.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Problem::new(format!("{} has no prefix length after the slash", quote(text)))
            .help(format!("write a number from 0 to {longest}, as in {address}/{longest}")));
    }
    if length.len() > 1 && length.starts_with('0') {
        let bare = length.trim_start_matches('0');
        return Err(Problem::new(format!("the length of {} starts with a 0", quote(text)))
            .help(format!("write {address}/{}", if bare.is_empty() { "0" } else { bare })));
    }
    let net = length.parse().ok().and_then(|length| IpNet::new(address, length).ok()).ok_or_else(|| {
        Problem::new(format!("prefix {} is longer than its address", quote(text)))
            .help(format!("prefix lengths of {} addresses are 0 to {longest}", family(address)))
    })?;
    check(net).map(|()| net)
}

/// Refuses prefixes with host bits and those that hold nothing but v4-mapped addresses.
pub(crate) fn check(net: IpNet) -> Result<(), Problem> {
    let mapped = match net.addr() {
        IpAddr::V6(address) => address.to_ipv4_mapped(),
        IpAddr::V4(_) => None,
    };
    if let Some(v4) = mapped
        && net.prefix_len() >= 96
    {
        // Shorter than /96 it holds other addresses too, and matches IPv6 packets to those.
        let form = Ipv4Net::new(v4, net.prefix_len() - 96).map_or(Ipv4Net::from(v4), |net| net.trunc());
        return Err(Problem::new(format!("{} is v4-mapped, and IPv4 packets match IPv4 prefixes only", Shown(net)))
            .help(format!("write {}", Shown(form.into()))));
    }
    if net.trunc() != net {
        let host = mapped.map_or(net.addr(), IpAddr::from);
        return Err(Problem::new(format!("{net} has host bits set"))
            .help(format!("write {} for the prefix, or {host} for the one address", net.trunc())));
    }
    Ok(())
}

/// An address of `net` for an example: not the network address where there is a choice.
pub(crate) fn example(net: IpNet) -> IpAddr {
    match net {
        IpNet::V4(net) if net.prefix_len() == 0 => Ipv4Addr::new(192, 0, 2, 7).into(),
        IpNet::V6(net) if net.prefix_len() == 0 => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7).into(),
        IpNet::V4(net) if net.prefix_len() < 31 => Ipv4Addr::from_bits(net.network().to_bits() | 1).into(),
        IpNet::V6(net) if net.prefix_len() < 127 => Ipv6Addr::from_bits(net.network().to_bits() | 1).into(),
        net => net.addr(),
    }
}

/// Someone who could send to `net`, for an example.
pub(crate) fn example_peer(net: IpNet) -> IpAddr {
    match net {
        IpNet::V4(_) => Ipv4Addr::new(198, 51, 100, 9).into(),
        IpNet::V6(_) => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 9).into(),
    }
}

/// Shows a prefix as the canonical text has it: a host without its length.
#[derive(Clone, Copy, Debug)]
pub struct Shown(pub IpNet);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.prefix_len() == self.0.max_prefix_len() { self.0.addr().fmt(f) } else { self.0.fmt(f) }
    }
}

fn parse_address(address: &str, written: &str) -> Result<IpAddr, Problem> {
    address.parse().map_err(|_| {
        let problem = Problem::new(format!("{} is not an address or a prefix", quote(written)));
        match address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(bare) if bare.parse::<IpAddr>().is_ok() => problem.help(format!("write {bare} without brackets")),
            _ => problem.help("write an address (192.0.2.7, 2001:db8::7) or a prefix (192.0.2.0/24, 2001:db8::/48)"),
        }
    })
}

fn family(address: IpAddr) -> &'static str {
    match address {
        IpAddr::V4(_) => "IPv4",
        IpAddr::V6(_) => "IPv6",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        parse_prefix(text).unwrap_err().to_string()
    }

    #[test]
    fn an_address_is_a_host_and_is_shown_as_one() {
        for (text, shown) in [
            ("192.0.2.7", "192.0.2.7"),
            ("192.0.2.7/32", "192.0.2.7"),
            ("192.0.2.0/24", "192.0.2.0/24"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("2001:DB8:0::7/128", "2001:db8::7"),
            ("::/0", "::/0"),
        ] {
            assert_eq!(Shown(parse_prefix(text).unwrap()).to_string(), shown);
        }
    }

    #[test]
    fn host_bits_are_refused_with_both_fixes() {
        assert_eq!(
            error("192.0.2.7/24"),
            "192.0.2.7/24 has host bits set\n    write 192.0.2.0/24 for the prefix, or 192.0.2.7 for the one address"
        );
        assert!(
            error("2001:db8::1/64").ends_with("write 2001:db8::/64 for the prefix, or 2001:db8::1 for the one address")
        );
    }

    #[test]
    fn v4_mapped_prefixes_are_refused_with_the_ipv4_form() {
        for (text, form) in [
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
            ("::ffff:0:0/96", "0.0.0.0/0"),
            ("::ffff:192.0.2.7/120", "192.0.2.0/24"),
        ] {
            assert!(error(text).ends_with(&format!("only\n    write {form}")), "{}", error(text));
        }
        // Host bits set and mapped: the prefix may stay IPv6, the host can't.
        assert!(error("::ffff:192.0.2.7/64").ends_with("write ::/64 for the prefix, or 192.0.2.7 for the one address"));
    }

    #[test]
    fn prefixes_that_merely_contain_the_mapped_range_are_fine() {
        for text in ["::/0", "::/64", "::/80", "::fffe:0:0/95"] {
            assert!(parse_prefix(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn what_is_no_prefix_says_what_one_looks_like() {
        for text in ["", "example.com", "192.0.2", "192.0.2.0.0/24", "[2001:db8::1]/64x", "fe80::1%eth0", "1.2.3.04"] {
            assert!(error(text).contains("is not an address or a prefix"), "{}", error(text));
        }
        assert!(error("[2001:db8::1]").ends_with("write 2001:db8::1 without brackets"));
        assert!(error("192.0.2.0/33").contains("lengths of IPv4 addresses are 0 to 32"));
        assert!(error("2001:db8::/999").contains("lengths of IPv6 addresses are 0 to 128"));
        assert_eq!(error("192.0.2.7/032"), "the length of \"192.0.2.7/032\" starts with a 0\n    write 192.0.2.7/32");
        assert!(error("::/00").ends_with("write ::/0"));
        for text in ["192.0.2.0/", "192.0.2.0/+24", "192.0.2.0/255.255.255.0", "192.0.2.0/24/7"] {
            assert!(error(text).contains("has no prefix length"), "{}", error(text));
        }
    }

    #[test]
    fn examples_lie_inside() {
        for text in [
            "0.0.0.0/0",
            "::/0",
            "192.0.2.0/24",
            "192.0.2.7",
            "192.0.2.6/31",
            "2001:db8::/48",
            "::/127",
            "::fffe:0:0/95",
        ] {
            let net = parse_prefix(text).unwrap();
            assert!(net.contains(&example(net)), "{text}");
        }
    }
}
