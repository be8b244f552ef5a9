//! Maps that hold maps and programs.

use fastrand::Rng;
use sklookup_bpf::{MapFlags, MapSpec, MapType, ProgramSpec, ProgramType};
use sklookup_engine::{self as engine};
use sklookup_kernel as kernel;
use sklookup_testbed::Sandbox;

use crate::both::{Both, Operation, machine, of_engine, of_kernel, same};
use crate::bytes::any;
use crate::with_seeds;

const OPERATIONS: usize = 60;
const SEEDS: u64 = 10;

pub(crate) fn maps_of_maps(_: &Sandbox) {
    with_seeds(SEEDS, |rng| {
        let machine = machine();
        let inner = match rng.u32(0..4) {
            0 => MapSpec::new("inner", MapType::Hash, 4, 8, 4),
            1 => MapSpec { flags: MapFlags::INNER_MAP, ..MapSpec::new("inner", MapType::Array, 4, 8, 4) },
            2 => MapSpec::new("inner", MapType::PercpuArray, 4, 8, 4),
            _ => MapSpec::new("inner", MapType::Array, 4, 8, 4),
        };
        let candidates: Vec<Both> = [
            inner.clone(),
            inner.clone(),
            MapSpec { max_entries: 5, ..inner.clone() },
            MapSpec { value_size: 4, ..inner.clone() },
            MapSpec { flags: MapFlags::RDONLY_PROG, ..inner.clone() },
            MapSpec::new("other", MapType::Array, 4, 8, 4),
            MapSpec::new("other", MapType::LruHash, 4, 8, 4),
        ]
        .iter()
        .map(|spec| Both::create(&machine, spec))
        .collect();
        let kind = any(rng, &[MapType::ArrayOfMaps, MapType::HashOfMaps]);
        let spec = MapSpec { inner: Some(Box::new(inner)), ..MapSpec::new("outer", kind, 4, 4, 3) };
        eprintln!("{spec:?}");
        let both = Both::create(&machine, &spec);
        for _ in 0..OPERATIONS {
            let key = key(rng);
            if rng.bool() {
                let flags = any(rng, &[0, 0, 0, 1, 2, 3, 4, 8]);
                let at = rng.usize(..candidates.len());
                let engine = both.engine.update_map(&key, &candidates[at].engine, flags);
                let kernel = both.kernel.update_map(&key, &candidates[at].kernel, flags);
                same((at, &key, flags), &of_engine(engine), &of_kernel(kernel));
            }
            agree_on_others(rng, &both, &key);
            let engine = of_engine(both.engine.lookup(&key, 0))
                .map(|id| candidates.iter().position(|map| map.engine.id().to_ne_bytes() == *id).unwrap());
            let kernel = of_kernel(both.kernel.lookup(&key, 0))
                .map(|id| candidates.iter().position(|map| map.kernel.id().to_ne_bytes() == *id).unwrap());
            same(("which of them", &key), &engine, &kernel);
        }
    });
}

pub(crate) fn arrays_of_programs(_: &Sandbox) {
    with_seeds(SEEDS, |rng| {
        let machine = machine();
        let both = Both::create(&machine, &MapSpec::new("programs", MapType::ProgArray, 4, 4, 3));
        let programs: Vec<(engine::Program, kernel::Program)> =
            [ProgramType::SkLookup, ProgramType::SkLookup, ProgramType::SkReuseport]
                .map(|kind| {
                    let spec = ProgramSpec::from_text("program", kind, "r0 = 1\nexit").unwrap();
                    let kernel = kernel::Program::load(&spec, &[]).unwrap_or_else(|error| panic!("{}", error.tail()));
                    (engine::Program::load(&machine, &spec, &[]).unwrap(), kernel)
                })
                .into();
        for _ in 0..OPERATIONS {
            let key = key(rng);
            if rng.bool() {
                let (flags, at) = (any(rng, &[0, 0, 0, 1, 2, 4]), rng.usize(..programs.len()));
                let index = u32::from_ne_bytes(key.as_slice().try_into().unwrap());
                let engine = both.engine.update_program(index, &programs[at].0, flags);
                let kernel = both.kernel.update_program(index, &programs[at].1, flags);
                same((at, index, flags), &of_engine(engine), &of_kernel(kernel));
            }
            agree_on_others(rng, &both, &key);
            let engine = of_engine(both.engine.lookup(&key, 0))
                .map(|id| programs.iter().position(|(program, _)| program.id().to_ne_bytes() == *id).unwrap());
            let kernel = of_kernel(both.kernel.lookup(&key, 0))
                .map(|id| programs.iter().position(|(_, program)| program.id().to_ne_bytes() == *id).unwrap());
            same(("which of them", &key), &engine, &kernel);
        }
    });
}

/// What is no update, and needs no translation of ids.
fn agree_on_others(rng: &mut Rng, both: &Both, key: &[u8]) {
    match rng.u32(0..8) {
        0 => both.agree(&Operation::Delete(key.to_vec())),
        1 => both.agree(&Operation::NextKey(rng.bool().then(|| key.to_vec()))),
        2 => {
            let present = both.kernel.lookup(key, 0).is_ok();
            if !present || !matches!(both.engine.info().kind, MapType::HashOfMaps) {
                both.agree(&Operation::Take(key.to_vec(), any(rng, &[0, 1, 4])));
            }
        }
        3 if rng.u32(0..10) == 0 => both.agree(&Operation::Freeze),
        _ => {}
    }
}

fn key(rng: &mut Rng) -> Vec<u8> {
    any(rng, &[0u32, 1, 2, 3, u32::MAX]).to_ne_bytes().to_vec()
}
