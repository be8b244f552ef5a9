//! How long a large policy takes, and how much memory: `cargo run --release -p sklookup-policy --example scale`.
//!
//! Each shape is made as text, read, checked, looked through for shadowed bindings, written and compared with itself.
//! With an argument, only the shapes whose names contain it run. Peak memory is of the process (Linux only), so it
//! is that of the largest shape so far.

use std::fmt::Write;
use std::time::Instant;

use sklookup_policy::{MAX_BINDINGS, Policy, difference, parse_file, shadowed};

type Shape = (&'static str, fn() -> String);

const SHAPES: [Shape; 10] = [
    ("hosts", || lines(MAX_BINDINGS, |i| format!("label{} tcp {} 80", i % 1000, host(i)))),
    ("hosts-v6", || {
        lines(MAX_BINDINGS, |i| format!("web tcp 2001:db8:{:x}:{:x}::/64 80,443", i >> 16, i & 0xffff))
            .replace(",443", "")
    }),
    ("hosts-and-24s", || {
        lines(996_000, |i| format!("host tcp {} 80", host(i))).replace(
            "\n]",
            &(0..3890).fold(String::new(), |s, i| s + &format!("\n  \"net tcp {}/24 80\",", host(i << 8))),
        ) + "\n]\n"
    }),
    ("ports-by-sources", || {
        lines(MAX_BINDINGS, |i| {
            format!("web tcp 192.0.2.7 {} from 10.{}.{}.0/24", 1 + i / 1000, i % 1000 / 250, i % 250)
        })
    }),
    ("nested-ranges", || lines(32_000, |i| format!("web tcp 192.0.2.7 {}-{}", 1 + i, 65535 - i))),
    ("overlapping-ranges", || {
        lines(100_000, |i| {
            format!("web tcp 192.0.2.7 {}-{}", 1 + i * 7919 % 60_000, 1 + i * 7919 % 60_000 + 2 + i * 31 % 5000)
        })
    }),
    ("ranges-with-sources", || {
        lines(32_000, |i| format!("web tcp 192.0.2.7 {}-{} from {}", 1 + i, 65535 - i, host(i)))
    }),
    ("ranges-with-sources-below", || {
        let ranges =
            |last: u8| lines(32_000, |i| format!("web tcp 192.0.2.{last} {}-{} from {}", 1 + i, 65535 - i, host(i)));
        let above = "  \"web tcp 192.0.2.6/31\",\n]\n";
        ranges(6).replace("\n]\n", "\n") + ranges(7).trim_start_matches("bindings = [").trim_end_matches("]\n") + above
    }),
    ("interfaces", || {
        lines(500_000, |i| format!("web tcp 10.{}.{}.{} 80 dev veth{}", i >> 16, i >> 8 & 255, i & 255, i % 1000))
            .replace("\n]", "\n  \"web tcp 10.0.0.0/8 80\",\n  \"web tcp 10.0.0.0/8 443 dev veth1\",\n]")
    }),
    ("tables", || {
        (0..200_000).fold(String::new(), |mut text, i| {
            let _ = writeln!(text, "[[binding]]\nlabel = \"web\"\nprotocol = \"tcp\"\ndestination = [\"{}\"]\nports = [80, 443, \"8000-8999\"]\nsource = [\"198.51.100.0/24\"]\n", host(i));
            text
        })
    }),
];

fn main() {
    let only = std::env::args().nth(1).unwrap_or_default();
    println!(
        "{:26} {:>9} {:>8} {:>8} {:>8} {:>8} {:>8} {:>9} {:>8}",
        "", "bindings", "parse", "check", "shadow", "write", "diff", "shadowed", "peak"
    );
    for (name, text) in SHAPES.iter().filter(|(name, _)| name.contains(&only)) {
        let text = text();
        let (entries, parse) =
            timed(|| parse_file(&text, "scale.toml").unwrap_or_else(|problems| panic!("{}", problems[0])));
        let (policy, check) = timed(|| Policy::new(entries).unwrap_or_else(|problems| panic!("{}", problems[0])));
        let (shadows, shadow) = timed(|| shadowed(&policy));
        let (_, write) = timed(|| policy.canonical());
        let (_, diff) = timed(|| difference(&policy, &policy));
        println!(
            "{name:26} {:>9} {parse:>7.2}s {check:>7.2}s {shadow:>7.2}s {write:>7.2}s {diff:>7.2}s {:>9} {:>8}",
            policy.len(),
            shadows.len(),
            peak()
        );
    }
}

fn lines(count: usize, line: impl Fn(usize) -> String) -> String {
    let mut text = String::from("bindings = [");
    for i in 0..count {
        let _ = write!(text, "\n  \"{}\",", line(i));
    }
    text + "\n]\n"
}

fn host(i: usize) -> std::net::Ipv4Addr {
    std::net::Ipv4Addr::from_bits(0x0a00_0000 + i as u32)
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let start = Instant::now();
    let done = work();
    (done, start.elapsed().as_secs_f64())
}

fn peak() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib: Option<u64> = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    kib.map_or("unknown".into(), |kib| format!("{} MiB", kib >> 10))
}
