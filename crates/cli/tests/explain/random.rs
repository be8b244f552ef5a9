//! The command names the socket, then a real packet is sent, and lands there: for root, and for an ordinary user.

use std::hash::{BuildHasher, RandomState};

use fastrand::Rng;
use serde_json::Value;
use sklookup_kernel::Sandbox;
use sklookup_testbed::{Trial, kernel_trial};

use crate::command::{Ran, document, one_document};
use crate::packets::Landed;
use crate::scene::{as_nobody, copy_command};
use crate::world::{Place, World};

const WORLDS: usize = 250;

pub fn trials() -> Vec<Trial> {
    vec![kernel_trial("a_packet_lands_where_the_command_says_whoever_asks", whoever_asks)]
}

fn whoever_asks(sandbox: &Sandbox) {
    let seed = RandomState::new().hash_one(0u8);
    eprintln!("seed {seed:#x}");
    let mut rng = Rng::with_seed(seed);
    let place = Place::furnish(sandbox);
    let copy = copy_command(sandbox);
    for number in 0..WORLDS {
        let mut world = World::random(&place, &mut rng, 1);
        let (packet, client) = place.packet(&mut world, &mut rng);
        let packet_text = packet.to_string();
        let (exit, told) = document(&["explain", &packet_text]);
        let nobody: Ran = as_nobody(&copy, &["--json", "explain", &packet_text]);
        let seen_by_nobody = one_document(&nobody);
        let landed = world.send(&packet, client);
        for (exit, document) in [(exit, &told), (nobody.exit, &seen_by_nobody)] {
            let context = || format!("seed {seed:#x}, world {number}: {packet} landed on {landed:?}: {document}");
            assert_eq!(document["disagreement"], Value::Null, "{}", context());
            match landed {
                Landed::On(cookie) => {
                    assert_eq!((exit, &document["socket"]), (0, &cookie.to_string().into()), "{}", context());
                }
                Landed::Refused => assert_eq!((exit, &document["answer"]), (1, &"refused".into()), "{}", context()),
            }
        }
        assert_eq!(seen_by_nobody["programs"], Value::Null, "an ordinary user may not list programs");
        assert_ne!(seen_by_nobody["others"], "none", "nor say that there is none");
    }
}
