//! What tubular gets wrong, done right: its defects, each as a test of our answer, through the commands as typed.

#[path = "../command/mod.rs"]
mod command;
mod policies;
#[path = "../services/mod.rs"]
mod services;
mod sockets;
mod state;
mod world;

fn main() {
    let trials = [policies::trials(), sockets::trials(), state::trials()];
    sklookup_testbed::main(trials.into_iter().flatten().collect());
}
