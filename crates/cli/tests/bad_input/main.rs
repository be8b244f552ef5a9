//! Bad input: each error says where, what, why and what to do, and nothing is applied.

#[path = "../command/mod.rs"]
mod command;
mod files;
mod limits;
mod machine;
mod output;
mod world;

fn main() {
    let trials = [files::trials(), limits::trials(), machine::trials(), output::trials()];
    sklookup_testbed::main(trials.into_iter().flatten().collect());
}
