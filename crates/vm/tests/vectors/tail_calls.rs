//! Tail calls, on the kernel and on the interpreter. From subprograms the kernel takes them only with BTF, which programs
//! in the text form don't have.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd};

use sklookup_bpf::{Code, MapSpec, MapType, Parsed, ProgramSpec, ProgramType, parse};
use sklookup_kernel as kernel;
use sklookup_vm::{Instructions, Map, Memory, Nowhere, Program, Rules, update};

use super::oracle::packet;
use super::replay::{cells, from_bytes};

/// A program that is started, and the one that it finds at index 0; at index 1 there is none. Both have the maps
/// `cells` and `programs`.
const CASES: [(&str, &str); 2] = [
    // There are 33 in a run.
    (COUNT, COUNT),
    // What finds no program is not counted: after forty, one succeeds.
    (
        "r6 = r1\nr7 = 40\nagain: r1 = r6\nr2 = map[programs] ll\nr3 = 1\ncall bpf_tail_call\nr7 -= 1\n\
         if r7 != 0 goto again\nr1 = r6\nr2 = map[programs] ll\nr3 = 0\ncall bpf_tail_call\nr0 = 1\nexit",
        "r7 = map[cells][0]+0 ll\n*(u64 *)(r7 +0) = 5\nr0 = 1\nexit",
    ),
];

const COUNT: &str = "r2 = map[cells][0]+0 ll\nr3 = 1\nlock *(u64 *)(r2 +0) += r3\n\
                     r2 = map[programs] ll\nr3 = 0\ncall bpf_tail_call\nr0 = 1\nexit";

pub(crate) fn are_as_in_the_kernel() {
    for (first, other) in CASES {
        assert_eq!(on_the_interpreter(first, other), on_the_kernel(first, other), "{first}");
    }
}

fn programs() -> MapSpec {
    MapSpec::new("programs", MapType::ProgArray, 4, 4, 2)
}

fn parsed(text: &str) -> Parsed {
    parse(&format!(".map cells\n.map programs\n{text}")).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn on_the_interpreter(first: &str, other: &str) -> [u64; 3] {
    let memory = Memory::new(1 << 20);
    let maps = [cells(), programs()].map(|spec| Map::create(1, &spec, 1, &memory).unwrap());
    let rules = Rules { instructions: Instructions::Linux, helpers: &[12], context: |_, _| false };
    let load = |text| Program::load(&parsed(text).insns, &maps, &rules).unwrap();
    maps[1].update_program(&[0; 4], (ProgramType::SkLookup, 1, &load(other)), update::ANY).unwrap();
    load(first).run(&mut Nowhere, 100_000).unwrap();
    from_bytes(&maps[0].lookup(&[0; 4], 0, &Nowhere).unwrap())
}

fn on_the_kernel(first: &str, other: &str) -> [u64; 3] {
    let maps = [cells(), programs()].map(|spec| kernel::Map::create(&spec).unwrap());
    let fds = [maps[0].as_fd(), maps[1].as_fd()];
    let load = |text| {
        let Parsed { insns, maps } = parsed(text);
        let spec = ProgramSpec::sk_lookup("tail", Code { insns, notes: BTreeMap::new() }, maps);
        kernel::Program::load(&spec, &fds).unwrap_or_else(|error| panic!("{}", error.tail()))
    };
    let other = load(other);
    maps[1].update(&[0; 4], &other.as_fd().as_raw_fd().to_ne_bytes(), 0).unwrap();
    load(first).test_run(&packet(), 1).unwrap();
    from_bytes(&maps[0].value().unwrap())
}
