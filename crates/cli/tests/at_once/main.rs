//! Commands at once: nobody's success is lost, whatever others do meanwhile and whoever is killed.

#[path = "../command/mod.rs"]
mod command;
mod history;
mod network;
mod pairs;
#[path = "../run/server.rs"]
mod server;
mod stress;
mod workers;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, word, name, commands @ ..] = &arguments[..]
        && word == "serve"
    {
        server::serve(name, commands);
    }
    sklookup_testbed::main([pairs::trials(), stress::trials()].into_iter().flatten().collect())
}
