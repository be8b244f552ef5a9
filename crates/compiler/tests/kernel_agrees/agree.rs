//! Random policies and packets: the verdict, the selected socket and the counters are those that `decide()` implies.

use std::os::fd::AsFd;

use sklookup_compiler::{Counts, HitsLayout, MapRole, Options, Strategy};
use sklookup_kernel::sock_diag::{Lookup, SockDiag};
use sklookup_kernel::{Link, Sandbox, Verdict};
use sklookup_policy::{Origin, Outcome, Packet, Policy, Protocol, WhenEmpty, decide, parse_binding};

use crate::live::{Live, Service};
use crate::random::{Pool, Random};

const POLICIES: usize = 60;
const PACKETS: usize = 250;
/// The most bindings of a random policy.
const SIZE: usize = 60;

const INTERFACES: [&str; 3] = ["eth0", "eth1", "wlan0"];

/// What should happen to a packet.
struct Expected {
    winner: Option<usize>,
    cookie: Option<u64>,
    verdict: Verdict,
    /// Whether the winner's label has no socket for it.
    empty: bool,
}

pub fn random_packets(strategy: Strategy) {
    let seed = Random::seed();
    eprintln!("{strategy}: seed {seed:#x}");
    let services: Vec<Service> = (0..4).map(|_| Service::new()).collect();
    let mut random = Random::new(seed);
    let mut pairs = 0;
    for round in 0..POLICIES {
        let interfaces: &[&str] = if round % 2 == 0 { &[] } else { &INTERFACES };
        let pool = Pool::new(&mut random, interfaces);
        let policy = pool.policy(&mut random, 1 + round * SIZE / POLICIES);
        let Some(live) = load(&policy, options(strategy, &policy), &services) else { continue };
        pairs += compare(&mut random, &pool, &policy, &live, seed);
    }
    assert!(pairs >= 10_000, "only {pairs} pairs; seed {seed:#x}");
}

pub fn random_packets_with_shards(strategy: Strategy) {
    if strategy == Strategy::Branches {
        return branches_want_a_counter_for_each_cpu();
    }
    let seed = Random::seed();
    eprintln!("{strategy}, shards: seed {seed:#x}");
    let services: Vec<Service> = (0..4).map(|_| Service::new()).collect();
    let mut random = Random::new(seed);
    for _ in 0..8 {
        let pool = Pool::new(&mut random, &[]);
        let policy = pool.policy(&mut random, SIZE);
        let options = Options { cpus: 1 << 20, ..options(strategy, &policy) };
        let live = load(&policy, options, &services).expect("a table holds every policy");
        assert!(matches!(live.compiled.counters.hits, HitsLayout::Shards(_)));
        compare(&mut random, &pool, &policy, &live, seed);
    }
}

/// With so many bindings that several count in one value of the map: those of the pool are in the second and the third.
pub fn random_packets_with_pages(strategy: Strategy) {
    let seed = Random::seed();
    eprintln!("{strategy}, pages: seed {seed:#x}");
    let services: Vec<Service> = (0..4).map(|_| Service::new()).collect();
    let mut random = Random::new(seed);
    let filler: Vec<String> = (0..1000u32).map(|n| format!("pass tcp 1.2.{}.{} 80", n >> 8, n & 255)).collect();
    let origin = Origin::Command("filler".into());
    let filler: Vec<_> = filler.iter().flat_map(|line| parse_binding(line, origin.clone()).unwrap()).collect();
    for _ in 0..8 {
        let pool = Pool::new(&mut random, &[]);
        let policy = pool.policy(&mut random, SIZE).with(filler.clone()).unwrap();
        let live = load(&policy, options(strategy, &policy), &services).expect("a table holds every policy");
        let (_, hits) = &live.compiled.maps.iter().find(|(role, _)| *role == MapRole::Hits).expect("it counts");
        assert_eq!(hits.value_size, 4096);
        compare(&mut random, &pool, &policy, &live, seed);
    }
}

fn branches_want_a_counter_for_each_cpu() {
    let mut random = Random::new(1);
    let policy = Pool::new(&mut random, &[]).policy(&mut random, SIZE);
    let options = Options { cpus: 1 << 20, ..options(Strategy::Branches, &policy) };
    assert!(sklookup_compiler::compile(&policy, &options).is_err());
    let picked = sklookup_compiler::compile(&policy, &Options { strategy: None, ..options }).unwrap();
    assert_eq!(picked.strategy, Strategy::Hash, "{}", picked.why);
}

/// TEST_RUN wants interface 0, so the kernel is asked which socket a packet would reach.
pub fn interfaces(strategy: Strategy, sandbox: &Sandbox) {
    let seed = Random::seed();
    eprintln!("{strategy}, interfaces: seed {seed:#x}");
    let services: Vec<Service> = (0..4).map(|_| Service::new()).collect();
    let mut diag = SockDiag::open().unwrap();
    let mut random = Random::new(seed);
    let mut pairs = 0;
    for round in 0..POLICIES {
        let pool = Pool::new(&mut random, &INTERFACES);
        let policy = pool.policy(&mut random, 1 + round * SIZE / POLICIES);
        let options = options(strategy, &policy);
        let Some(live) = load(&policy, options, &services) else { continue };
        let link = Link::attach(&live.program, sandbox.netns.as_fd()).unwrap();
        let mut counts = live.counts();
        for _ in 0..PACKETS {
            let packet = pool.packet(&mut random, &policy);
            let expected = expected(&policy, &live, &packet);
            let cookie = diag.lookup(&lookup(&policy, &packet)).unwrap().map(|entry| entry.cookie);
            let context = || describe(&policy, &live, &packet, expected.winner, seed);
            assert_eq!(cookie, expected.cookie, "{}", context());
            check_counts(&live, &mut counts, &expected, &context);
            pairs += 1;
        }
        drop(link);
    }
    assert!(pairs >= 10_000, "only {pairs} pairs; seed {seed:#x}");
}

pub fn options(strategy: Strategy, policy: &Policy) -> Options {
    let interfaces = policy.interfaces().iter().zip(7..).map(|(name, index)| (name.clone(), index)).collect();
    Options { interfaces, cpus: sklookup_kernel::possible_cpus().unwrap(), strategy: Some(strategy) }
}

/// The cookie of the socket that a packet would reach in this namespace.
pub fn ask(policy: &Policy, packet: &Packet) -> Option<u64> {
    SockDiag::open().unwrap().lookup(&lookup(policy, packet)).unwrap().map(|entry| entry.cookie)
}

/// The packet with the interface's index: one that no binding names has another.
fn lookup(policy: &Policy, packet: &Packet) -> Lookup {
    let indices = options(Strategy::Hash, policy).interfaces;
    let interface = packet.interface.as_ref().map_or(0, |name| indices.get(name).copied().unwrap_or(999));
    let protocol = match packet.protocol {
        Protocol::Tcp => sklookup_kernel::Protocol::Tcp,
        Protocol::Udp => sklookup_kernel::Protocol::Udp,
    };
    Lookup { protocol, source: packet.source, destination: packet.destination, interface }
}

/// The policy with services under all labels but each fourth; `None` if the strategy can't hold it.
pub fn load(policy: &Policy, options: Options, services: &[Service]) -> Option<Live> {
    if let Err(error) = sklookup_compiler::compile(policy, &options) {
        assert_eq!(options.strategy, Some(Strategy::Branches), "{error}");
        return None;
    }
    let live = Live::load(policy, &options).unwrap_or_else(|error| panic!("{error}\n{}", shown(policy)));
    for label in (0..live.labels.len()).filter(|label| label % 4 != 3) {
        live.register(label, &services[label % services.len()]);
    }
    Some(live)
}

/// Runs packets at the edges of bindings; returns how many.
fn compare(random: &mut Random, pool: &Pool, policy: &Policy, live: &Live, seed: u64) -> usize {
    let mut counts = live.counts();
    for _ in 0..PACKETS {
        // A test run knows no interface.
        let packet = Packet { interface: None, ..pool.packet(random, policy) };
        check(policy, live, &packet, &mut counts, seed);
    }
    assert_eq!(live.counts(), counts, "seed {seed:#x}");
    PACKETS
}

/// Runs one packet and compares everything that can be seen of it.
pub fn check(policy: &Policy, live: &Live, packet: &Packet, counts: &mut [Counts], seed: u64) {
    let expected = expected(policy, live, packet);
    let run = live.run(packet, 1);
    let context = || describe(policy, live, packet, expected.winner, seed);
    assert_eq!((run.verdict, run.cookie), (expected.verdict, expected.cookie), "{}", context());
    check_counts(live, counts, &expected, &context);
}

fn expected(policy: &Policy, live: &Live, packet: &Packet) -> Expected {
    let winner = decide(policy, packet).winner;
    let (cookie, verdict, empty) = match winner.map(|winner| &policy.entries()[winner].binding.outcome) {
        None | Some(Outcome::Pass) => (None, Verdict::Pass, false),
        Some(Outcome::Refuse) => (None, Verdict::Drop, false),
        Some(Outcome::Steer { label, when_empty }) => {
            let label = policy.labels().binary_search(label).unwrap();
            match (live.cookie(label, packet), when_empty) {
                (Some(cookie), _) => (Some(cookie), Verdict::Pass, false),
                (None, WhenEmpty::Pass) => (None, Verdict::Pass, true),
                (None, WhenEmpty::Refuse) => (None, Verdict::Drop, true),
            }
        }
    };
    Expected { winner, cookie, verdict, empty }
}

/// Counts what is expected to be counted, and compares after each packet where reading is cheap.
fn check_counts(live: &Live, counts: &mut [Counts], expected: &Expected, context: &dyn Fn() -> String) {
    if let Some(winner) = expected.winner {
        counts[winner].hits += 1;
        counts[winner].no_socket += u64::from(expected.empty);
    }
    if counts.len() > 2 * SIZE || live.compiled.counters.hits != HitsLayout::PerCpu {
        return;
    }
    let counted = live.counts();
    if counted != counts {
        let differing: Vec<_> = (0..counts.len()).filter(|&index| counted[index] != counts[index]).collect();
        panic!("counters of {differing:?} are not as expected: {}", context());
    }
}

fn describe(policy: &Policy, live: &Live, packet: &Packet, winner: Option<usize>, seed: u64) -> String {
    let winner = winner.map_or_else(|| "none".to_owned(), |winner| policy.entries()[winner].binding.to_string());
    let strategy = live.compiled.strategy;
    format!("`{packet}` should get `{winner}` @ {strategy}; seed {seed:#x}\n{}", shown(policy))
}

/// The policy, unless it is too long to help.
fn shown(policy: &Policy) -> String {
    if policy.len() > 2 * SIZE { format!("{} bindings", policy.len()) } else { policy.canonical() }
}
