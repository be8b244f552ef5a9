//! Random policies over a handful of addresses, ports and interfaces, where every packet can be tried.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use sklookup_policy::{
    Binding, CanonicalReader, Deciders, Entry, Finder, Interface, Label, Origin, Outcome, Packet, Policy, PortRange,
    PortSpan, Ports, Protocol, ToAddress, Traffic, WhenEmpty, by_port, decide, deciding, parse_file, shadowed, winner,
};

const ROUNDS: u64 = 6_000;

/// Xorshift: the same policies on every machine for the same seed.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % bound
    }

    fn pick<T: Clone>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())].clone()
    }
}

/// What bindings are made of, and packets on every side of every edge of these.
struct Universe {
    destinations: Vec<IpNet>,
    sources: Vec<Option<IpNet>>,
    ports: Vec<Ports>,
    interfaces: Vec<Option<Interface>>,
    packets: Vec<Packet>,
}

impl Universe {
    fn new(addresses: [&str; 3], everything: u8) -> Self {
        let [block, inside, outside] = addresses;
        let block: IpNet = block.parse().unwrap();
        let mut destinations = vec![IpNet::new(block.network(), 0).unwrap().trunc(), block];
        for length in block.prefix_len() + 1..=block.max_prefix_len() {
            destinations.extend(block.subnets(length).unwrap());
        }
        let inside: IpNet = inside.parse().unwrap();
        let halves = destinations[0].subnets(1).unwrap();
        let mut sources: Vec<Option<IpNet>> = [None, None, Some(inside)].into_iter().chain(halves.map(Some)).collect();
        sources.extend(inside.subnets(everything - 1).unwrap().chain(inside.subnets(everything).unwrap()).map(Some));
        let outside: IpAddr = outside.parse().unwrap();

        let range = |first, last| Ports::Range(PortRange { first, last });
        let ports = vec![
            Ports::Every,
            range(1, 65535),
            range(1, 4),
            range(5, 65535),
            range(1, 2),
            range(2, 3),
            range(3, 4),
            range(1, 1),
            range(2, 2),
            range(3, 3),
            range(4, 4),
        ];
        let interfaces = vec![None, None, Some("a".parse().unwrap()), Some("b".parse().unwrap())];

        let hosts = |net: IpNet| net.subnets(everything).unwrap().map(|host| host.addr());
        let to: Vec<IpAddr> = hosts(block).chain([outside]).collect();
        let mut from: Vec<IpAddr> = hosts(inside).chain([outside]).collect();
        from.push(halves.last().unwrap().addr());
        from.push(halves.last().unwrap().broadcast());
        from.push(destinations[0].addr());
        let mut packets = Vec::new();
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            for (source, destination) in from.iter().flat_map(|&from| to.iter().map(move |&to| (from, to))) {
                for port in [0, 1, 2, 3, 4, 5, 65535] {
                    for interface in [None, Some("a"), Some("b"), Some("other")] {
                        packets.push(Packet {
                            protocol,
                            source: SocketAddr::new(source, 40000),
                            destination: SocketAddr::new(destination, port),
                            interface: interface.map(|name| name.parse().unwrap()),
                        });
                    }
                }
            }
        }
        Self { destinations, sources, ports, interfaces, packets }
    }

    /// Bindings of few shapes, so that they meet: each policy draws from a part of what there is.
    fn bindings(&self, random: &mut Random) -> Vec<Binding> {
        fn some<T: Clone>(random: &mut Random, items: &[T]) -> Vec<T> {
            let count = 1 + random.below(items.len());
            (0..count).map(|_| random.pick(items)).collect()
        }
        let (destinations, sources) = (some(random, &self.destinations), some(random, &self.sources));
        let (ports, interfaces) = (some(random, &self.ports), some(random, &self.interfaces));
        let labels: Vec<Label> = ["x", "y"][..1 + random.below(2)].iter().map(|label| label.parse().unwrap()).collect();
        let protocols = &[Protocol::Tcp, Protocol::Udp][..1 + random.below(8) / 7];
        (0..1 + random.below(40))
            .map(|_| Binding {
                protocol: random.pick(protocols),
                destination: random.pick(&destinations),
                ports: random.pick(&ports),
                source: random.pick(&sources),
                interface: random.pick(&interfaces),
                outcome: match random.below(12) {
                    0 if labels.len() > 1 => Outcome::Pass,
                    1 if labels.len() > 1 => Outcome::Refuse,
                    _ => Outcome::Steer { label: random.pick(&labels), when_empty: WhenEmpty::Refuse },
                },
            })
            .collect()
    }
}

fn universes() -> [Universe; 2] {
    [
        Universe::new(["192.0.2.16/29", "10.0.0.0/30", "198.51.100.1"], 32),
        Universe::new(["2001:db8::8/125", "2001:db8:5::/126", "fd00::1"], 128),
    ]
}

fn entries(bindings: &[Binding]) -> Vec<Entry> {
    let entry = |(line, binding): (usize, &Binding)| Entry {
        binding: binding.clone(),
        origin: Origin::File { path: "random.toml".into(), line: line as u32 + 1 },
        owner: None,
    };
    bindings.iter().enumerate().map(entry).collect()
}

/// Whether two bindings match `packet` with equal precedence and do not agree.
fn in_conflict(packet: &Packet, bindings: &[Binding]) -> bool {
    let matching: Vec<&Binding> = bindings.iter().filter(|binding| binding.matches(packet)).collect();
    let differ = |precedence| {
        let mut outcomes = matching.iter().filter(|b| b.precedence() == precedence).map(|b| &b.outcome);
        let first = outcomes.next();
        outcomes.any(|outcome| Some(outcome) != first)
    };
    matching.iter().any(|binding| differ(binding.precedence()))
}

/// Leaves out what is in conflict with something before it.
fn without_conflicts(bindings: Vec<Binding>) -> Vec<Binding> {
    let mut kept: Vec<Binding> = Vec::new();
    for binding in bindings {
        kept.push(binding);
        if Policy::new(entries(&kept)).is_err() {
            kept.pop();
        }
    }
    kept
}

#[test]
fn a_policy_is_refused_exactly_if_some_packet_shows_a_conflict() {
    let mut conflicts = 0;
    for universe in universes() {
        for seed in 1..=ROUNDS / 4 {
            let bindings = universe.bindings(&mut Random::new(seed));
            let shown = universe.packets.iter().any(|packet| in_conflict(packet, &bindings));
            let policy = Policy::new(entries(&bindings));
            assert_eq!(policy.is_err(), shown, "seed {seed}: {bindings:#?}");
            for problem in policy.err().into_iter().flatten() {
                let packet = problem.message.split("both match `").nth(1).and_then(|rest| rest.split('`').next());
                let packet: Packet = packet.expect("a packet as proof").parse().expect("in the packet grammar");
                assert!(in_conflict(&packet, &bindings), "seed {seed}: {problem}");
                conflicts += 1;
            }
        }
    }
    assert!(conflicts > 1000, "only {conflicts} conflicts: the policies are too tame to show anything");
}

#[test]
fn shadowed_are_exactly_those_that_win_no_packet_and_by_those_that_win_theirs() {
    let (mut bindings, mut shadows, mut together) = (0, 0, 0);
    for universe in universes() {
        for seed in 1..=ROUNDS / 4 {
            let drawn = without_conflicts(universe.bindings(&mut Random::new(seed)));
            let policy = Policy::new(entries(&drawn)).expect("no conflicts are left");
            let mut takers: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); policy.len()];
            for packet in &universe.packets {
                let decision = decide(&policy, packet);
                let Some(winner) = decision.winner else { continue };
                takers[winner].insert(winner);
                // Who covers a binding of any interface does so on all of them: the one that no binding names shows them.
                let named = packet.interface.as_ref().is_some_and(|name| policy.interfaces().contains(name));
                for runner_up in decision.runners_up {
                    if !named || policy.entries()[runner_up].binding.interface.is_some() {
                        takers[runner_up].insert(winner);
                    }
                }
            }
            let expected: Vec<(usize, Vec<usize>)> = (takers.iter().enumerate())
                .filter(|(binding, takers)| !takers.contains(binding))
                .map(|(binding, takers)| (binding, takers.iter().copied().collect()))
                .collect();
            let found = shadowed(&policy);
            let found: Vec<(usize, Vec<usize>)> = found.into_iter().map(|shadow| (shadow.binding, shadow.by)).collect();
            assert_eq!(found, expected, "seed {seed}:\n{}", policy.canonical());
            bindings += policy.len();
            shadows += expected.len();
            together += expected.iter().filter(|(_, by)| by.len() > 1).count();
        }
    }
    println!("{shadows} of {bindings} bindings shadowed, {together} by several together");
    assert!(together > 500, "only {together} of {bindings} are covered by several");
}

#[test]
fn a_policy_put_together_and_taken_apart_is_the_one_made_at_once() {
    for universe in universes() {
        for seed in 1..=ROUNDS / 4 {
            let mut random = Random::new(seed);
            let drawn = entries(&universe.bindings(&mut random));
            let (some, more) = drawn.split_at(random.below(drawn.len() + 1));
            let Ok(policy) = Policy::new(some.to_vec()) else { continue };
            let whole = policy.with(more.to_vec());
            assert_eq!(whole, Policy::new(drawn.clone()), "seed {seed}");
            let Ok(whole) = whole else { continue };
            let kept: Vec<bool> = whole.entries().iter().map(|_| random.below(3) > 0).collect();
            let mut keep = kept.iter();
            let part = whole.filtered(|_| *keep.next().expect("one for each"));
            let rest = whole.entries().iter().zip(&kept).filter(|(_, kept)| **kept).map(|(entry, _)| entry.clone());
            assert_eq!(Ok(part), Policy::new(rest.collect()), "seed {seed}");
        }
    }
}

#[test]
fn the_winner_is_the_one_that_the_definition_names() {
    for universe in universes() {
        for seed in 1..=ROUNDS / 200 {
            let drawn = without_conflicts(universe.bindings(&mut Random::new(seed)));
            let policy = Policy::new(entries(&drawn)).expect("no conflicts are left");
            let finder = Finder::new(&policy);
            for packet in universe.packets.iter().step_by(3) {
                let defined = decide(&policy, packet).winner;
                assert_eq!(winner(&policy, packet), defined, "seed {seed}: {packet}");
                assert_eq!(finder.winner(packet), defined, "seed {seed}: {packet}");
            }
        }
    }
}

#[test]
fn a_packet_depends_on_its_interface_where_some_interface_gives_it_another_winner() {
    let (mut packets, mut depend) = (0, 0);
    for universe in universes() {
        for seed in 1..=ROUNDS / 200 {
            let drawn = without_conflicts(universe.bindings(&mut Random::new(seed)));
            let policy = Policy::new(entries(&drawn)).expect("no conflicts are left");
            let finder = Finder::new(&policy);
            for packet in universe.packets.iter().filter(|packet| packet.interface.is_none()).step_by(3) {
                let somewhere_else = policy.interfaces().iter().any(|interface| {
                    let there = Packet { interface: Some(interface.clone()), ..packet.clone() };
                    decide(&policy, &there).winner != decide(&policy, packet).winner
                });
                assert_eq!(finder.depends_on_interface(packet), somewhere_else, "seed {seed}: {packet}");
                packets += 1;
                depend += usize::from(somewhere_else);
            }
        }
    }
    assert!((packets / 20..packets / 2).contains(&depend), "{depend} of {packets} depend: too tame or too wild");
}

#[test]
fn canonical_text_read_again_is_the_same_policy() {
    for universe in universes() {
        for seed in 1..=ROUNDS / 20 {
            let drawn = without_conflicts(universe.bindings(&mut Random::new(seed)));
            let policy = Policy::new(entries(&drawn)).expect("no conflicts are left");
            let text = policy.canonical();
            let again = Policy::new(parse_file(&text, "export.toml").unwrap()).unwrap();
            assert_eq!(again.canonical(), text, "seed {seed}");
            let bindings = |policy: &Policy| policy.entries().iter().map(|e| e.binding.clone()).collect::<Vec<_>>();
            assert_eq!(bindings(&again), bindings(&policy), "seed {seed}");
            let mut reader = CanonicalReader::default();
            for binding in bindings(&policy) {
                assert_eq!(reader.read(&binding.to_string()), Some(binding), "seed {seed}");
            }
        }
    }
}

/// Who decides about a packet by what is said of its port.
fn by_span(policy: &Policy, spans: &[PortSpan], packet: &Packet) -> Option<usize> {
    let port = packet.destination.port();
    let span = &spans[spans.partition_point(|span| span.ports.last < port)];
    assert!(span.ports.first <= port, "{packet} lies between two spans");
    let matches = |index: &&usize| policy.entries()[**index].binding.matches(packet);
    let decides = span.some.iter().chain(&span.rest).find(matches).copied();
    assert!(decides.is_some() || span.rest.is_none(), "{packet}: the rest is for all");
    decides
}

#[test]
fn for_every_port_of_an_address_the_winner_is_the_one_that_the_definition_names() {
    for universe in universes() {
        for seed in 1..=ROUNDS / 20 {
            let mut random = Random::new(seed);
            let policy = Policy::new(entries(&without_conflicts(universe.bindings(&mut random)))).unwrap();
            let packet = random.pick(&universe.packets);
            let asked = ToAddress {
                protocol: packet.protocol,
                destination: packet.destination.ip(),
                source: random.pick(&universe.sources),
                interface: random.pick(&universe.interfaces),
            };
            let spans = by_port(&policy, &asked);
            let is_meant = |packet: &&Packet| {
                (packet.protocol, packet.destination.ip()) == (asked.protocol, asked.destination)
                    && asked.source.is_none_or(|source| source.contains(&packet.source.ip()))
                    && (asked.interface.is_none() || packet.interface == asked.interface)
            };
            for packet in universe.packets.iter().filter(is_meant) {
                let winner = decide(&policy, packet).winner;
                assert_eq!(by_span(&policy, &spans, packet), winner, "seed {seed}: {packet}\n{}", policy.canonical());
            }
            for pair in spans.windows(2) {
                assert_eq!(pair[0].ports.last + 1, pair[1].ports.first, "seed {seed}");
                assert_ne!(
                    (&pair[0].some, pair[0].rest),
                    (&pair[1].some, pair[1].rest),
                    "seed {seed}: one span would do"
                );
            }
        }
    }
}

#[test]
fn no_port_of_65536_is_told_wrong() {
    for seed in 1..=24 {
        let mut random = Random::new(seed);
        let mut bindings = universes()[0].bindings(&mut random);
        for binding in &mut bindings {
            let (one, other) = (random.below(65536).max(1) as u16, random.below(65536).max(1) as u16);
            binding.ports = Ports::Range(PortRange { first: one.min(other), last: one.max(other) });
        }
        let policy = Policy::new(entries(&without_conflicts(bindings))).unwrap();
        let mut packet: Packet = "tcp 10.0.0.1:4000 > 192.0.2.17:0 dev a".parse().unwrap();
        let asked = ToAddress {
            protocol: packet.protocol,
            destination: packet.destination.ip(),
            source: (seed % 2 == 0).then(|| packet.source.ip().into()),
            interface: packet.interface.clone().filter(|_| seed % 3 == 0),
        };
        let spans = by_port(&policy, &asked);
        assert_eq!((spans[0].ports.first, spans.last().unwrap().ports.last), (0, 65535));
        for port in 0..=65535 {
            packet.destination.set_port(port);
            assert_eq!(by_span(&policy, &spans, &packet), decide(&policy, &packet).winner, "seed {seed}: {packet}");
        }
    }
}

#[test]
fn those_that_decide_about_some_traffic_are_exactly_the_winners_of_its_packets() {
    let mut several = 0;
    for universe in universes() {
        for seed in 1..=ROUNDS / 4 {
            let mut random = Random::new(seed);
            let policy = Policy::new(entries(&without_conflicts(universe.bindings(&mut random)))).unwrap();
            let shapes = universe.bindings(&mut random);
            let mut asked = random.pick(&shapes);
            asked.interface = asked.interface.filter(|_| random.below(2) > 0);
            let asked_about = universe.packets.iter().filter(|packet| asked.matches(packet));
            let winners: BTreeSet<Option<usize>> = asked_about.map(|packet| decide(&policy, packet).winner).collect();
            let expected =
                Deciders { bindings: winners.iter().copied().flatten().collect(), regular: winners.contains(&None) };
            let found = deciding(&policy, &Traffic::from(&asked));
            assert_eq!(found, expected, "seed {seed}: {asked}\n{}", policy.canonical());
            several += usize::from(winners.len() > 1);
        }
    }
    assert!(several > 500, "only {several} times several decided");
}
