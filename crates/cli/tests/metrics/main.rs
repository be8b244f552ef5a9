//! `metrics` on the real hook: what it tells, to whom, with which rights, and whom it does not wait for.

#[path = "../command/mod.rs"]
mod command;
mod crowd;
mod passed;
mod promtool;
mod served;
mod textfile;
mod world;

fn main() {
    let trials = [served::trials(), crowd::trials(), passed::trials(), textfile::trials(), promtool::trials()];
    sklookup_testbed::main(trials.into_iter().flatten().collect());
}
