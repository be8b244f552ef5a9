//! Maps, programs, links and pins on a real kernel.

#[path = "../../../bpf/tests/built/mod.rs"]
mod built;
mod collections;
mod links;
mod maps;
mod pins;
mod probes;
mod programs;
mod samples;

fn main() {
    sklookup_testbed::main(
        [maps::trials(), programs::trials(), collections::trials(), links::trials(), pins::trials(), probes::trials()]
            .into_iter()
            .flatten()
            .collect(),
    );
}
