//! The control plane on the real hook: what is committed takes effect, and nothing else stays.

mod generations {
    pub mod commits;
    pub mod counting;
    pub mod registrations;
    pub mod trust;
    pub mod world;
}

use generations::{commits, counting, registrations, trust};

fn main() {
    let trials = [commits::trials(), counting::trials(), registrations::trials(), trust::trials()];
    sklookup_testbed::main(trials.into_iter().flatten().collect());
}
