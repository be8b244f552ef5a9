//! The line on a terminal that says what a command is at.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use sklookup_testbed::Trial;

use crate::command::{Ran, command};

const ERASE: &str = "\r\x1b[K";
/// Keeps a terminal from beginning another line at its edge, and lets it do so again.
const ONE_LINE: [&str; 2] = ["\x1b[?7l", "\x1b[?7h"];

pub fn trials() -> Vec<Trial> {
    vec![Trial::test("progress::a_terminal_is_told_after_a_second_and_nobody_else", || {
        after_a_second();
        Ok(())
    })]
}

/// A terminal, and its other end for a command.
fn terminal() -> (File, File) {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    let path = ptsname(&ours, Vec::new()).unwrap();
    let theirs = rustix::fs::open(path, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).unwrap();
    (ours.into(), theirs.into())
}

/// `check` of a policy that is still to be written: it can't end before we want it to.
fn check(json: bool, term: &str, stderr: impl Into<Stdio>) -> Child {
    let arguments: &[&str] = if json { &["--json", "check", "-"] } else { &["check", "-"] };
    command(arguments).env("TERM", term).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(stderr).spawn().unwrap()
}

fn finish(mut child: Child) -> Ran {
    child.stdin.take().unwrap().write_all(b"bindings = ['web tcp 192.0.2.0/24 80']").unwrap();
    child.wait_with_output().unwrap().into()
}

fn after_a_second() {
    let begun = Instant::now();
    let (mut quiet_terminal, other_end) = terminal();
    let (mut dumb_terminal, dumb_end) = terminal();
    let (into_pipe, beside_document) = (check(false, "xterm", Stdio::piped()), check(true, "xterm", other_end));
    let on_dumb = check(false, "dumb", dumb_end);
    let (mut terminal, other_end) = terminal();
    let watched = check(false, "xterm", other_end);

    let mut seen = String::new();
    let mut buffer = [0; 256];
    while !seen.ends_with(ONE_LINE[1]) {
        let read = terminal.read(&mut buffer).unwrap();
        seen.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
    }
    assert!(begun.elapsed() >= Duration::from_secs(1));
    // However narrow the terminal is, it does not become two lines, of which one would stay.
    assert_eq!(seen, format!("{ERASE}{}sklookup: reading the policy{}", ONE_LINE[0], ONE_LINE[1]));

    // The line goes before the answer comes.
    let ran = finish(watched);
    assert_eq!((ran.exit, ran.stdout.as_str()), (0, "1 binding, 1 label: no conflicts\n"));
    let rest = until_hung_up(&mut terminal);
    assert!(rest.ends_with(ERASE) && rest.lines().count() == 1, "{rest:?}");

    // They were started before.
    assert_eq!(finish(into_pipe).stderr, "");
    assert_eq!(finish(beside_document).exit, 0);
    assert_eq!(until_hung_up(&mut quiet_terminal), "");
    assert_eq!(finish(on_dumb).exit, 0);
    assert_eq!(until_hung_up(&mut dumb_terminal), "");
}

/// What is left to read of a terminal that nobody has open any more.
fn until_hung_up(terminal: &mut File) -> String {
    let mut bytes = Vec::new();
    // Where a pipe would end, a terminal fails; what it had is read.
    let _ = terminal.read_to_end(&mut bytes);
    String::from_utf8(bytes).unwrap()
}
