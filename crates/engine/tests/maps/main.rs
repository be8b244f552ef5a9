//! Maps of the engine beside those of the kernel: the same operations in the same random order, with the same answers.
//!
//! A failure names the seed; `SKLOOKUP_SEED=N` runs that one alone, on every kind of map.

mod both;
mod bytes;
mod creation;
mod objects;
mod programs;
mod records;
mod sockets;

use sklookup_testbed::{Sandbox, Trial, kernel_trial};

type Test = fn(&Sandbox);

fn main() {
    let trials: [(&str, Test); 11] = [
        ("maps_of_any_shape_are_created_or_refused_alike", creation::alike),
        ("arrays", bytes::arrays),
        ("per_cpu_arrays", bytes::per_cpu_arrays),
        ("hashes", bytes::hashes),
        ("per_cpu_hashes", bytes::per_cpu_hashes),
        ("lru_hashes_that_are_never_full", bytes::lru_hashes),
        ("tries", bytes::tries),
        ("maps_of_maps", objects::maps_of_maps),
        ("arrays_of_programs", objects::arrays_of_programs),
        ("maps_of_sockets", sockets::maps_of_sockets),
        ("ring_buffers", records::ring_buffers),
    ];
    let trials: Vec<Trial> = trials.map(|(name, test)| kernel_trial(name, test)).into();
    sklookup_testbed::main(trials)
}

/// Runs what is random with one seed after the other.
fn with_seeds(count: u64, run: impl Fn(&mut fastrand::Rng)) {
    let asked = std::env::var("SKLOOKUP_SEED").ok().map(|seed| seed.parse().expect("SKLOOKUP_SEED is a number"));
    for seed in asked.map_or(0..count, |seed: u64| seed..seed + 1) {
        eprintln!("seed {seed}");
        run(&mut fastrand::Rng::with_seed(seed));
    }
}
