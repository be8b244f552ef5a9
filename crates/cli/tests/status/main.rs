//! What `status`, `list` and `doctor` say of real sockets on the real hook.

#[path = "../command/mod.rs"]
mod command;
mod counters;
mod damage;
mod drift;
mod listing;
mod others;
mod output;
mod world;

fn main() {
    let trials =
        [counters::trials(), listing::trials(), damage::trials(), drift::trials(), others::trials(), output::trials()];
    sklookup_testbed::main(trials.into_iter().flatten().collect());
}
