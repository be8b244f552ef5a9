//! `explain` names the socket, then a real packet is sent, and lands there: in random worlds on the real hook.

mod many;
mod packets;
mod sockets;
mod world;

use std::hash::{BuildHasher, RandomState};

use fastrand::Rng;
use sklookup_explain::{Alone, Fate, Limit, explain};
use sklookup_kernel::Sandbox;
use sklookup_testbed::{Trial, kernel_trial};

use packets::Landed;
use world::{Place, World};

/// Trials side by side: commits wait for the kernel most of the time.
const TRIALS: usize = 4;
/// Worlds of each, and packets in a world.
const WORLDS: usize = 250;
const PACKETS: usize = 2;

fn main() {
    let trials =
        (1..=TRIALS).map(|trial| kernel_trial(&format!("a_packet_lands_where_explain_says::{trial}"), random_worlds));
    let trials: Vec<Trial> = trials.chain(many::trials()).collect();
    sklookup_testbed::main_of_waiting(trials);
}

fn random_worlds(sandbox: &Sandbox) {
    let seed = RandomState::new().hash_one(0u8);
    eprintln!("seed {seed:#x}");
    let mut rng = Rng::with_seed(seed);
    let place = Place::furnish(sandbox);
    let mut tally = [0; 4];
    let mut alone = [0; 4];
    for number in 0..WORLDS {
        let mut world = World::random(&place, &mut rng, 1);
        for _ in 0..PACKETS {
            let (packet, client) = place.packet(&mut world, &mut rng);
            let mut explanation = explain(place.state.netns(), Some(&place.state), &packet).unwrap();
            explanation.run_others(place.state.netns());
            let told = format!("seed {seed:#x}, world {number}: {packet}: {explanation:?}");
            assert_eq!(explanation.disagreement, None, "{told}");
            // Programs of these worlds look at the packet and at nothing else.
            assert!(!explanation.limits.contains(&Limit::DoesNotAddUp), "{told}");
            for did in explanation.alone.values() {
                alone[match did {
                    Alone::Passed => 0,
                    Alone::Dropped => 1,
                    Alone::Selected(_) => 2,
                    Alone::SelectedOfGroup => 3,
                    Alone::NotRun(_) | Alone::Spared => panic!("not run: {told}"),
                }] += 1;
            }
            let account = explanation.account.as_ref().unwrap_or_else(|why| panic!("{why}: {told}"));
            let landed = world.send(&packet, client);
            let (kind, said) = match explanation.fate {
                Fate::Socket(_) if account.connected.is_some() => (0, landed == Landed::On(named(&explanation.fate))),
                Fate::Socket(cookie) => (1, landed == Landed::On(cookie)),
                Fate::Refused => (2, landed == Landed::Refused),
                Fate::Astray(_) | Fate::Unknown(_) => (3, true),
            };
            assert!(said, "it landed on {landed:?}; {told}");
            tally[kind] += 1;
        }
    }
    eprintln!("connected, socket, refused, not told: {tally:?}");
    assert!(tally[..3].iter().all(|count| *count > WORLDS / 50), "the worlds are all of one kind: {tally:?}");
    eprintln!("run alone: passed, dropped, selected, selected of a group: {alone:?}");
    let [passed, dropped, selected, of_group] = alone;
    assert!(passed.min(dropped).min(selected + of_group) > 0, "the programs are all of one kind: {alone:?}");
    assert_eq!(tally[3], 0, "nothing in these worlds keeps explain from telling");
}

fn named(fate: &Fate) -> u64 {
    match fate {
        Fate::Socket(cookie) => *cookie,
        _ => unreachable!("a socket was named"),
    }
}
