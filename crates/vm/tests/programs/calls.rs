//! Calls: of subprograms, by register, and back from a helper.

use sklookup_bpf::parse;
use sklookup_vm::{Instructions, Nowhere, Program, Rules};

use super::{RULES, broke_off, run};

#[test]
fn a_subprogram_has_a_stack_of_its_own_and_keeps_the_callers_registers() {
    let text = "
        r6 = 1
        *(u64 *)(r10 -8) = 2
        r1 = r10
        r1 += -8
        call sub
        r1 = *(u64 *)(r10 -8)
        r0 += r1
        r0 += r6
        exit
        sub:
        r6 = 100
        *(u64 *)(r10 -8) = 200
        *(u64 *)(r1 +0) = 30
        r0 = 400
        exit";
    assert_eq!(run(text), 431);
}

#[test]
fn calls_nest_eight_deep() {
    let text = |depth: u32| format!("r1 = {depth}\nsub: r0 = r1\nif r1 == 1 goto end\nr1 -= 1\ncall sub\nend: exit");
    assert_eq!(run(&text(8)), 1);
    assert!(broke_off(&text(9), &[]).contains("is a call within 8 calls"));
}

/// What a run comes to that may have calls by register.
fn run_all(text: &str) -> Result<u64, String> {
    let rules = Rules { instructions: Instructions::All, ..RULES };
    let program = Program::load(&parse(text).unwrap().insns, &[], &rules).map_err(|refused| refused.to_string())?;
    program.run(&mut Nowhere, 1000).map(|outcome| outcome.value).map_err(|fault| fault.to_string())
}

#[test]
fn a_register_calls_the_subprogram_or_the_helper_that_it_holds() {
    assert_eq!(run_all("r1 = 4\nr6 = subprog[twice] ll\ncallx r6\nexit\ntwice: r0 = r1\nr0 *= 2\nexit"), Ok(8));
    assert_eq!(run_all("r2 = 8\nr0 = 7\ncallx r2\nexit"), Ok(0));
    for (text, told) in [
        ("r2 = 6\ncallx r2\nexit", "calls helper 6, which a program of this type cannot use"),
        ("r2 = -1\ncallx r2\nexit", "calls helper 18446744073709551615"),
        (
            "callx r10\nexit",
            "calls a pointer to the stack in r10, where a subprogram or the number of a helper has to be",
        ),
        ("r2 = subprog[at] ll\nr2 += 1\ncallx r2\nat: exit", "calls a pointer to a subprogram in r2"),
        ("r2 = subprog[at] ll\nr0 = *(u64 *)(r2 +0)\nat: exit", "reads 8 bytes at offset 0 of a subprogram"),
    ] {
        let fault = run_all(text).expect_err(text);
        assert!(fault.contains(told), "{fault}");
    }
}

#[test]
fn linux_refuses_what_the_standard_defines_and_looks_like_a_mistake() {
    for (insn, told) in [
        ("r1 <<= 64", "shifts 64 bits by the constant 64"),
        ("r1 s>>= -1", "shifts 64 bits by the constant -1"),
        ("w1 >>= 32", "shifts 32 bits by the constant 32"),
        ("w1 s/= 0", "divides by the constant 0"),
        ("r1 %= 0", "divides by the constant 0"),
        ("callx r1", "calls what a register holds: unknown opcode 8d"),
    ] {
        let text = format!("r1 = 5\n{insn}\nr0 = 0\nexit");
        let refused = Program::load(&parse(&text).unwrap().insns, &[], &RULES).unwrap_err();
        assert_eq!(
            (refused.to_string(), refused.errno.name()),
            (format!("slot 1: `{insn}` {told}"), "EINVAL".to_owned())
        );
    }
    assert_eq!(run_all("r0 = 5\nr0 <<= 65\nr0 s%= 0\nexit"), Ok(10));
}

#[test]
fn the_stack_of_a_call_that_has_returned_is_gone() {
    for access in ["r0 = *(u64 *)(r0 -8)", "*(u64 *)(r0 -8) = 1"] {
        let fault = broke_off(&format!("call sub\n{access}\nr0 = 0\nexit\nsub: r0 = r10\nexit"), &[]);
        assert!(fault.contains("accesses the stack of a call that has returned"), "{fault}");
    }
}
