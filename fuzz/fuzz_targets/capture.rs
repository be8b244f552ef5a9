//! Captures: whatever the bytes are, every packet is counted once, what is decided is what the definition decides, and in
//! what pieces the bytes come makes no difference.

#![no_main]

use std::io::Read;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use sklookup_policy::{Interface, Origin, Packet, Policy, decide, parse_binding};
use sklookup_replay::{Decided, Devices, Options, Report, replay};

/// All that a packet can be asked: prefixes in prefixes, ports, sources, an interface.
const BINDINGS: [&str; 9] = [
    "web tcp 192.0.2.0/24 80,8080",
    "all tcp,udp 0.0.0.0/0",
    "near tcp 192.0.2.7 1-1024 from 198.51.100.0/24",
    "refuse tcp 192.0.2.7 25",
    "lan udp 192.0.2.0/24 53 dev eth0",
    "loop udp 127.0.0.0/8 dev lo",
    "dns udp 2001:db8::/32 53",
    "pass udp ::/0 5000-5999",
    "six tcp ::/0 from 2001:db8::/32 dev tun0 when-empty pass",
];

static POLICY: LazyLock<Policy> = LazyLock::new(|| policy(&BINDINGS));
static OTHER: LazyLock<Policy> = LazyLock::new(|| policy(&BINDINGS[..3]));

// The first byte is what is said beside the capture.
fuzz_target!(|input: &[u8]| {
    let Some((&asked, capture)) = input.split_first() else { return };
    let interface = |name: &str| name.parse::<Interface>().expect("a name");
    let options = Options {
        policy: &POLICY,
        against: (asked & 1 != 0).then_some(&OTHER),
        local: if asked & 2 != 0 { vec!["192.0.2.0/24".parse().expect("a prefix")] } else { Vec::new() },
        devices: Devices {
            untold: (asked & 4 != 0).then(|| interface("eth0")),
            called: [("2".to_owned(), interface("tun0"))].into(),
        },
        // So few that they are forgotten.
        flows: if asked & 8 != 0 { 4 } else { 1000 },
    };
    let Ok(report) = replay(capture, &options) else {
        assert!(replay(InPieces(capture, 7), &options).is_err());
        return;
    };
    check(&report, capture.len() as u64);
    assert_eq!(replay(InPieces(capture, 7), &options).expect("it was read before"), report);
});

fn check(report: &Report, length: u64) {
    let in_rows: u64 = report.rows.iter().map(|row| row.traffic.packets).sum();
    assert_eq!(in_rows + report.aside.values().sum::<u64>(), report.packets, "{report:?}");
    assert_eq!(report.links.values().sum::<u64>(), report.packets, "{report:?}");
    // The least that any record takes.
    assert!(report.packets <= length / 16, "{report:?}");
    assert!(report.udp.packets <= in_rows && report.answers.packets <= report.udp.packets, "{report:?}");
    assert!(report.damage.first.as_ref().is_none_or(|(offset, _)| *offset < length), "{report:?}");
    assert!(report.damage.stopped.is_none_or(|offset| offset < length), "{report:?}");
    for row in &report.rows {
        assert!(row.traffic.flows > 0 && row.traffic.packets >= row.traffic.flows, "{report:?}");
        assert_eq!(row.by, decided(&POLICY, &row.example), "{}", row.example);
        if let Some(against) = row.against {
            assert_eq!(against, decided(&OTHER, &row.example), "{}", row.example);
        }
    }
}

/// By the definition.
fn decided(policy: &Policy, packet: &Packet) -> Decided {
    let here = decide(policy, packet).winner;
    let elsewhere = |interface: &Interface| {
        let there = Packet { interface: Some(interface.clone()), ..packet.clone() };
        decide(policy, &there).winner != here
    };
    if packet.interface.is_none() && policy.interfaces().iter().any(elsewhere) {
        return Decided::Interface;
    }
    here.map_or(Decided::NoBinding, Decided::Binding)
}

fn policy(lines: &[&str]) -> Policy {
    let read = |line: &&str| parse_binding(line, Origin::Command("fuzzed".into())).expect("it is a binding");
    Policy::new(lines.iter().flat_map(read).collect()).expect("no conflicts")
}

/// Bytes that come in pieces of so many at most.
struct InPieces<'a>(&'a [u8], usize);

impl Read for InPieces<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let some = self.1.min(out.len());
        (&mut self.0).take(some as u64).read(&mut out[..some])
    }
}
