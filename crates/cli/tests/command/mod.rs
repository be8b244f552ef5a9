//! Running the command from inside a sandbox, and what it said.

#![allow(dead_code)] // each test binary uses a part of it

use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// What a command did.
#[derive(Debug)]
pub struct Ran {
    /// Its exit status; -1 if a signal ended it.
    pub exit: i32,
    /// What it answered.
    pub stdout: String,
    /// What it said besides.
    pub stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Ran {
        Ran {
            exit: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).expect("answers are text"),
            stderr: String::from_utf8(output.stderr).expect("talk is text"),
        }
    }
}

/// The command, in the namespaces of this thread.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sklookup"));
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Runs it to its end.
pub fn sklookup(arguments: &[&str]) -> Ran {
    command(arguments).output().unwrap().into()
}

/// Runs it with `--json`; answers its exit status and its one document.
pub fn document(arguments: &[&str]) -> (i32, Value) {
    let ran = sklookup(&[&["--json"], arguments].concat());
    (ran.exit, one_document(&ran))
}

/// The one document on stdout.
pub fn one_document(ran: &Ran) -> Value {
    assert!(ran.stdout.ends_with('\n') && ran.stdout.lines().count() == 1, "{ran:?}");
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}
