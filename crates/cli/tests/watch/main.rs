//! `watch` on the real hook: what is told of real traffic, and that nothing is left of it.

#[path = "../command/mod.rs"]
mod command;
mod events;
mod eye;
mod measure;
mod nothing_left;
#[path = "../status/world.rs"]
#[allow(dead_code)] // each test binary uses a part of it
mod world;

fn main() {
    let trials = [events::trials(), measure::trials(), nothing_left::trials()];
    sklookup_testbed::main(trials.into_iter().flatten().collect());
}
