//! The control plane on the real hook: what is committed takes effect, and nothing else stays.

mod generations {
    pub mod commits;
    pub mod counting;
    pub mod registrations;
    pub mod runs;
    pub mod trust;
    pub mod upgrades;
    pub mod world;
}

use generations::{commits, counting, registrations, runs, trust, upgrades};

fn main() {
    let trials = [
        commits::trials(),
        counting::trials(),
        registrations::trials(),
        runs::trials(),
        trust::trials(),
        upgrades::trials(),
    ];
    sklookup_testbed::main(trials.into_iter().flatten().collect());
}
