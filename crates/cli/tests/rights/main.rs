//! Every command with the least rights it can do with, with less, and with a little more.

mod enough;
mod less;
mod more;
#[path = "../run/server.rs"]
mod server;
#[path = "../run/under_test.rs"]
#[allow(dead_code)] // what `run` alone needs
mod under_test;
mod world;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, word, name, commands @ ..] = &arguments[..]
        && word == "serve"
    {
        server::serve(name, commands);
    }
    let trials = [enough::trials(), less::trials(), more::trials()];
    sklookup_testbed::main(trials.into_iter().flatten().collect())
}
