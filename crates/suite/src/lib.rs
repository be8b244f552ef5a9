//! Cases that state how sk_lookup behaves, and what runs them.
//!
//! A [`Case`] is a world - sockets, maps, programs, links - and steps with what must come of each: who gets a packet, what
//! a call answers. [`load`] reads a file of them (`docs/cases.md` has the format), an [`Executor`] plays one, and a
//! [`Report`] says what came of all. The same case runs on every executor; [`Kernel`] is the one that outranks the others.
//! A new one implements [`Host`], the calls of a kernel by the names that cases use, and [`play`] does the rest.
//!
//! It is not a test harness of its own: `cargo test` and `sklookup test` both call it.
//!
//! ```
//! use sklookup_suite::{Verdict, load};
//!
//! let text = r#"
//!     [[case]]
//!     name     = "a-program-that-drops-refuses"
//!     socket.A = "tcp 127.0.0.1:7007"
//!     program.drop = "r0 = 0\nexit"
//!     link     = ["drop"]
//!     step     = [{ packet = "tcp 127.0.0.1:* > 127.0.0.1:7007", expect = "reset" }]
//! "#;
//! let cases = load(text, "cases.toml").unwrap();
//! assert_eq!(cases[0].name, "a-program-that-drops-refuses");
//! assert_eq!(cases[0].steps.len(), 1);
//! ```

#![forbid(unsafe_code)]

mod bytes;
pub mod case;
mod engine;
mod errno;
mod executor;
mod files;
mod host;
mod kernel;
mod load;
mod play;
mod report;

pub use bytes::Bytes;
pub use case::Case;
pub use engine::Engine;
pub use errno::Errno;
pub use executor::{Executor, Verdict, run};
pub use files::{case_files, read_cases, read_object};
pub use host::{Delivery, Host, LinkState, LoadRefusal, Outcome, Refusal};
pub use kernel::Kernel;
pub use load::{MAX_CASES, MAX_FILE_BYTES, load, load_with};
pub use play::{Stop, play};
pub use report::{Report, Row};
