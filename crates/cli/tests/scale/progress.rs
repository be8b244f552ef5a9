//! The line on a terminal that says what a command is at.

use std::io::Write;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use sklookup_testbed::{Terminal, Trial, plain_trial};

use crate::command::{Ran, command};

const ERASE: &str = "\r\x1b[K";
/// Keeps a terminal from beginning another line at its edge, and lets it do so again.
const ONE_LINE: [&str; 2] = ["\x1b[?7l", "\x1b[?7h"];

pub fn trials() -> Vec<Trial> {
    vec![plain_trial("progress::a_terminal_is_told_after_a_second_and_nobody_else", after_a_second)]
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
    let [mut terminal, mut quiet, mut dumb] = [(); 3].map(|()| Terminal::open());
    let (into_pipe, beside_document) = (check(false, "xterm", Stdio::piped()), check(true, "xterm", quiet.other_end()));
    let on_dumb = check(false, "dumb", dumb.other_end());
    let watched = check(false, "xterm", terminal.other_end());

    let line = terminal.shows(ONE_LINE[1]).to_owned();
    assert!(begun.elapsed() >= Duration::from_secs(1));
    // However narrow the terminal is, it does not become two lines, of which one would stay.
    assert_eq!(line, format!("{ERASE}{}sklookup: reading the policy{}", ONE_LINE[0], ONE_LINE[1]));

    // The line goes before the answer comes.
    let ran = finish(watched);
    assert_eq!((ran.exit, ran.stdout.as_str()), (0, "1 binding, 1 label: no conflicts\n"));
    let shown = terminal.shows_to_the_end();
    assert!(shown.ends_with(ERASE) && shown.lines().count() == 1, "{shown:?}");

    // They were started before.
    assert_eq!(finish(into_pipe).stderr, "");
    assert_eq!(finish(beside_document).exit, 0);
    assert_eq!(quiet.shows_to_the_end(), "");
    assert_eq!(finish(on_dumb).exit, 0);
    assert_eq!(dumb.shows_to_the_end(), "");
}
