//! Real clients reach the server that the policy names, and only that one.

#[path = "../command/mod.rs"]
mod command;
mod ports;
mod prefixes;
mod refusals;
#[path = "../services/mod.rs"]
mod services;
mod sources;
mod table;

fn main() {
    let tables = [prefixes::CASES, ports::CASES, sources::CASES, refusals::CASES];
    sklookup_testbed::main(tables.iter().flat_map(|cases| cases.iter().map(table::trial)).collect());
}
