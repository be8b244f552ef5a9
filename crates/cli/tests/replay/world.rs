//! Captures and policies to ask about.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use crate::command::{Ran, command};

/// A capture under `testdata/captures`.
pub fn capture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/captures").join(name)
}

/// Runs `replay CAPTURE` with more arguments and a policy of these bindings on standard input.
pub fn replay(name: &str, bindings: &[&str], more: &[&str]) -> Ran {
    let file = capture(name);
    let arguments = [&["replay", file.to_str().unwrap(), "--policy", "-"], more].concat();
    let bindings: Vec<String> = bindings.iter().map(|line| format!("{line:?}")).collect();
    with_input(&arguments, format!("bindings = [{}]", bindings.join(", ")).as_bytes())
}

/// Runs a command to its end, with this on its standard input.
pub fn with_input(arguments: &[&str], input: &[u8]) -> Ran {
    let mut child = piped(arguments);
    // A command that has read enough may be gone.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap().into()
}

/// Starts a command with pipes all around.
pub fn piped(arguments: &[&str]) -> Child {
    command(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}
