//! Runs BPF programs without a kernel: a reference interpreter, maps and helpers.
//!
//! [`Program::load`] prepares instructions and [`Program::run`] runs them against a [`Host`], which supplies the context,
//! sockets, time and randomness. Values are typed: a pointer is a region and an offset, never an address of the host, and
//! every access is checked, so no program can harm who runs it. What a verified program never does ends a run with a
//! [`Fault`] that says what it was and where.
//!
//! [`Map`] has the maps that sk_lookup programs use, with Linux's errnos.
//!
//! It is no verifier: a program is refused at load only for what can be seen without following values.

#![forbid(unsafe_code)]

mod context;
mod errno;
mod fault;
mod host;
mod map;
mod memory;
mod program;
mod run;
mod socket;
mod value;
mod words;

pub use errno::Errno;
pub use fault::Fault;
pub use host::{Host, Nowhere};
pub use map::{Map, Sockets, update};
pub use memory::{Memory, Taken};
pub use program::{Instructions, Program, Refused, Rules};
pub use run::{Helper, Outcome, helpers};
pub use socket::SocketId;
pub use value::{MapNumber, Pointer, RecordNumber, Region, Value};
