//! Tail calls: who goes on, where it ends, and what is left of the caller.

use sklookup_bpf::{MapSpec, MapType, ProgramType};
use sklookup_vm::{Map, Memory, Program, update};

use super::{Plain, load};

const BUDGET: u64 = 10_000;

fn programs() -> Map {
    Map::create(1, &MapSpec::new("programs", MapType::ProgArray, 4, 4, 2), 1, &Memory::new(1 << 20)).unwrap()
}

fn put(programs: &Map, index: u32, program: &Program) {
    programs.update_program(&index.to_ne_bytes(), (ProgramType::SkLookup, 1, program), update::ANY).unwrap();
}

/// One number, in a map of this name.
fn number(name: &str, value: u64) -> Map {
    let map = Map::create(2, &MapSpec::new(name, MapType::Array, 4, 8, 1), 1, &Memory::new(1 << 20)).unwrap();
    map.update(&[0; 4], &value.to_ne_bytes(), update::ANY).unwrap();
    map
}

fn tail_call(index: u32) -> String {
    format!("r2 = map[programs] ll\nr3 = {index}\ncall bpf_tail_call")
}

fn run(program: &Program) -> Result<u64, String> {
    program.run(&mut Plain { cpu: 0 }, BUDGET).map(|outcome| outcome.value).map_err(|fault| fault.to_string())
}

#[test]
fn the_called_program_goes_on_in_the_place_of_the_caller() {
    let programs = programs();
    put(&programs, 1, &load("r0 = *(u8 *)(r1 +0)\nexit", &[]));
    assert_eq!(run(&load(&format!("{}\nr0 = 7\nexit", tail_call(1)), &[&programs])), Ok(0x80));
}

#[test]
fn where_no_program_is_the_caller_goes_on() {
    let programs = programs();
    for index in [0, 2, u32::MAX as i32] {
        let text = format!("r6 = 5\nr2 = map[programs] ll\nr3 = {index}\ncall bpf_tail_call\nr0 = r6\nexit");
        assert_eq!(run(&load(&text, &[&programs])), Ok(5), "{index}");
    }
    let told = run(&load(&format!("{}\nexit", tail_call(0)), &[&programs])).unwrap_err();
    assert!(told.contains("`exit` reads r0, which nothing was written to"), "{told}");
}

#[test]
fn there_are_33_tail_calls_in_a_run() {
    let (programs, count) = (programs(), number("count", 0));
    let text = format!(
        "r2 = map[count][0]+0 ll\nr3 = 1\nlock *(u64 *)(r2 +0) += r3\n{}\n\
         r2 = map[count][0]+0 ll\nr0 = *(u64 *)(r2 +0)\nexit",
        tail_call(0)
    );
    let program = load(&text, &[&programs, &count]);
    put(&programs, 0, &program);
    assert_eq!(run(&program), Ok(34));
}

#[test]
fn each_program_has_its_own_maps_and_who_called_a_subprogram_is_returned_to() {
    let (programs, one, two) = (programs(), number("one", 100), number("two", 20));
    put(&programs, 0, &load("r6 = 9\nr1 = map[two][0]+0 ll\nr0 = *(u64 *)(r1 +0)\nexit", &[&two]));
    let text = format!(
        "r6 = 3\ncall sub\nr1 = map[one][0]+0 ll\nr1 = *(u64 *)(r1 +0)\nr0 += r1\nr0 += r6\nexit\n\
         sub: {}\nr0 = 0\nexit",
        tail_call(0)
    );
    assert_eq!(run(&load(&text, &[&one, &programs])), Ok(123));
}

#[test]
fn the_called_program_finds_nothing_of_its_caller_but_the_context() {
    let programs = programs();
    for (text, told) in [
        ("r0 = r6\nexit", "after a tail call, slot 0: `r0 = r6` reads r6, which nothing was written to"),
        ("r0 = r2\nexit", "reads r2"),
    ] {
        put(&programs, 0, &load(text, &[]));
        let caller = load(&format!("r6 = 1\n*(u64 *)(r10 -8) = 1\n{}\nr0 = 0\nexit", tail_call(0)), &[&programs]);
        let fault = run(&caller).unwrap_err();
        assert!(fault.contains(told), "{fault}");
        put(&programs, 0, &load("r0 = *(u64 *)(r10 -8)\nexit", &[]));
        assert_eq!(run(&caller), Ok(0));
    }
}

#[test]
fn all_programs_of_a_run_share_one_budget() {
    let programs = programs();
    put(&programs, 0, &load("again: goto again", &[]));
    let told = run(&load(&format!("{}\nr0 = 0\nexit", tail_call(0)), &[&programs])).unwrap_err();
    assert!(told.contains("after a tail call, slot 0: `goto pc-1` is reached after 10000 instructions"), "{told}");
}

#[test]
fn what_a_tail_call_may_not_be_given_is_told() {
    let (programs, one) = (programs(), number("one", 0));
    for (text, told) in [
        ("r1 = r10\nr2 = map[programs] ll\nr3 = 0\ncall bpf_tail_call", "where the context as it came has to be"),
        ("r2 = map[one] ll\nr3 = 0\ncall bpf_tail_call", "gives `one` of type array in r2, which bpf_tail_call#12"),
        (
            "r6 = r1\nr1 = 1\nr2 = subprog[back] ll\nr3 = r6\nr4 = 0\ncall bpf_loop\nr0 = 0\nexit\n\
             back: r1 = r2\nr2 = map[programs] ll\nr3 = 0\ncall bpf_tail_call",
            "is a tail call from a callback",
        ),
    ] {
        let fault = run(&load(&format!("{text}\nr0 = 0\nexit"), &[&programs, &one])).unwrap_err();
        assert!(fault.contains(told), "{fault}");
    }
}
