//! Programs as people read them: a change of the compiler shows here as a change of code.
//!
//! After an intended change write the files anew and review the difference:
//! `cargo test -p sklookup-compiler --test listings -- --ignored`

use std::fs;
use std::path::PathBuf;

use sklookup_compiler::{Options, Strategy, Watching, compile, compile_observer};
use sklookup_policy::{Origin, Policy, parse_binding};

/// File name, strategy, bindings.
const PROGRAMS: [(&str, Strategy, &[&str]); 7] = [
    ("empty", Strategy::Branches, &[]),
    ("one-binding", Strategy::Branches, &["web tcp 192.0.2.0/24 80"]),
    (
        "branches",
        Strategy::Branches,
        &[
            "web tcp 192.0.2.0/24 80,443",
            "admin tcp 192.0.2.7 443 from 198.51.100.0/24",
            "pass tcp 192.0.2.1 22 dev eth0",
            "refuse udp 192.0.2.0/24",
        ],
    ),
    ("branches-ipv6", Strategy::Branches, &["web tcp 2001:db8::/48 80", "host tcp 2001:db8::7 80 when-empty pass"]),
    ("hash-single-ports", Strategy::Hash, &["web tcp 192.0.2.0/24 80,443", "host tcp 192.0.2.7 80"]),
    (
        "hash-lists",
        Strategy::Hash,
        &["web tcp 192.0.2.0/24 8000-8999", "admin tcp 192.0.2.0/24 8080-8090 from 198.51.100.0/24 dev eth0"],
    ),
    ("hash-ipv6", Strategy::Hash, &["dns udp 2001:db8::/48 53", "rest udp ::/0", "host udp 2001:db8::7 53"]),
];

/// The program that watches the one of the same name.
const WATCHING: &str = "watch-hash-lists";

fn listing(strategy: Strategy, bindings: &[&str]) -> String {
    let (policy, options) = policy(strategy, bindings);
    compile(&policy, &options).unwrap().program.listing().to_string()
}

fn watching() -> String {
    let (_, strategy, bindings) = PROGRAMS.into_iter().find(|(name, ..)| WATCHING.ends_with(name)).unwrap();
    let (policy, options) = policy(strategy, bindings);
    let watching = Watching { token: 1, every: 10, rate: 100, compares: true };
    compile_observer(&policy, &options, &watching).unwrap().program.listing().to_string()
}

fn policy(strategy: Strategy, bindings: &[&str]) -> (Policy, Options) {
    let origin = || Origin::Command("test".into());
    let entries = bindings.iter().flat_map(|line| parse_binding(line, origin()).unwrap()).collect();
    let policy = Policy::new(entries).unwrap();
    let interfaces = policy.interfaces().iter().zip(2..).map(|(name, index)| (name.clone(), index)).collect();
    let options = Options { interfaces, cpus: 2, strategy: Some(strategy) };
    (policy, options)
}

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots").join(format!("{name}.txt"))
}

#[test]
fn listings_are_as_in_the_snapshots() {
    let programs = PROGRAMS.map(|(name, strategy, bindings)| (name, listing(strategy, bindings)));
    for (name, got) in programs.into_iter().chain([(WATCHING, watching())]) {
        let path = path(name);
        let expected = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let differing = expected.lines().zip(got.lines()).position(|(expected, got)| expected != got);
        let line = differing.map_or(0, |line| line + 1);
        assert!(expected == got, "{} differs from line {line} on; it is now\n{got}", path.display());
    }
}

/// What watches is another program: the one that steers has nothing of it, whether somebody watches or not.
#[test]
fn no_program_that_steers_writes_events() {
    for (name, strategy, bindings) in PROGRAMS {
        let listing = listing(strategy, bindings);
        assert!(!listing.contains("ringbuf") && !listing.contains("map[events]"), "{name}");
    }
    assert!(watching().contains("call bpf_ringbuf_output"));
}

#[test]
fn compiling_twice_gives_the_same_bytes() {
    for (_, strategy, bindings) in PROGRAMS {
        assert_eq!(listing(strategy, bindings), listing(strategy, bindings));
    }
}

#[test]
#[ignore = "writes the snapshots"]
fn write_snapshots() {
    for (name, strategy, bindings) in PROGRAMS {
        fs::create_dir_all(path(name).parent().unwrap()).unwrap();
        fs::write(path(name), listing(strategy, bindings)).unwrap();
    }
    fs::write(path(WATCHING), watching()).unwrap();
}
