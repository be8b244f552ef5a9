//! A case is a row: what is applied, who listens, which packet reaches whom.

use std::time::{Duration, Instant};

use sklookup_kernel::interface::{self, LOOPBACK};
use sklookup_kernel::{Sandbox, route};
use sklookup_testbed::{Trial, kernel_trial};

use crate::command::document;
use crate::services::{Server, reached};

/// A policy and what becomes of packets under it.
///
/// The machine has the addresses 127.0.0.0/8, 2001:db8::/32 (`lo`), 192.0.2.1/24 and 2001:db9::1/64 (`v0`, a veth).
pub struct Case {
    /// The fact it shows.
    pub name: &'static str,
    /// One-line bindings.
    pub policy: &'static [&'static str],
    /// Sockets that are registered: label and socket. The port is its own choice, so that only steering leads to it.
    pub servers: &'static [(&'static str, &'static str)],
    /// Sockets that the regular lookup finds: name and socket.
    pub regular: &'static [(&'static str, &'static str)],
    /// Packets, and the name of who gets them or [`REFUSED`](crate::services::REFUSED).
    pub packets: &'static [(&'static str, &'static str)],
}

/// The case as a test.
pub fn trial(case: &'static Case) -> Trial {
    kernel_trial(case.name, |sandbox| run(case, sandbox))
}

fn run(case: &Case, sandbox: &Sandbox) {
    furnish();
    let file = sandbox.scratch.join("policy.toml");
    let lines: Vec<String> = case.policy.iter().map(|line| format!("  {line:?},\n")).collect();
    std::fs::write(&file, format!("bindings = [\n{}]\n", lines.concat())).unwrap();
    // Nobody here asks questions whose answers could be taken.
    let catches = "--allow=ephemeral";
    let (exit, applied) = document(&["apply", file.to_str().unwrap(), catches]);
    assert_eq!(exit, 0, "{applied}");

    let steered = case.servers.iter().map(|(label, socket)| Server::registered(label, socket));
    let regular = case.regular.iter().map(|(name, socket)| Server::open(name, socket));
    let servers: Vec<Server> = steered.chain(regular).collect();
    let servers: Vec<&Server> = servers.iter().collect();
    let wrong: Vec<String> = case
        .packets
        .iter()
        .map(|(packet, expected)| (packet, expected, reached(&servers, packet)))
        .filter(|(_, expected, reached)| reached != *expected)
        .map(|(packet, expected, reached)| format!("{packet}: {reached}, not {expected}"))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Gives the sandbox the addresses of the cases.
fn furnish() {
    route::add_local_route("2001:db8::/32".parse().unwrap()).unwrap();
    let (v0, v1) = interface::add_veth("v0", "v1").unwrap();
    interface::set_up(v0).unwrap();
    interface::set_up(v1).unwrap();
    interface::add_address(v0, "192.0.2.1/24".parse().unwrap()).unwrap();
    interface::add_address(v0, "2001:db9::1/64".parse().unwrap()).unwrap();
    for source in ["2001:db8:a::1/128", "2001:db8:b::1/128"] {
        interface::add_address(LOOPBACK, source.parse().unwrap()).unwrap();
    }
    let deadline = Instant::now() + Duration::from_secs(10);
    // IPv6 addresses come by and by: they can be bound to, and a moment later their packets are local.
    let own = "2001:db9::1/128".parse().unwrap();
    while std::net::UdpSocket::bind("[2001:db9::1]:0").is_err() || !route::local_prefixes().unwrap().contains(&own) {
        assert!(Instant::now() < deadline, "the address of v0 never came");
    }
}
