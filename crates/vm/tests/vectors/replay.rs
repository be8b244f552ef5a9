//! The stored vectors on the interpreter.

use sklookup_bpf::{MapSpec, MapType, Size, parse};
use sklookup_vm::{Instructions, Map, Nowhere, Program, Refused, Rules, update};

use super::file::{Recorded, stored};
use super::forms::{Form, Memory, State, program};

/// No form takes more.
const BUDGET: u64 = 1000;

pub(crate) fn on_a_map_value() {
    replay(Memory::MapValue);
}

pub(crate) fn on_the_stack() {
    replay(Memory::Stack);
}

/// What the kernel doesn't load, the interpreter doesn't either by Linux's rules, and runs by those of the standard.
pub(crate) fn refused_as_linux_does() {
    for Recorded { form, .. } in stored() {
        let loaded = load(&form, Memory::MapValue, Instructions::Linux);
        assert_eq!(loaded.is_err(), form.refused.is_some(), "{}: {loaded:?}", form.code);
    }
}

/// What can be called: maps are looked up, and that is all that a form does with the world.
pub(crate) fn rules(instructions: Instructions) -> Rules {
    Rules { instructions, helpers: &[1], context: |_: i64, _: Size| false }
}

/// The map that a form finds its state in and leaves it in.
pub(crate) fn cells() -> MapSpec {
    MapSpec::new("cells", MapType::Array, 4, 24, 1)
}

pub(crate) fn to_bytes(state: &State) -> Vec<u8> {
    state.iter().flat_map(|number| number.to_ne_bytes()).collect()
}

pub(crate) fn from_bytes(bytes: &[u8]) -> State {
    let (numbers, _) = bytes.as_chunks::<8>();
    [numbers[0], numbers[1], numbers[2]].map(u64::from_ne_bytes)
}

fn replay(memory: Memory) {
    let mut wrong = Vec::new();
    for Recorded { form, vectors } in stored() {
        let (program, cells) =
            load(&form, memory, Instructions::All).unwrap_or_else(|refused| panic!("{}: {refused}", form.code));
        for (before, after) in vectors {
            cells.update(&[0; 4], &to_bytes(&before), update::ANY).unwrap();
            let outcome = program.run(&mut Nowhere, BUDGET);
            let found = from_bytes(&cells.lookup(&[0; 4], 0, &Nowhere).unwrap());
            if outcome.as_ref().map(|outcome| outcome.value) != Ok(1) || found != after {
                wrong.push(format!("{}: {before:x?} -> {found:x?}, not {after:x?}: {outcome:?}", form.code));
            }
        }
    }
    assert!(wrong.is_empty(), "{} vectors with memory in {memory:?}:\n{}", wrong.len(), wrong.join("\n"));
}

fn load(form: &Form, memory: Memory, instructions: Instructions) -> Result<(Program, Map), Refused> {
    let cells = Map::create(1, &cells(), 1, &sklookup_vm::Memory::new(1 << 16)).expect("an array of 24 bytes");
    let parsed = program(&form.code, memory);
    Ok((Program::load(&parsed.insns, std::slice::from_ref(&cells), &rules(instructions))?, cells))
}

/// A program of these instructions, without a map.
pub(crate) fn load_plain(text: &str) -> Result<Program, Refused> {
    Program::load(&parse(text).expect(text).insns, &[], &rules(Instructions::All))
}
