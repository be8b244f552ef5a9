//! The policy applied last, and those before it, on disk: written after each change, brought back after a reboot, believed only where nobody
//! else could have written it.

#[path = "../command/mod.rs"]
mod command;
#[path = "../services/mod.rs"]
mod services;

mod drift;
mod last;
mod pages;
mod rollback;
mod trouble;
mod trust;
mod unit;
mod world;

fn main() {
    // `run` needs a server to start: this program is one.
    if std::env::args().nth(1).as_deref() == Some(world::LISTEN) {
        world::listen();
        return;
    }
    let trials = [
        pages::trials(),
        last::trials(),
        trouble::trials(),
        trust::trials(),
        unit::trials(),
        rollback::trials(),
        drift::trials(),
    ];
    sklookup_testbed::main(trials.into_iter().flatten().collect());
}
