//! What policies of many sizes cost: compiling, bytes, and nanoseconds for a lookup.
//!
//! `cargo run --release -p sklookup-compiler --example compiler_scale`; the nanoseconds need root, on a quiet machine.

// The example and the tests share it, and each uses a part.
#[allow(dead_code)]
#[path = "../tests/kernel_agrees/live.rs"]
mod live;
#[path = "../tests/kernel_agrees/rights.rs"]
mod rights;

use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Instant;

use live::{Live, Service};
use sklookup_compiler::{Options, compile};
use sklookup_policy::{Packet, Policy, parse_file};

const SIZES: [u32; 6] = [1, 10, 100, 1_000, 100_000, 1_000_000];

/// What a set is made of: number of a binding -> its line and a packet that it wins.
type Shape = fn(u32) -> (String, String);

const SETS: [(&str, Shape); 3] = [("hosts, IPv4", host_v4), ("hosts, IPv6", host_v6), ("mixed, IPv4", mixed_v4)];

fn host_v4(n: u32) -> (String, String) {
    let to = Ipv4Addr::from_bits(0x0a00_0000 + n * 13);
    (format!("l{} tcp {to} 443", n % 16), format!("tcp 198.51.100.9:40000 > {to}:443"))
}

fn host_v6(n: u32) -> (String, String) {
    let to = Ipv6Addr::from_bits((0x2001_0db8_u128 << 96) + (u128::from(n) << 64) + u128::from(n) * 13);
    (format!("l{} tcp {to} 443", n % 16), format!("tcp [2001:db8::9]:40000 > [{to}]:443"))
}

/// Hosts, every third in a /24 of its own for every port.
fn mixed_v4(n: u32) -> (String, String) {
    if !n.is_multiple_of(3) {
        return host_v4(n);
    }
    let to = Ipv4Addr::from_bits(0x1400_0000 + n * 256);
    (
        format!("l{} tcp {to}/24", n % 16),
        format!("tcp 198.51.100.9:40000 > {}:9", Ipv4Addr::from_bits(to.to_bits() + 9)),
    )
}

fn main() {
    let cpus = sklookup_kernel::possible_cpus().unwrap_or(1);
    let measures = sklookup_testbed::why_no_hook().is_none();
    println!(
        "set, bindings: strategy, compile ms, program slots, table bytes, hit ns / miss ns, the same without CAP_PERFMON"
    );
    if measures {
        let live = Live::load(&Policy::default(), &Options { cpus, ..Options::default() }).unwrap();
        let packet = host_v4(0).1.parse().unwrap();
        println!("no binding at all: {} ns", (0..7).map(|_| live.run(&packet, 300_000).nanos).min().unwrap_or(0));
    }
    for (set, shape) in SETS {
        for size in SIZES {
            let policy = policy(shape, size);
            let options = Options { cpus, ..Options::default() };
            let start = Instant::now();
            let compiled = compile(&policy, &options).unwrap();
            let milliseconds = start.elapsed().as_secs_f64() * 1e3;
            let slots = compiled.program.bytes().len() / 8;
            let table = compiled.maps.iter().find(|(_, map)| map.name == "table").map_or(0, |(_, map)| map.value_size);
            print!("{set}, {size}: {}, {milliseconds:.1} ms, {slots} slots, {table} B", compiled.strategy);
            drop(compiled);
            if measures {
                for hardened in [false, true] {
                    let (hit, miss) = std::thread::scope(|scope| {
                        let measure = || {
                            if hardened {
                                rights::drop_perfmon();
                            }
                            nanoseconds(&policy, &options, shape)
                        };
                        scope.spawn(measure).join().expect("measuring does not fail")
                    });
                    print!(", {hit} / {miss} ns");
                }
            }
            println!();
        }
    }
}

fn policy(shape: Shape, size: u32) -> Policy {
    let mut text = String::from("bindings = [\n");
    for n in 0..size {
        let _ = writeln!(text, "\"{}\",", shape(n).0);
    }
    text.push(']');
    Policy::new(parse_file(&text, "scale").unwrap()).unwrap()
}

/// The least mean of some rounds, each with another key: a hit and a miss.
fn nanoseconds(policy: &Policy, options: &Options, shape: Shape) -> (u64, u64) {
    let live = Live::load(policy, options).unwrap();
    let services: Vec<Service> = (0..live.labels.len()).map(|_| Service::new()).collect();
    for (label, service) in services.iter().enumerate() {
        live.register(label, service);
    }
    let size = policy.len() as u32;
    let (mut hit, mut miss) = (u64::MAX, u64::MAX);
    for round in 0..7 {
        let packet: Packet = shape(size / 8 * round).1.parse().unwrap();
        let run = live.run(&packet, 300_000);
        assert!(run.cookie.is_some(), "{packet} hits");
        hit = hit.min(run.nanos);
        let stranger: Packet = shape(1_200_000 + round).1.parse().unwrap();
        let run = live.run(&stranger, 300_000);
        assert!(run.cookie.is_none(), "{stranger} misses");
        miss = miss.min(run.nanos);
    }
    (hit, miss)
}
