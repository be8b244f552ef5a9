//! Maps whose values are bytes, by their owner and by programs.

use fastrand::Rng;
use sklookup_bpf::{MapFlags, MapSpec, MapType};
use sklookup_testbed::Sandbox;

use crate::both::{Both, Operation, machine};
use crate::programs::Programs;
use crate::with_seeds;

/// Random operations on one map.
const OPERATIONS: usize = 400;
const SEEDS: u64 = 12;

pub(crate) fn arrays(_: &Sandbox) {
    let flags = [MapFlags::NONE, MapFlags::RDONLY, MapFlags::WRONLY, MapFlags::MMAPABLE, MapFlags::NUMA_NODE];
    run(|rng| MapSpec { flags: any(rng, &flags), ..spec(rng, MapType::Array, 4, 4) }, index);
}

pub(crate) fn per_cpu_arrays(_: &Sandbox) {
    run(|rng| spec(rng, MapType::PercpuArray, 4, 4), index);
}

pub(crate) fn hashes(_: &Sandbox) {
    let flags = [MapFlags::NONE, MapFlags::NO_PREALLOC, MapFlags::RDONLY, MapFlags::WRONLY, MapFlags::ZERO_SEED];
    run(|rng| MapSpec { flags: any(rng, &flags), ..spec(rng, MapType::Hash, 3, 4) }, key);
}

pub(crate) fn per_cpu_hashes(_: &Sandbox) {
    let flags = [MapFlags::NONE, MapFlags::NO_PREALLOC];
    run(|rng| MapSpec { flags: any(rng, &flags), ..spec(rng, MapType::PercpuHash, 3, 4) }, key);
}

/// Of 128 entries 7 are ever used: which go when it is full, and when it counts as full, Linux does not promise.
pub(crate) fn lru_hashes(_: &Sandbox) {
    let flags = [MapFlags::NONE, MapFlags::NO_COMMON_LRU];
    run(|rng| MapSpec { flags: any(rng, &flags), ..spec(rng, MapType::LruHash, 3, 128) }, key);
}

pub(crate) fn tries(_: &Sandbox) {
    let flags = [MapFlags::NO_PREALLOC, MapFlags::NO_PREALLOC | MapFlags::WRONLY];
    run(
        |rng| {
            let key_size = 4 + rng.u32(1..=3);
            MapSpec { flags: any(rng, &flags), ..spec(rng, MapType::LpmTrie, key_size, 6) }
        },
        prefix,
    );
}

fn run(spec: impl Fn(&mut Rng) -> MapSpec, key: fn(&mut Rng, &MapSpec) -> Vec<u8>) {
    with_seeds(SEEDS, |rng| {
        let spec = spec(rng);
        eprintln!("{spec:?}");
        let machine = machine();
        let both = Both::create(&machine, &spec);
        let programs = Programs::load(&machine, &both, &spec);
        for _ in 0..OPERATIONS {
            match rng.u32(0..20) {
                0..6 => {
                    let (key, value) = (key(rng, &spec), value(rng, spec.value_size as usize));
                    programs.agree(rng, &key, &value);
                }
                6 => both.agree_on_everything(),
                _ => both.agree(&operation(rng, &both, &spec, key)),
            }
        }
        both.agree(&Operation::Freeze);
        both.agree(&Operation::Freeze);
        for _ in 0..20 {
            both.agree(&operation(rng, &both, &spec, key));
        }
        both.agree_on_everything();
    });
}

fn operation(rng: &mut Rng, both: &Both, spec: &MapSpec, key: fn(&mut Rng, &MapSpec) -> Vec<u8>) -> Operation {
    let key = key(rng, spec);
    // Mostly none, else all that are known and some that aren't.
    let flags = any(rng, &[0, 0, 0, 0, 1, 2, 3, 4, 5, 8, 1 << 40]);
    match rng.u32(0..10) {
        0..2 => Operation::Lookup(key, if rng.bool() { 0 } else { flags }),
        2 => Operation::Take(key, if rng.bool() { 0 } else { flags }),
        3 => Operation::Delete(key),
        4 => Operation::NextKey(rng.bool().then_some(key)),
        _ => {
            let cpus = sklookup_kernel::possible_cpus().unwrap() as usize;
            let size = match both.engine.info().kind.is_per_cpu() {
                true => spec.value_size.next_multiple_of(8) as usize * cpus,
                false => spec.value_size as usize,
            };
            Operation::Update(key, value(rng, size), flags)
        }
    }
}

fn spec(rng: &mut Rng, kind: MapType, key_size: u32, entries: u32) -> MapSpec {
    MapSpec::new("map", kind, key_size, any(rng, &[1, 4, 6, 8, 16, 20]), entries)
}

/// Some beyond the last.
fn index(rng: &mut Rng, spec: &MapSpec) -> Vec<u8> {
    any(rng, &[0, 1, 2, spec.max_entries - 1, spec.max_entries, u32::MAX]).to_ne_bytes().to_vec()
}

/// One of a few, so that they meet.
fn key(rng: &mut Rng, spec: &MapSpec) -> Vec<u8> {
    let mut key = vec![0; spec.key_size as usize];
    key[0] = rng.u8(0..7);
    key
}

/// Of few different bits, of any length and a little too long, with bits behind the prefix.
fn prefix(rng: &mut Rng, spec: &MapSpec) -> Vec<u8> {
    let bits = (spec.key_size - 4) * 8;
    let mut key = rng.u32(0..=bits + 1).to_ne_bytes().to_vec();
    key.extend((4..spec.key_size).map(|_| any(rng, &[0u8, 0x80, 0xc0, 0xff, 1])));
    key
}

fn value(rng: &mut Rng, size: usize) -> Vec<u8> {
    (0..size).map(|_| rng.u8(..)).collect()
}

pub(crate) fn any<T: Copy>(rng: &mut Rng, of: &[T]) -> T {
    of[rng.usize(..of.len())]
}
