//! Commands as typed, and every command there is.

use sklookup_testbed::Sandbox;

use crate::command::{Ran, sklookup};

/// Runs a command line; no word has a blank in it.
pub fn typed(line: &str) -> Ran {
    sklookup(&line.split(' ').collect::<Vec<_>>())
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
    let lines: [&[&str]; 19] = [
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
        &["upgrade"],
        &["unregister", "web"],
        &["unbind", "web", "tcp", "127.8.0.0/16", "80"],
        &["completions", "bash"],
        &["man"],
        &["unload"],
    ];
    lines.iter().map(|line| line.iter().map(ToString::to_string).collect()).collect()
}
