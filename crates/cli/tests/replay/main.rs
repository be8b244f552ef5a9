//! `replay`: recorded traffic, as a user asks about it.

#[path = "../command/mod.rs"]
mod command;
mod interrupted;
mod recorded;
mod tcpdump;
mod world;

fn main() {
    let trials = [recorded::trials(), interrupted::trials(), tcpdump::trials()];
    sklookup_testbed::main(trials.into_iter().flatten().collect());
}
