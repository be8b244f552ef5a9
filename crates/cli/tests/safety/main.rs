//! The safety catches on a real kernel: what a policy would take away is seen, and named.

#[path = "../command/mod.rs"]
mod command;
mod ephemeral;
mod services;
mod session;
mod ssh;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, word, address, command @ ..] = &arguments[..]
        && word == "daemon"
    {
        session::serve(address, command);
    }
    let trials = [ssh::trials(), services::trials(), ephemeral::trials()];
    sklookup_testbed::main(trials.into_iter().flatten().collect())
}
