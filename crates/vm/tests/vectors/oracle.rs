//! The kernel's answers.
//!
//! An sk_lookup program may return 0 or 1 only; what a form leaves goes to the value of a map.

use std::collections::BTreeMap;
use std::os::fd::AsFd;

use sklookup_bpf::{Code, Parsed, ProgramSpec};
use sklookup_kernel::{Context, LoadError, Map, Program};

use super::file::{Recorded, path, render};
use super::forms::{self, Form, Memory, State, program};
use super::replay::{cells, from_bytes, to_bytes};

/// Asks everything again: the stored answers are those that the kernel gives, or are made to be.
pub(crate) fn agrees_with_the_file() {
    let recorded: Vec<Recorded> = forms::all().into_iter().map(|(form, states)| ask(form, &states)).collect();
    let answers = render(&recorded);
    if std::env::var_os("SKLOOKUP_WRITE_VECTORS").is_some() {
        std::fs::write(path(), &answers).unwrap();
    }
    let stored = std::fs::read_to_string(path()).unwrap_or_default();
    let differing = answers.lines().zip(stored.lines()).position(|(now, then)| now != then);
    assert!(
        answers == stored,
        "the kernel answers otherwise than {} has it, first in line {}",
        path().display(),
        differing.unwrap_or(stored.lines().count()) + 1
    );
}

/// A packet to run on, which no program looks at.
pub(crate) fn packet() -> Context {
    Context { protocol: 6, source: "192.0.2.1:1".parse().unwrap(), destination: "192.0.2.2:2".parse().unwrap() }
}

fn ask(form: Form, states: &[State]) -> Recorded {
    let cells = Map::create(&cells()).unwrap();
    let spec = |code: &str| {
        let Parsed { insns, maps } = program(code, Memory::MapValue);
        ProgramSpec::sk_lookup("form", Code { insns, notes: BTreeMap::new() }, maps)
    };
    let load = |code: &str| -> Result<Program, LoadError> { Program::load(&spec(code), &[cells.as_fd()]) };
    if let Some(refused) = &form.refused {
        let error = load(&form.code).expect_err(&form.code);
        assert!(error.tail().contains(&refused.reason), "{}: {}", form.code, error.tail());
    }
    let program = load(form.asked()).unwrap_or_else(|error| panic!("{}: {}", form.asked(), error.tail()));
    let answer = |before: &State| {
        cells.set_value(&to_bytes(before)).unwrap();
        program.test_run(&packet(), 1).unwrap();
        (*before, from_bytes(&cells.value().unwrap()))
    };
    let vectors = states.iter().map(answer).collect();
    Recorded { form, vectors }
}
