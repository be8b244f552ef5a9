//! Programs of object files, attached beside the policy: real traffic, the order on the hook, and what is left of commands
//! that die.

#[path = "../command/mod.rs"]
mod command;
#[path = "../services/mod.rs"]
mod services;

mod attaching;
mod faults;
mod full;
mod listing;
mod maps;
mod traffic;
mod world;

fn main() {
    let trials =
        [attaching::trials(), listing::trials(), maps::trials(), traffic::trials(), faults::trials(), full::trials()];
    sklookup_testbed::main(trials.into_iter().flatten().collect());
}
