//! What replaying a large capture costs: time and memory for so many gigabytes, by policies of several sizes.
//!
//! `cargo run --release -p sklookup-replay --example replay_scale -- 1` replays 1 GB. The capture is made while it is read, so no disk
//! takes part: connections of ten packets, of 600 bytes each on average, from ever new ports and addresses.

use std::io::Read;
use std::time::Instant;

use sklookup_policy::{Origin, Policy, parse_binding};
use sklookup_replay::{Options, replay};

/// Bytes of a frame on the wire: the opening, then data.
const OPENING: usize = 74;
const DATA: usize = 660;
const PACKETS: u64 = 10;

fn main() {
    let gigabytes: f64 = std::env::args().nth(1).map_or(1.0, |text| text.parse().expect("a number of gigabytes"));
    let bytes = (gigabytes * 1e9) as u64;
    println!("bindings   packets     flows   seconds     MB/s  packets/s   peak RSS");
    for bindings in [1, 1_000, 100_000] {
        let policy = policy(bindings);
        for flood in [false, true] {
            let begun = Instant::now();
            let capture = Made { left: bytes, flood, packet: 0, buffer: header(), taken: 0 };
            let report = replay(capture, &Options::new(&policy)).expect("it is a capture");
            let seconds = begun.elapsed().as_secs_f64();
            assert!(report.damage.is_none(), "{:?}", report.damage);
            let flows: u64 = report.rows.iter().map(|row| row.traffic.flows).sum();
            println!(
                "{bindings:8} {:9} {flows:9} {seconds:9.2} {:8.0} {:10.0} {:>10}{}",
                report.packets,
                bytes as f64 / 1e6 / seconds,
                report.packets as f64 / seconds,
                peak(),
                if flood { "   openings only" } else { "" }
            );
        }
    }
}

/// One host each, of three ports.
fn policy(bindings: u32) -> Policy {
    let line = |number: u32| {
        let host = std::net::Ipv4Addr::from(0x0a00_0000 + number / 3);
        parse_binding(&format!("l{} tcp {host} {}", number % 100, 80 + number % 3), Origin::Command("scale".into()))
    };
    Policy::new((0..bindings).flat_map(|number| line(number).expect("it is a binding")).collect())
        .expect("no conflicts")
}

/// A capture that is made while it is read.
struct Made {
    left: u64,
    /// Whether there are packets that open connections, and no others.
    flood: bool,
    packet: u64,
    buffer: Vec<u8>,
    taken: usize,
}

impl Read for Made {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        if self.taken == self.buffer.len() {
            self.buffer.clear();
            self.taken = 0;
            while self.buffer.len() < 1 << 18 && self.left > 0 {
                let before = self.buffer.len();
                record(&mut self.buffer, self.packet, self.flood);
                self.left = self.left.saturating_sub((self.buffer.len() - before) as u64);
                self.packet += 1;
            }
        }
        let some = out.len().min(self.buffer.len() - self.taken);
        out[..some].copy_from_slice(&self.buffer[self.taken..self.taken + some]);
        self.taken += some;
        Ok(some)
    }
}

fn header() -> Vec<u8> {
    [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 262_144, 1].iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// The record of one packet, in Ethernet.
fn record(out: &mut Vec<u8>, packet: u64, flood: bool) {
    let (flow, within) = if flood { (packet, 0) } else { (packet / PACKETS, packet % PACKETS) };
    let length = if within == 0 { OPENING } else { DATA };
    for word in [0, 0, length as u32, length as u32] {
        out.extend(word.to_le_bytes());
    }
    let start = out.len();
    out.extend([&[2; 6][..], &[4; 6], &[8, 0], &[0x45, 0]].concat());
    out.extend((length as u16 - 14).to_be_bytes());
    out.extend([0, 0, 0, 0, 64, 6, 0, 0]);
    // Sources and destinations that do not repeat soon, and destinations that the policy mostly has.
    out.extend((0xc633_0000 + (flow as u32).wrapping_mul(2_654_435_761) % 0x0fff_ffff).to_be_bytes());
    out.extend((0x0a00_0000 + (flow as u32).wrapping_mul(40_503) % 34_000).to_be_bytes());
    out.extend((1024 + flow as u16 % 60_000).to_be_bytes());
    out.extend((80 + flow as u16 % 3).to_be_bytes());
    out.extend(1_u32.to_be_bytes());
    out.extend([0, 0, 0, 0, 0x50, if within == 0 { 0x02 } else { 0x10 }]);
    out.resize(start + length, 0);
}

/// The most memory that was held so far.
fn peak() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("unknown");
    line.trim().to_owned()
}
