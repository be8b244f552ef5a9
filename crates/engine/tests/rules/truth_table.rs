//! Several programs on one hook: every pair of ten, and longer chains.

use sklookup_engine::{Delivery, Link, Socket};

use crate::programs::{START, assign, assign_null, returning, selecting};
use crate::world::{CONTACTED, World, refused, tcp, to};

/// Flags of `bpf_sk_assign`.
const REPLACE: u64 = 1;

/// Slots of A and B.
const A: u32 = 0;
const B: u32 = 1;

/// Rows are the first program, columns the second; R is the regular lookup's listener, X nobody.
const PAIRS: &str = "
        pass drop A B B0 A! B! N N! AN
  pass  R    X    A B B  X  X  R X  R
  drop  X    X    A B B  X  X  X X  X
  A     A    A    A B A  A  A  A A  A
  B     B    B    A B B  B  B  B B  B
  B0    B    B    A B B  B  B  B B  B
  A!    X    X    A B B  X  X  X X  X
  B!    X    X    A B B  X  X  X X  X
  N     R    X    A B B  X  X  R X  R
  N!    X    X    A B B  X  X  X X  X
  AN    R    X    A B B  X  X  R X  R
";

const LONGER: [(&[&str], &str); 18] = [
    (&["pass"], "R"),
    (&["drop"], "X"),
    (&["A"], "A"),
    (&["B"], "B"),
    (&["B0"], "B"),
    (&["A!"], "X"),
    (&["B!"], "X"),
    (&["N"], "R"),
    (&["N!"], "X"),
    (&["AN"], "R"),
    (&["A", "drop", "pass"], "A"),
    (&["drop", "A", "drop"], "A"),
    (&["A", "N", "pass"], "A"),
    (&["A", "B!", "B0"], "A"),
    (&["A", "B!", "N"], "A"),
    (&["A", "B", "drop", "drop"], "B"),
    (&["drop", "pass", "B", "A!"], "B"),
    (&["A!", "B!", "pass"], "X"),
];

/// The program of a name: what it assigns, `!` for one that drops, and `0` for one that doesn't replace.
fn program(name: &str) -> String {
    let verdict = u32::from(!name.ends_with('!'));
    match name.trim_end_matches('!') {
        "pass" => returning(1),
        "drop" => returning(0),
        "A" => selecting(A, REPLACE, verdict),
        "B" => selecting(B, REPLACE, verdict),
        "B0" => selecting(B, 0, verdict),
        "N" => [START, &assign_null(REPLACE), &returning(verdict)].concat(),
        "AN" => [START, &assign(A, REPLACE), &assign_null(REPLACE), &returning(verdict)].concat(),
        other => panic!("no program is {other}"),
    }
}

struct Listeners {
    world: World,
    regular: Socket,
    selected: [Socket; 2],
}

impl Listeners {
    fn new() -> Listeners {
        let world = World::new();
        let regular = world.tcp(CONTACTED);
        let selected = [world.tcp("127.0.0.2:8008"), world.tcp("127.0.0.2:8009")];
        world.sockets.put(A, &selected[0]).unwrap();
        world.sockets.put(B, &selected[1]).unwrap();
        Listeners { world, regular, selected }
    }

    fn check(&self, chain: &[&str], expected: &str) {
        let _links: Vec<Link> = chain.iter().map(|name| self.world.attach(&program(name))).collect();
        let expected = match expected {
            "R" => to(&self.regular),
            "A" => to(&self.selected[0]),
            "B" => to(&self.selected[1]),
            "X" => refused(sklookup_engine::Protocol::Tcp),
            other => panic!("nobody is {other}"),
        };
        assert_eq!(self.world.receive(&tcp(CONTACTED)), expected, "{chain:?}");
    }
}

#[test]
fn every_pair_of_programs_gives_what_linux_gives() {
    let listeners = Listeners::new();
    let mut lines = PAIRS.trim().lines();
    let columns: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
    let mut cells = 0;
    for line in lines {
        let mut words = line.split_whitespace();
        let first = words.next().unwrap();
        for (second, expected) in columns.iter().zip(words) {
            listeners.check(&[first, second], expected);
            cells += 1;
        }
    }
    assert_eq!(cells, 100);
}

#[test]
fn longer_chains_and_single_programs_give_what_linux_gives() {
    let listeners = Listeners::new();
    for (chain, expected) in LONGER {
        listeners.check(chain, expected);
    }
}

#[test]
fn every_program_runs_whatever_those_before_it_said() {
    let listeners = Listeners::new();
    let _links: Vec<Link> =
        ["drop", "A", "drop", "pass"].iter().map(|name| listeners.world.attach(&program(name))).collect();
    assert_eq!(listeners.world.hook_calls(&tcp(CONTACTED)), 4);
}

#[test]
fn a_value_that_is_no_verdict_neither_drops_nor_selects() {
    let listeners = Listeners::new();
    let _link = listeners.world.attach(&selecting(A, 0, 2));
    assert_eq!(listeners.world.receive(&tcp(CONTACTED)), to(&listeners.regular));
}

#[test]
fn the_flag_of_the_last_assignment_decides_whether_the_group_is_asked() {
    let world = World::new();
    let [a, b] = [(); 2].map(|()| world.member(sklookup_engine::Protocol::Tcp, "127.0.0.2:8008"));
    world.sockets.put(A, &a).unwrap();
    world.sockets.put(B, &b).unwrap();
    let spread = |text: String| {
        let _link = world.attach(&text);
        let clients = (1..200).map(|port| crate::world::from(&tcp(CONTACTED), &format!("127.0.0.9:{port}")));
        clients.map(|packet| world.receive(&packet)).filter(|delivery| *delivery == Delivery::Socket(b.id())).count()
    };
    // Alone: it is A that gets everything.
    assert_eq!(spread(selecting(A, 2, 1)), 0);
    // Replaced without the flag.
    let replaced = [START, &assign(B, 2), &assign(A, REPLACE), &returning(1)].concat();
    let through_group = spread(replaced);
    assert!((50..150).contains(&through_group), "{through_group}");
}
