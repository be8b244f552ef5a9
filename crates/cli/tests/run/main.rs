//! `run` on a real kernel: real servers, real clients, each test in namespaces of its own.

mod across;
mod elsewhere;
mod end;
mod follow;
mod scarce;
mod server;
mod start;
mod terminal;
mod together;
mod under_test;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, word, name, commands @ ..] = &arguments[..]
        && word == "serve"
    {
        server::serve(name, commands);
    }
    let trials = [
        start::trials(),
        follow::trials(),
        end::trials(),
        together::trials(),
        across::trials(),
        elsewhere::trials(),
        terminal::trials(),
        scarce::trials(),
    ];
    sklookup_testbed::main(trials.into_iter().flatten().collect())
}
