//! What programs do with a map: the same programs, loaded on both sides.

use std::os::fd::AsFd;

use fastrand::Rng;
use rustix::thread::{CpuSet, sched_setaffinity};
use sklookup_bpf::{MapSpec, MapType, ProgramSpec, ProgramType};
use sklookup_engine::{self as engine, Machine};
use sklookup_kernel as kernel;

use crate::both::Both;
use crate::bytes::any;

/// Where things lie in the map that programs are told by and answer to.
const FLAGS: usize = 0;
const ANSWER: usize = 8;
const KEY: usize = 16;
const VALUE: usize = 32;
const FOUND: usize = 64;
const SIZE: usize = 96;

/// An operation as a program, on both sides.
struct Program {
    name: &'static str,
    kernel: kernel::Program,
    engine: engine::Program,
}

/// The programs of a map.
pub(crate) struct Programs {
    /// `None` for maps that programs can't be given.
    programs: Vec<Program>,
    arguments: Both,
}

impl Programs {
    pub(crate) fn load(machine: &Machine, map: &Both, spec: &MapSpec) -> Programs {
        // The engine's programs run on CPU 0.
        let mut first = CpuSet::new();
        first.set(0);
        sched_setaffinity(None, &first).unwrap();
        let arguments = Both::create(machine, &MapSpec::new("arguments", MapType::Array, 4, SIZE as u32, 1));
        let update = "r3 = r6\nr3 += 32\nr4 = *(u64 *)(r6 +0)\ncall bpf_map_update_elem\n*(u64 *)(r6 +8) = r0";
        let delete = "call bpf_map_delete_elem\n*(u64 *)(r6 +8) = r0";
        let lookup = copied("call bpf_map_lookup_elem", spec.value_size);
        let of_cpu = copied("r3 = *(u64 *)(r6 +0)\ncall bpf_map_lookup_percpu_elem", spec.value_size);
        let mut wanted = vec![("update", update.to_owned()), ("delete", delete.to_owned()), ("lookup", lookup)];
        if spec.kind.is_per_cpu() {
            wanted.push(("lookup of a CPU", of_cpu));
        }
        let load = |(name, text): (&'static str, String)| {
            let text =
                format!("r6 = map[arguments][0]+0 ll\nr1 = map[map] ll\nr2 = r6\nr2 += {KEY}\n{text}\nr0 = 1\nexit");
            let spec = ProgramSpec::from_text("operation", ProgramType::SkLookup, &text).unwrap();
            let in_kernel = [arguments.kernel.as_fd(), map.kernel.as_fd()];
            let kernel = kernel::Program::load(&spec, &in_kernel).unwrap_or_else(|e| panic!("{text}\n{}", e.tail()));
            let engine = engine::Program::load(machine, &spec, &[&arguments.engine, &map.engine]).unwrap();
            Program { name, kernel, engine }
        };
        let programs = wanted.into_iter().map(load).collect();
        Programs { programs, arguments }
    }

    /// Runs one of them on both sides.
    pub(crate) fn agree(&self, rng: &mut Rng, key: &[u8], value: &[u8]) {
        let program = &self.programs[rng.usize(..self.programs.len())];
        let mut arguments = vec![0; SIZE];
        let flags: u64 = any(rng, &[0, 0, 0, 1, 2, 3, 4, 77]);
        arguments[FLAGS..ANSWER].copy_from_slice(&flags.to_ne_bytes());
        arguments[KEY..KEY + key.len()].copy_from_slice(key);
        arguments[VALUE..VALUE + value.len()].copy_from_slice(value);
        self.arguments.kernel.set_value(&arguments).unwrap();
        self.arguments.engine.set_value(&arguments).unwrap();
        let (source, destination) = ("192.0.2.1:1".parse().unwrap(), "192.0.2.2:2".parse().unwrap());
        program.kernel.test_run(&kernel::Context { protocol: 6, source, destination }, 1).unwrap();
        program.engine.test_run(&engine::Context { protocol: 6, source, destination }, 1).unwrap();
        let (engine, kernel) = (self.arguments.engine.value().unwrap(), self.arguments.kernel.value().unwrap());
        let name = program.name;
        assert_eq!(engine, kernel, "{name} of {key:?} with {flags}: the engine first, the kernel second");
    }
}

/// What a lookup found, copied byte by byte; 1 in the answer if there was something.
fn copied(lookup: &str, size: u32) -> String {
    let copy = |at: u32| format!("r1 = *(u8 *)(r0 +{at})\n*(u8 *)(r6 +{}) = r1\n", FOUND as u32 + at);
    let copy: String = (0..size).map(copy).collect();
    format!("{lookup}\nif r0 == 0 goto missing\n{copy}r1 = 1\n*(u64 *)(r6 +8) = r1\nmissing:")
}
