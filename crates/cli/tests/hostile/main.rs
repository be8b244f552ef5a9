//! Places where nothing is as it should be: file systems, namespaces, names, readers.

#[path = "../command/mod.rs"]
mod command;
mod mounts;
mod names;
mod namespaces;
mod output;
mod rename;
mod world;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, word, name] = &arguments[..]
        && word == "rename"
    {
        rename::start(name);
    }
    let trials = [namespaces::trials(), mounts::trials(), names::trials(), output::trials()];
    sklookup_testbed::main(trials.into_iter().flatten().collect())
}
