//! BPF as data: instructions, programs and maps before any kernel has seen them.
//!
//! This crate holds the blueprints that the rest of sklookup passes around. [`Insn`] is one instruction as RFC 9669
//! defines it; [`Builder`] writes them with labels instead of offsets; [`ProgramSpec`] and [`MapSpec`] describe what is
//! to be loaded, the same bytes on every machine. [`decode`]
//! reads instructions back from bytes, [`parse`](parse()) from text, and [`ProgramSpec::listing`] shows them.
//! [`object`] reads programs and maps from what clang makes of C. [`abi`] has the layout of the context that an sk_lookup
//! program reads.
//!
//! It is not a loader: it opens no file and makes no system call.
//!
//! ```
//! use sklookup_bpf::{Builder, Cond, Reg, Size, abi};
//!
//! // Drop what goes to port 7007, leave everything else to the regular lookup.
//! let mut b = Builder::new();
//! let pass = b.label();
//! b.load(Size::B4, Reg::R2, Reg::R1, abi::context::LOCAL_PORT);
//! b.branch(Cond::Ne, Reg::R2, 7007, pass);
//! b.mov(Reg::R0, abi::SK_DROP);
//! b.exit();
//! b.place(pass);
//! b.mov(Reg::R0, abi::SK_PASS);
//! b.exit();
//! let code = b.finish().unwrap();
//! assert_eq!(code.insns.len(), 6);
//! ```

#![forbid(unsafe_code)]

pub mod abi;
mod builder;
mod decode;
mod encode;
mod helpers;
mod insn;
mod listing;
pub mod object;
mod spec;
mod text;

pub use builder::{BuildError, Builder, Code, Label};
pub use decode::{DecodeError, DecodeErrorKind, decode, decode_slots};
pub use encode::{Slot, encode, slots};
pub use helpers::{helper_name, helper_number};
pub use insn::{AluOp, AtomicOp, Callee, Cond, Insn, MapRef, Order, Reg, Size, Source, Wide, Width};
pub use listing::Listing;
pub use spec::{
    Contents, FunctionInfo, LineInfo, MapBtf, MapFlags, MapKind, MapSpec, MapType, ProgramBtf, ProgramSpec,
    ProgramType, map_kind, map_kinds,
};
pub use text::{ParseError, Parsed, parse};
