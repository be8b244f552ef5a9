//! What `replay` takes.

use std::path::PathBuf;

use clap::Args;
use ipnet::IpNet;
use sklookup_policy::{Interface, parse_prefix};

/// Say what a policy would do to recorded traffic.
#[derive(Debug, Args)]
#[command(after_help = "\
It reads pcap and pcapng, of Ethernet (VLAN tags too), Linux cooked v1 and v2, raw IP and BSD loopback, and says how many \
flows, packets and bytes each binding, label and outcome would have. With --against it says what differs between two \
policies, and nothing else. It needs no rights unless the applied policy is asked for.

Only what would reach the hook counts: connections by the packet that opens them, with all that comes in behind it, and UDP \
datagrams towards the host. Which way packets went is told by --local; without it by the capture, where it says so (Linux \
cooked, pcapng), and for TCP by the packet that opens the connection: it goes towards the host. What can't be known is counted \
apart, with the reason. From a capture nobody can know whether a UDP socket is connected: what its peer sends it would not \
reach the hook, and is counted all the same.

Damage ends nothing that can go on: what could be read is shown, and from which byte on the rest could not. Ctrl-C ends the \
reading, not the answer. What is not shown by default --json has; docs/replay.md has the details.

Examples:
  sklookup replay capture.pcap --policy policy.toml --local 192.0.2.0/24
  sudo sklookup replay capture.pcap --policy new.toml --against live
  sudo tcpdump -i any -U -w - 'tcp or udp' | sklookup replay - --policy policy.toml

Exit status: 0 all of it was read (with --against: and nothing changes), 1 something changes, 2 it could not be read, or not \
all of it, or (with --against) what changes depends on an interface that the capture does not tell.")]
pub struct Replay {
    /// The capture, pcap or pcapng; `-` for standard input
    #[arg(value_name = "CAPTURE")]
    pub capture: PathBuf,
    /// The policy file that decides; left out: the applied policy
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// Say only what changes from this policy to the other; `live` for the applied policy
    #[arg(long, value_name = "FILE|live")]
    pub against: Option<PathBuf>,
    /// Addresses of the host: what goes to them is towards it; may be repeated
    #[arg(long, value_name = "PREFIX", value_parser = prefix, value_delimiter = ',')]
    pub local: Vec<IpNet>,
    /// Where packets came in of which the capture does not tell it; with `X=`, those whose interface it calls X; may be repeated
    #[arg(long, value_name = "[X=]IF", value_parser = device)]
    pub dev: Vec<Device>,
}

/// An interface, and what the capture calls it, if it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// A name, or an index; `None`: what the capture does not tell.
    pub called: Option<String>,
    /// What it is.
    pub interface: Interface,
}

fn prefix(text: &str) -> Result<IpNet, String> {
    parse_prefix(text).map_err(|problem| problem.to_string())
}

fn device(text: &str) -> Result<Device, String> {
    let (called, name) = match text.split_once('=') {
        Some((called, name)) => (Some(called.to_owned()), name),
        None => (None, text),
    };
    let interface = name.parse().map_err(|problem: sklookup_policy::Problem| problem.to_string())?;
    Ok(Device { called, interface })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_may_say_what_the_capture_calls_it() {
        let interface: Interface = "eth0".parse().unwrap();
        assert_eq!(device("eth0"), Ok(Device { called: None, interface: interface.clone() }));
        assert_eq!(device("2=eth0"), Ok(Device { called: Some("2".to_owned()), interface }));
        assert!(device("2=").is_err() && device("").is_err() && device("a/b").is_err());
    }
}
