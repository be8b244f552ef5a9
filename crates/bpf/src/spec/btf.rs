//! What the kernel may be told of a program or a map besides what it is made of: types of functions and values, and lines
//! of source. The engine has no use for any of it.

use std::sync::Arc;

/// The types of a program's functions, and where its instructions come from.
///
/// The kernel asks for it before it takes a program whose helpers call back, and quotes the source in its verifier's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramBtf {
    /// A section `.BTF` with all offsets in place, as `BPF_BTF_LOAD` takes it.
    pub types: Arc<[u8]>,
    /// Every function of the program, by its first slot.
    pub functions: Vec<FunctionInfo>,
    /// Lines of source, by slot; none, or some for every function.
    pub lines: Vec<LineInfo>,
}

/// The type of a function (`struct bpf_func_info`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FunctionInfo {
    /// Where the function begins.
    pub slot: u32,
    /// The number of its type.
    pub kind: u32,
}

/// Where an instruction comes from (`struct bpf_line_info`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineInfo {
    /// The first instruction of the line.
    pub slot: u32,
    /// The file's name, as a byte of the names in the types.
    pub file: u32,
    /// The text of the line, likewise.
    pub text: u32,
    /// The line in the upper 22 bits, the column in the lower 10.
    pub position: u32,
}

/// The types of a map's keys and values: the kernel finds spin locks and timers in values by them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapBtf {
    /// A section `.BTF` with all offsets in place.
    pub types: Arc<[u8]>,
    /// The number of the key's type.
    pub key: u32,
    /// The number of the value's type.
    pub value: u32,
}
