//! Commands as typed, and every command there is.

use std::process::Command;

use sklookup_testbed::{Leftovers, Sandbox, Trace};

use crate::command::Ran;

/// The command, in the namespaces of this thread; what it makes is written down in the `/run` of the sandbox.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = crate::command::command(arguments);
    trace().of(&mut command);
    command
}

/// Runs it to its end.
pub fn sklookup(arguments: &[&str]) -> Ran {
    command(arguments).output().unwrap().into()
}

/// Runs a command line; no word has a blank in it.
pub fn typed(line: &str) -> Ran {
    sklookup(&line.split(' ').collect::<Vec<_>>())
}

/// Nothing of sklookup is left: no name in the bpffs but these, nothing on the hook, none of the objects that were made.
pub fn assert_left(sandbox: &Sandbox, pins: &[&str]) {
    let pins = pins.iter().map(ToString::to_string).collect();
    assert_eq!(Leftovers::of(sandbox, &trace()), Leftovers { pins, ..Leftovers::default() });
}

fn trace() -> Trace {
    Trace::new("/run/trace")
}

/// Runs a command line that has to work.
pub fn done(line: &str) -> Ran {
    let ran = typed(line);
    assert_eq!(ran.exit, 0, "{line}: {ran:?}");
    ran
}

/// Runs a command line that can't.
pub fn refused(line: &str, fact: &str) {
    let ran = typed(line);
    assert!(ran.exit == 2 && ran.stdout.is_empty() && ran.stderr.contains(fact), "{line}: {ran:?}");
}

/// Writes a policy file of this name.
pub fn policy(sandbox: &Sandbox, name: &str, text: &str) -> String {
    let file = sandbox.scratch.join(name);
    std::fs::write(&file, text).unwrap();
    file.to_str().unwrap().to_owned()
}

/// A command line for every command that prints an answer, in an order in which they can run one after the other.
pub fn every_command(policy: &str, pid: u32) -> Vec<Vec<String>> {
    let pid = pid.to_string();
    let [capture, object] = ["captures/ethernet.pcap", "objects/clang-19-v3/assign.o"].map(testdata);
    let lines: [&[&str]; 31] = [
        &["check", policy],
        &["check", policy, "--packet", "tcp 127.0.0.1:9 > 127.7.0.1:80"],
        &["doctor"],
        &["status"],
        &["apply", policy, "--dry-run"],
        &["apply", policy],
        &["diff", policy],
        &["diff", policy, policy],
        &["bind", "web", "tcp", "127.8.0.0/16", "80"],
        &["register", "web", "--pid", &pid],
        &["status"],
        &["list"],
        &["export"],
        &["explain", "tcp 127.0.0.1:9 > 127.8.0.1:80"],
        &["explain", "tcp 127.0.0.1:9 > 127.8.0.1:80", "--run-others"],
        &["explain", "--ports", "127.8.0.1"],
        &["explain", "--to", "web"],
        &["explain", "--to", "pid", &pid],
        &["explain", "--to", "tcp"],
        &["replay", &capture],
        &["replay", &capture, "--policy", policy, "--against", "live"],
        &["metrics", "--textfile", "-"],
        &["attach", &object],
        &["programs"],
        &["detach", "assign"],
        &["upgrade"],
        &["unregister", "web"],
        &["unbind", "web", "tcp", "127.8.0.0/16", "80"],
        &["completions", "bash"],
        &["man"],
        &["unload"],
    ];
    lines.iter().map(|line| line.iter().map(ToString::to_string).collect()).collect()
}

/// A file of the tests.
pub fn testdata(file: &str) -> String {
    format!("{}/../../testdata/{file}", env!("CARGO_MANIFEST_DIR"))
}
