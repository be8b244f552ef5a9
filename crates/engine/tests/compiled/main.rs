//! Every program that the compiler emits gives a packet what `decide()` says, in every strategy, interfaces included; and the one
//! that watches it tells what was steered nowhere, and nothing else.

#[path = "../../../compiler/tests/kernel_agrees/random.rs"]
mod random;
mod steered;

use std::collections::BTreeMap;

use sklookup_compiler::{Counts, EventKind, HitsLayout, Options, Strategy};
use sklookup_policy::{Outcome, Packet, Policy, WhenEmpty, decide};

use random::{Pool, Random};
use steered::Steered;

const POLICIES: usize = 100;
const PACKETS: usize = 500;
/// The most bindings of a random policy.
const SIZE: usize = 60;

const INTERFACES: [&str; 3] = ["eth0", "eth1", "wlan0"];

/// What should happen to a packet.
struct Expected {
    winner: Option<usize>,
    receives: Receives,
    /// Whether the winner's label has no socket for it.
    empty: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Receives {
    /// A socket of this label.
    Label(usize),
    /// Whoever the regular lookup finds.
    Regular,
    Nobody,
}

#[test]
fn branches_give_50_000_random_packets_what_decide_says() {
    random_packets(Strategy::Branches, 2);
}

#[test]
fn hash_gives_50_000_random_packets_what_decide_says() {
    random_packets(Strategy::Hash, 2);
}

/// So many that counters for each CPU would take too much memory.
#[test]
fn hash_with_shared_counters_gives_random_packets_what_decide_says() {
    let seed = Random::seed();
    eprintln!("seed {seed:#x}");
    let mut random = Random::new(seed);
    for _ in 0..4 {
        let pool = Pool::new(&mut random, &INTERFACES);
        let policy = pool.policy(&mut random, SIZE);
        let options = Options { cpus: 1 << 20, ..options(Strategy::Hash, &policy, 1) };
        let steered = Steered::new(&policy, &options).unwrap();
        assert!(matches!(steered.compiled.counters.hits, HitsLayout::Shards(_)));
        compare(&mut random, &pool, &policy, &steered, seed);
    }
}

fn random_packets(strategy: Strategy, cpus: u32) {
    let seed = Random::seed();
    eprintln!("{strategy}: seed {seed:#x}");
    let mut random = Random::new(seed);
    let mut pairs = 0;
    // Branches can't hold every policy.
    for round in 0.. {
        let pool = Pool::new(&mut random, if round % 2 == 0 { &[] } else { &INTERFACES });
        let policy = pool.policy(&mut random, 1 + round % POLICIES * SIZE / POLICIES);
        let Ok(steered) = Steered::new(&policy, &options(strategy, &policy, cpus)) else {
            assert_eq!(strategy, Strategy::Branches);
            continue;
        };
        pairs += compare(&mut random, &pool, &policy, &steered, seed);
        if pairs >= POLICIES * PACKETS {
            break;
        }
    }
}

/// Interfaces of a policy are numbered from 7 on; other packets come in on 99.
fn options(strategy: Strategy, policy: &Policy, cpus: u32) -> Options {
    let interfaces: BTreeMap<_, _> = policy.interfaces().iter().cloned().zip(7..).collect();
    Options { interfaces, cpus, strategy: Some(strategy) }
}

/// Sends packets to the edges of bindings, and compares who gets them and what is counted; answers how many.
fn compare(random: &mut Random, pool: &Pool, policy: &Policy, steered: &Steered, seed: u64) -> usize {
    let mut counts = vec![Counts::default(); policy.len()];
    for _ in 0..PACKETS {
        let packet = pool.packet(random, policy);
        let expected = expected(policy, steered, &packet);
        let found = steered.receive(&packet, random.below(4) as u32);
        assert_eq!(found, expected.receives, "`{packet}`; seed {seed:#x}\n{}", policy.canonical());
        let told = told(steered, &packet);
        assert_eq!(told, expected.event(policy), "`{packet}`; seed {seed:#x}\n{}", policy.canonical());
        if let Some(winner) = expected.winner {
            counts[winner].hits += 1;
            counts[winner].no_socket += u64::from(expected.empty);
        }
    }
    assert_eq!(steered.counts(), counts, "seed {seed:#x}\n{}", policy.canonical());
    PACKETS
}

/// What the watching program says of a packet. A lookup that is asked for besides may make it say so twice.
fn told(steered: &Steered, packet: &Packet) -> Option<(EventKind, usize)> {
    let mut events = steered.events();
    for event in &events {
        assert_eq!((event.source, event.destination), (packet.source, packet.destination));
        assert_eq!((event.protocol, event.interface), (packet.protocol, steered.interface(packet)));
        assert!(event.token == 7 && !event.selected_by_others);
    }
    events.dedup();
    assert!(events.len() <= 1, "{events:?}");
    events.first().map(|event| (event.kind, event.binding as usize))
}

impl Expected {
    /// What is to be told of it.
    fn event(&self, policy: &Policy) -> Option<(EventKind, usize)> {
        let winner = self.winner?;
        match policy.entries()[winner].binding.outcome {
            Outcome::Refuse => Some((EventKind::Refused, winner)),
            _ => self.empty.then_some((EventKind::NoSocket, winner)),
        }
    }
}

fn expected(policy: &Policy, steered: &Steered, packet: &Packet) -> Expected {
    let winner = decide(policy, packet).winner;
    let (receives, empty) = match winner.map(|winner| &policy.entries()[winner].binding.outcome) {
        None | Some(Outcome::Pass) => (Receives::Regular, false),
        Some(Outcome::Refuse) => (Receives::Nobody, false),
        Some(Outcome::Steer { label, when_empty }) => {
            let label = policy.labels().binary_search(label).unwrap();
            match when_empty {
                _ if steered.has_sockets(label) => (Receives::Label(label), false),
                WhenEmpty::Pass => (Receives::Regular, true),
                WhenEmpty::Refuse => (Receives::Nobody, true),
            }
        }
    };
    Expected { winner, receives, empty }
}
