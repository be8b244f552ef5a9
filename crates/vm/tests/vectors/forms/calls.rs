//! Calls: RFC 9669, section 4.3, and the runner's callx.

use super::{Form, MIXED, State};

const UNKNOWN: &str = "unknown opcode 8d";

/// Reads R1's place of the state by key: 0 is the key, and the map has one value.
const BY_HELPER: &str = "*(u32 *)(r10 -20) = 0; r1 = map[cells] ll; r2 = r10; r2 += -20; CALL; r1 = 0; \
                         if r0 == 0 goto done; r1 = *(u64 *)(r0 +8); r0 = 1";

pub(super) fn forms() -> Vec<(Form, Vec<State>)> {
    let states = || vec![[1, 2, 3], [0, MIXED, u64::MAX]];
    let mut forms: Vec<(Form, Vec<State>)> = [
        // The result comes in R0.
        "call sub; r1 = 0 | sub: r0 = r1; r0 += 5; exit".to_owned(),
        // R6 to R9 are the caller's again.
        "r8 = r0; r9 = r1; call sub; r0 = r8; r1 = r9 | sub: r6 = 1; r7 = 2; r8 = 3; r9 = 4; r0 = 5; exit".to_owned(),
        // Each has a stack of its own, ...
        "*(u64 *)(r10 -16) = r0; call sub; r1 = *(u64 *)(r10 -16) \
         | sub: *(u64 *)(r10 -16) = r1; r0 = *(u64 *)(r10 -16); exit"
            .to_owned(),
        // ... which the called may be given.
        "*(u64 *)(r10 -16) = r1; r1 = r10; r1 += -16; call sub; r1 = *(u64 *)(r10 -16) \
         | sub: r0 = *(u64 *)(r1 +0); *(u64 *)(r1 +0) = 7; exit"
            .to_owned(),
        "r1 = r7; r2 = 5; call sub; r1 = 0 | sub: r0 = *(u64 *)(r1 +0); *(u64 *)(r1 +0) = r2; exit".to_owned(),
        // An exit in the middle.
        "call sub; r1 = 0 | sub: r0 = 1; if r1 == 2 goto out; exit; out: r0 = 2; exit".to_owned(),
        nested(),
        BY_HELPER.replace("CALL", "call bpf_map_lookup_elem"),
    ]
    .map(|code| (Form::of(code), states()))
    .into();
    for subprogram in ["sub: r0 = r1; r0 += 5; exit", "sub: r6 = 9; r0 = r6; exit"] {
        let code = format!("r2 = subprog[sub] ll; callx r2; r1 = 0 | {subprogram}");
        let asked = format!("call sub; r1 = 0 | {subprogram}");
        forms.push((Form::refused(code, UNKNOWN, asked), states()));
    }
    let by_number = BY_HELPER.replace("CALL", "r3 = 1; callx r3");
    forms.push((Form::refused(by_number, UNKNOWN, BY_HELPER.replace("CALL", "call bpf_map_lookup_elem")), states()));
    forms
}

/// As many calls within calls as there can be.
fn nested() -> String {
    let calls: String = (1..7).map(|n| format!("s{n}: r6 = r1; r1 += 1; call s{}; r0 += r6; exit; ", n + 1)).collect();
    format!("call s1; r1 = 0 | {calls}s7: r0 = r1; exit")
}
