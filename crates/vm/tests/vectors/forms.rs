//! What is asked: forms, and what they find.

mod arithmetic;
mod calls;
mod jumps;
mod memory;

use sklookup_bpf::{Insn, Parsed, parse};

/// R0, R1, and the 8 bytes of memory that R7 points to.
pub(crate) type State = [u64; 3];

/// Instructions to be asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Form {
    /// The instructions in the text form on one line, `; ` between them. After ` | `: subprograms.
    pub(crate) code: String,
    /// Where Linux doesn't load them: why, and what does the same.
    pub(crate) refused: Option<Refused>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    /// The end of the verifier's log.
    pub(crate) reason: String,
    /// What is asked in their place.
    pub(crate) asked: String,
}

/// Every form, with the states that it is to find.
pub(crate) fn all() -> Vec<(Form, Vec<State>)> {
    let mut all = arithmetic::forms();
    all.extend(memory::forms());
    all.extend(jumps::forms());
    all.extend(calls::forms());
    all
}

impl Form {
    fn of(code: impl Into<String>) -> Form {
        Form { code: code.into(), refused: None }
    }

    fn refused(code: impl Into<String>, reason: impl Into<String>, asked: impl Into<String>) -> Form {
        Form { code: code.into(), refused: Some(Refused { reason: reason.into(), asked: asked.into() }) }
    }

    /// What is asked of the kernel.
    pub(crate) fn asked(&self) -> &str {
        self.refused.as_ref().map_or(&self.code, |refused| &refused.asked)
    }

    /// Its instructions, without those around them.
    pub(crate) fn insns(&self) -> Vec<Insn> {
        parse(&with(&self.code, "", "done: exit")).unwrap_or_else(|error| panic!("{}: {error}", self.code)).insns
    }
}

/// A whole program, which finds its state in the one value of the map `cells` and leaves it there.
///
/// R6 points to the value. Operands come from memory, so that nobody can calculate with them before it runs.
pub(crate) fn program(code: &str, memory: Memory) -> Parsed {
    let (place, put_back) = match memory {
        Memory::MapValue => ("r7 = r6\nr7 += 16", ""),
        Memory::Stack => (
            "r7 = r10\nr7 += -8\nr2 = *(u64 *)(r6 +16)\n*(u64 *)(r7 +0) = r2",
            "r2 = *(u64 *)(r7 +0)\n*(u64 *)(r6 +16) = r2\n",
        ),
    };
    let before = format!(".map cells\nr6 = map[cells][0]+0 ll\n{place}\nr0 = *(u64 *)(r6 +0)\nr1 = *(u64 *)(r6 +8)\n");
    let after = format!("done: *(u64 *)(r6 +0) = r0\n*(u64 *)(r6 +8) = r1\n{put_back}r0 = 1\nexit");
    parse(&with(code, &before, &after)).unwrap_or_else(|error| panic!("{code}: {error}"))
}

/// Where R7 points to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Memory {
    MapValue,
    Stack,
}

fn with(code: &str, before: &str, after: &str) -> String {
    let (body, subprograms) = code.split_once(" | ").unwrap_or((code, ""));
    format!("{before}\n{}\n{after}\n{}", body.replace("; ", "\n"), subprograms.replace("; ", "\n"))
}

const MAX: u64 = u64::MAX;
const MIN: u64 = 1 << 63;
const MIXED: u64 = 0x0123_4567_89ab_cdef;
const MINUS_13: u64 = (-13i64) as u64;
const MINUS_3: u64 = (-3i64) as u64;

/// Two operands: nothing and all, carries in both halves, signs, the least number by -1.
const PAIRS: [(u64, u64); 22] = [
    (0, 0),
    (1, 0),
    (0, 1),
    (1, 1),
    (MAX, 1),
    (1, MAX),
    (MAX, MAX),
    (MIN, MAX),
    (MIN, 1),
    (MIN, 0),
    (MIN, MIN - 1),
    (MIN - 1, MIN - 1),
    (MIXED, !MIXED),
    (0xffff_ffff, 1),
    (0xffff_ffff, 0xffff_ffff),
    (0x8000_0000, 0xffff_ffff),
    (0xdead_beef_8000_0000, MAX),
    (0x7fff_ffff, 0xffff_ffff_8000_0000),
    (0x1_0000_0000, 0x1_0000_0000),
    (MINUS_13, 3),
    (13, MINUS_3),
    (MINUS_13, MINUS_3),
];

/// One operand.
const SINGLES: [u64; 8] = [0, 1, MAX, MIN, 0x8000_0000, 0xffff_ffff, MIXED, MINUS_13];

fn states_of_pairs() -> Vec<State> {
    PAIRS.iter().map(|(r0, r1)| [*r0, *r1, 0]).collect()
}

fn states_of_singles() -> Vec<State> {
    SINGLES.iter().map(|r0| [*r0, 0, 0]).collect()
}
