//! Policy files: what is read is written as what is read as the same policy, the quick reader agrees with the thorough one,
//! what is called shadowed is, and every small policy compiles.

#![no_main]

use std::collections::BTreeMap;
use std::net::SocketAddr;

use ipnet::IpNet;
use libfuzzer_sys::fuzz_target;
use sklookup_compiler::{Options, Strategy, compile};
use sklookup_policy::{
    Binding, CanonicalReader, Entry, Origin, Packet, Policy, Problem, decide, difference, parse_binding, parse_file,
    shadowed,
};

/// Larger policies are not compiled: a million bindings fit into a kilobyte of lists.
const MAX_COMPILED: usize = 60;
/// Nor are more than these compared.
const MAX_COMPARED: usize = 5_000;

fuzz_target!(|text: &str| {
    if let Ok(entries) = parse_binding(text, Origin::Command("fuzzed".into())).map_err(check) {
        entries.iter().take(MAX_COMPARED).for_each(|entry| check_line(&entry.binding));
    }
    let Ok(entries) = parse_file(text, "fuzzed.toml").map_err(check_all) else { return };
    if entries.len() > MAX_COMPARED {
        return;
    }
    let Ok(policy) = Policy::new(entries).map_err(check_all) else { return };
    policy.entries().iter().for_each(|entry| check_line(&entry.binding));

    let canonical = policy.canonical();
    let read = parse_file(&canonical, "canonical.toml").unwrap_or_else(|problems| panic!("{problems:?}\n{canonical}"));
    let again = Policy::new(read).unwrap_or_else(|problems| panic!("{problems:?}\n{canonical}"));
    assert!(bindings(&again).eq(bindings(&policy)), "{canonical}");
    assert_eq!(again.canonical(), canonical);
    assert!(difference(&policy, &again).is_empty(), "{canonical}");

    if policy.len() <= MAX_COMPILED {
        check_shadows(&policy);
        check_compiled(&policy);
    }
});

/// What no packet can reach does not win the packets at its own edges.
fn check_shadows(policy: &Policy) {
    for shadow in shadowed(policy) {
        let Binding { protocol, destination, ports, source, interface, .. } = &policy.entries()[shadow.binding].binding;
        let everyone = IpNet::new(destination.addr(), 0).expect("0 is a prefix length");
        let source = source.unwrap_or(everyone);
        for (to, port) in [(destination.network(), ports.first()), (destination.broadcast(), ports.last())] {
            for from in [source.network(), source.broadcast()] {
                let (source, destination) = (SocketAddr::new(from, 40_000), SocketAddr::new(to, port));
                let packet = Packet { protocol: *protocol, source, destination, interface: interface.clone() };
                let winner = decide(policy, &packet).winner;
                assert_ne!(winner, Some(shadow.binding), "{packet}\n{}", policy.canonical());
            }
        }
    }
}

/// A binding is written as a line that both readers read as this binding and no other.
fn check_line(binding: &Binding) {
    let line = binding.to_string();
    assert_eq!(CanonicalReader::default().read(&line).as_ref(), Some(binding), "{line}");
    let read = parse_binding(&line, Origin::Command("again".into())).unwrap_or_else(|problem| panic!("{problem}"));
    assert!(matches!(&read[..], [Entry { binding: only, .. }] if only == binding), "{line}: {read:?}");
}

/// Branches may be too many; a table always holds so few bindings.
fn check_compiled(policy: &Policy) {
    let interfaces: BTreeMap<_, _> = policy.interfaces().iter().cloned().zip(1..).collect();
    for strategy in [Strategy::Branches, Strategy::Hash] {
        let options = Options { interfaces: interfaces.clone(), cpus: 2, strategy: Some(strategy) };
        match compile(policy, &options) {
            Ok(compiled) => assert_eq!(compiled.labels, policy.labels()),
            Err(error) => assert_eq!(strategy, Strategy::Branches, "{error}\n{}", policy.canonical()),
        }
    }
}

fn bindings(policy: &Policy) -> impl Iterator<Item = &Binding> {
    policy.entries().iter().map(|entry| &entry.binding)
}

fn check_all(problems: Vec<Problem>) {
    assert!(!problems.is_empty());
    problems.into_iter().for_each(check);
}

/// Whatever it was made from, a message can be shown.
fn check(problem: Problem) {
    let message = problem.to_string();
    assert!(message.len() < 2_000, "{message}");
    assert!(message.chars().all(|c| c == '\n' || !c.is_control()), "{message:?}");
}
