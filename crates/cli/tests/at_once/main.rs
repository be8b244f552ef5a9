//! Commands at once: nobody's success is lost, whatever others do meanwhile and whoever is killed.

#[path = "../command/mod.rs"]
mod command;
mod history;
mod network;
mod pairs;
mod stress;
mod workers;

fn main() {
    sklookup_testbed::main([pairs::trials(), stress::trials()].into_iter().flatten().collect())
}
