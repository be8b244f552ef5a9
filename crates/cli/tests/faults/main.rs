//! Commands that are killed, failed or stopped at each of their calls to the kernel.

#[path = "../command/mod.rs"]
mod command;
mod door;
mod leaving;
mod run;
#[path = "../run/server.rs"]
mod server;
#[path = "../services/mod.rs"]
mod services;
mod sites;
mod stop;
mod subjects;
mod sweep;
mod world;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, word, name, commands @ ..] = &arguments[..]
        && word == "serve"
    {
        server::serve(name, commands);
    }
    sklookup_testbed::main_of_waiting(
        [door::trials(), sweep::trials(), stop::trials(), leaving::trials(), run::trials()]
            .into_iter()
            .flatten()
            .collect(),
    )
}
