//! `replay`: recorded traffic, as a user asks about it.

#[path = "../command/mod.rs"]
mod command;
mod interrupted;
mod progress;
mod recorded;
mod tcpdump;
mod world;

fn main() {
    let trials = [recorded::trials(), interrupted::trials(), progress::trials(), tcpdump::trials()];
    sklookup_testbed::main(trials.into_iter().flatten().collect());
}
