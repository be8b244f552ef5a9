//! What a program did that no verified program does.

use sklookup_bpf::Insn;
use thiserror::Error;

/// A program broke off: it did what Linux refuses to load, or ran too long.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}slot {slot}: `{insn}` {what}", after(*tail_calls))]
pub struct Fault {
    /// Tail calls before it: with any, the program is another than the one that was started.
    pub tail_calls: u32,
    /// Slot of the instruction, from 0; a wide load takes two.
    pub slot: usize,
    /// The instruction.
    pub insn: Insn,
    /// It did nothing wrong but take more instructions than it may.
    pub out_of_budget: bool,
    /// What it did, as in "reads 4 bytes at offset 68 of the context".
    pub what: String,
}

fn after(tail_calls: u32) -> String {
    match tail_calls {
        0 => String::new(),
        1 => "after a tail call, ".to_owned(),
        n => format!("after {n} tail calls, "),
    }
}

/// What an instruction did, before anyone said which.
pub(crate) type Did<T> = Result<T, String>;
