//! Policies that make the largest programs and tables.

use std::fmt::Write;

use sklookup_compiler::Strategy;
use sklookup_policy::{Policy, parse_file};

use crate::agree::{self, check, options};
use crate::live::{Live, Service};
use crate::random::Random;

fn policy(lines: impl Iterator<Item = String>) -> Policy {
    let mut text = String::from("bindings = [\n");
    for line in lines {
        let _ = writeln!(text, "\"{line}\",");
    }
    text.push(']');
    Policy::new(parse_file(&text, "policy.toml").unwrap()).unwrap()
}

fn compare(policy: &Policy, live: &Live, packets: impl Iterator<Item = String>) {
    let mut counts = live.counts();
    for packet in packets {
        check(policy, live, &packet.parse().unwrap(), &mut counts, 0);
    }
    assert_eq!(live.counts(), counts);
}

/// All 33 and 129 prefix lengths, each with single ports, ranges, sources and interfaces, for both protocols: the
/// longest program there is but for longer lists.
pub fn every_length(strategy: Strategy) {
    let mut lines = Vec::new();
    for (bits, address, inside) in [(32, "0.0.0.0", "10.0.0.0/8"), (128, "::", "2001:db8::/32")] {
        for length in 0..=bits {
            for protocol in ["tcp", "udp"] {
                let to = format!("{protocol} {address}/{length}");
                lines.push(format!("l0 {to} 80 from {inside}"));
                lines.push(format!("l1 {to} 80 dev eth0"));
                lines.push(format!("l2 {to} 1000-2000 from {inside} dev eth1"));
                lines.push(format!("pass {to} 1500-2500 from {inside}"));
                lines.push(format!("l4 {to} 3000-4000"));
                lines.push(format!("refuse {to} dev eth0"));
            }
        }
    }
    let policy = policy(lines.into_iter());
    let services = [Service::new()];
    let live = agree::load(&policy, options(strategy, &policy), &services).unwrap();
    let v4 = (0..=32u32).flat_map(|bit| {
        let to = std::net::Ipv4Addr::from_bits(1u32.checked_shl(bit).unwrap_or(0));
        [80, 1000, 1500, 3500, 9]
            .into_iter()
            .flat_map(move |port| [1, 10].map(|from| format!("tcp {from}.0.0.1:1 > {to}:{port}")))
    });
    let v6 = (0..=128u32).flat_map(|bit| {
        let to = std::net::Ipv6Addr::from_bits(1u128.checked_shl(bit).unwrap_or(0));
        [80, 1000, 1500, 3500, 9]
            .into_iter()
            .flat_map(move |port| ["2001:db7::1", "2001:db8::1"].map(|from| format!("udp [{from}]:1 > [{to}]:{port}")))
    });
    compare(&policy, &live, v4.chain(v6));
}

/// Thousands of ranges on a prefix, thousands of sources on a port, hundreds of interfaces.
pub fn long_lists(strategy: Strategy) {
    let mut lines = Vec::new();
    for (any, from, prefix) in [("0.0.0.0/0", "10.", "/24"), ("::/0", "2001:db8:", "::/64")] {
        let separator = if any.contains(':') { ":" } else { "." };
        lines.extend((1..=2000).map(|n| format!("l{} tcp {any} {}-{}", n % 7, n * 30, n * 30 + 8)));
        for n in 0..2000 {
            let (a, b) = (n / 250, n % 250);
            let end = if any.contains(':') { "" } else { ".0" };
            lines.push(format!("l{} tcp {any} 7 from {from}{a}{separator}{b}{end}{prefix}", n % 5));
        }
        lines.extend((0..300).map(|n| format!("l{} tcp {any} 11 dev if{n}", n % 3)));
    }
    let policy = policy(lines.into_iter());
    let services = [Service::new(), Service::new(), Service::new()];
    let live = agree::load(&policy, options(strategy, &policy), &services).unwrap();
    let mut random = Random::new(7);
    let packets = (0..2000).map(|n| {
        let port = if n % 2 == 0 { 7 } else { random.below(65536) };
        let (a, b, c) = (random.below(9), random.below(251), random.below(3));
        match n % 4 {
            0 | 1 => format!("tcp 10.{a}.{b}.{}:9 > 192.0.2.1:{port}", [0, 7, 255][c]),
            _ => format!("tcp [2001:db8:{a}:{b}::{c}]:9 > [2001:db8::1]:{port}"),
        }
    });
    compare(&policy, &live, packets);
}

/// More labels than a program could name maps.
pub fn many(strategy: Strategy) {
    let line = |n: u32| match n % 4 {
        0 => format!("l{n} tcp 10.{}.{}.7 443", n >> 8 & 255, n & 255),
        1 => format!("l{n} udp 10.{}.{}.0/24", n >> 8 & 255, n & 255),
        2 => format!("l{n} tcp 2001:db8:{:x}::/64 80", n),
        _ => format!("l{n} tcp 2001:db8:{:x}::1 8000-8999 from 2001:db8::/32", n),
    };
    let policy = policy((0..10_000).map(line));
    assert_eq!(policy.labels().len(), 10_000);
    let live = Live::load(&policy, &options(strategy, &policy)).unwrap();
    let services: Vec<Service> = (0..4).map(|_| Service::new()).collect();
    for label in 0..100 {
        live.register(label, &services[label % 4]);
    }
    let mut random = Random::new(3);
    let packets = (0..300).map(|_| {
        let n = random.below(10_100) as u32;
        match n % 4 {
            0 => format!("tcp 192.0.2.1:1 > 10.{}.{}.7:443", n >> 8 & 255, n & 255),
            1 => format!("udp 192.0.2.1:1 > 10.{}.{}.200:9", n >> 8 & 255, n & 255),
            2 => format!("tcp [2001:db8::9]:1 > [2001:db8:{n:x}::77]:80"),
            _ => format!("tcp [2001:db8::9]:1 > [2001:db8:{n:x}::1]:8999"),
        }
    });
    compare(&policy, &live, packets);
}
