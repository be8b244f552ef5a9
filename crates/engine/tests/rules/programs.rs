//! Programs in the text form.

/// Puts away the context; the first line of programs that assign.
pub const START: &str = "r6 = r1\n";

/// Returns this.
pub fn returning(verdict: u32) -> String {
    format!("r0 = {verdict}\nexit\n")
}

/// Looks up a slot of `sockets` and assigns what is there; R0 is the answer, and R7 the socket that was released. Programs
/// without anybody in the slot pass.
pub fn assign(slot: u32, flags: u64) -> String {
    format!(
        "*(u32 *)(r10 -4) = {slot}
        r1 = map[sockets] ll
        r2 = r10
        r2 += -4
        call bpf_map_lookup_elem
        if r0 != 0 goto found{slot}_{flags}
        r0 = 1
        exit
        found{slot}_{flags}:
        r7 = r0
        r1 = r6
        r2 = r7
        r3 = {flags} ll
        call bpf_sk_assign
        r8 = r0
        r1 = r7
        call bpf_sk_release
        r0 = r8\n"
    )
}

/// Assigns NULL.
pub fn assign_null(flags: u64) -> String {
    format!("r1 = r6\nr2 = 0\nr3 = {flags} ll\ncall bpf_sk_assign\n")
}

/// A program that assigns a slot and returns this.
pub fn selecting(slot: u32, flags: u64, verdict: u32) -> String {
    [START, &assign(slot, flags), &returning(verdict)].concat()
}

/// Notes R0 in the one value of the array `answer`.
pub const NOTE: &str = "r1 = map[answer][0]+0 ll
    *(u64 *)(r1 +0) = r0
";

/// A reuseport program that picks a slot of the map of this name, and drops if that fails.
pub fn picking(map: &str, slot: u32) -> String {
    format!(
        "*(u32 *)(r10 -4) = {slot}
        r2 = map[{map}] ll
        r3 = r10
        r3 += -4
        r4 = 0
        call bpf_sk_select_reuseport
        if r0 == 0 goto picked
        r0 = 0
        exit
        picked:
        r0 = 1
        exit"
    )
}
