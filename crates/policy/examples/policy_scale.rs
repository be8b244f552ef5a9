//! How long a large policy takes, and how much memory: `cargo run --release -p sklookup-policy --example policy_scale`.
//!
//! Each shape is made as text, read, checked, looked through for shadowed bindings, written and compared with itself.
//! With an argument, only the shapes whose names contain it run. Peak memory is of the process (Linux only), so it
//! is that of the largest shape so far.

use std::time::Instant;

use sklookup_policy::{MAX_BINDINGS, Policy, difference, parse_file, shadowed};

type Shape = (&'static str, fn() -> String);

const SHAPES: [Shape; 11] = [
    ("hosts", || file(&[lines(MAX_BINDINGS, |i| format!("label{} tcp {} 80", i % 1000, host(i)))])),
    ("ipv6-prefixes", || {
        file(&[lines(MAX_BINDINGS, |i| format!("web tcp 2001:db8:{:x}:{:x}::/64 80", i >> 16, i & 0xffff))])
    }),
    ("hosts-and-24s", || {
        let hosts = lines(996_000, |i| format!("host tcp {} 80", host(i)));
        file(&[hosts, lines(3890, |i| format!("net tcp {}/24 80", host(i << 8)))])
    }),
    ("ports-by-sources", || {
        let source = |i| format!("10.{}.{}.0/24", i / 250, i % 250);
        file(&[lines(MAX_BINDINGS, |i| format!("web tcp 192.0.2.7 {} from {}", 1 + i / 1000, source(i % 1000)))])
    }),
    ("nested-ranges", || file(&[lines(32_000, |i| format!("web tcp 192.0.2.7 {}-{}", 1 + i, 65535 - i))])),
    ("overlapping-ranges", || {
        let start = |i| 1 + i * 7919 % 60_000;
        file(&[lines(100_000, |i| format!("web tcp 192.0.2.7 {}-{}", start(i), start(i) + 2 + i * 31 % 5000))])
    }),
    ("ranges-with-sources", || file(&[nested_with_sources("192.0.2.7")])),
    ("ranges-with-sources-below", || {
        let above = lines(1, |_| "web tcp 192.0.2.6/31".into());
        file(&[nested_with_sources("192.0.2.6"), nested_with_sources("192.0.2.7"), above])
    }),
    ("all-shadowed", || {
        let hosts = lines(1 << 16, |i| format!("host tcp {}", host(i)));
        file(&[hosts, lines(900_000, |i| format!("net tcp 10.0.0.0/16 {} from 172.16.{}.0/24", 1 + i / 250, i % 250))])
    }),
    ("interfaces", || {
        let above = lines(1, |_| "web tcp 10.0.0.0/8 80".into());
        file(&[lines(500_000, |i| format!("web tcp {} 80 dev veth{}", host(i), i % 1000)), above])
    }),
    ("tables", || {
        let keys =
            "label = \"web\"\nprotocol = \"tcp\"\nports = [80, 443, \"8000-8999\"]\nsource = \"198.51.100.0/24\"";
        (0..200_000).map(|i| format!("[[binding]]\n{keys}\ndestination = [\"{}\"]\n\n", host(i))).collect()
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

/// A policy file of one-line bindings.
fn file(parts: &[String]) -> String {
    format!("bindings = [\n{}]\n", parts.concat())
}

fn lines(count: usize, line: impl Fn(usize) -> String) -> String {
    (0..count).fold(String::new(), |mut text, i| {
        text.extend(["  \"", &line(i), "\",\n"]);
        text
    })
}

fn nested_with_sources(destination: &str) -> String {
    lines(32_000, |i| format!("web tcp {destination} {}-{} from {}", 1 + i, 65535 - i, host(i)))
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
