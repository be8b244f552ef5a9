//! On a terminal: its keys, and its end.

use std::process::Child;

use sklookup_testbed::{Sandbox, Terminal, Trial, kernel_trial};

use crate::under_test::{assert_clean, server, sklookup, tcp};

pub fn trials() -> Vec<Trial> {
    vec![
        kernel_trial("keys_that_end_a_command_end_it_once_and_are_told_in_the_status", keys),
        kernel_trial("a_stopped_run_is_in_nobodys_way_and_goes_on_where_it_was", stopped),
        kernel_trial("a_terminal_that_is_closed_ends_the_command_as_it_would_alone", closed),
        kernel_trial("a_server_that_outlives_its_terminal_goes_on_being_served", outlives),
    ]
}

const SKLOOKUP: &str = env!("CARGO_BIN_EXE_sklookup");
const BIND: [&str; 3] = ["run", "--bind", "tcp 127.7.0.0/16 80"];

/// A server that nothing is typed to, in words for a shell: `$0` is the test binary. `/run` is the test's own.
const DEAF: &str = "mkfifo /run/keys; exec \"$0\" serve web 'tcp 127.0.0.1:8080' <> /run/keys 2> /dev/null";

/// A `run` that leads the session on a terminal, once it steers.
fn on(terminal: &mut Terminal, command: &[String]) -> Child {
    let child = terminal.command(SKLOOKUP).args(BIND).arg("--").args(command).spawn().unwrap();
    terminal.shows("sklookup: steering ");
    assert_eq!(tcp("127.7.0.1:80").unwrap(), "web");
    child
}

fn shell(script: &str) -> Vec<String> {
    let own = server("web", &[]).remove(0);
    ["/bin/sh", "-c", script, &own].map(str::to_owned).to_vec()
}

fn keys(sandbox: &Sandbox) {
    for (key, status) in [("\x03", 130), ("\x1c", 131)] {
        let mut terminal = Terminal::open();
        let mut child = on(&mut terminal, &server("web", &["tcp 127.0.0.1:8080"]));
        terminal.types(key);
        terminal.shows_to_the_end();
        assert_eq!(child.wait().unwrap().code(), Some(status));
        assert_clean(sandbox);
    }
    // The terminal tells everybody in the foreground: a server that counts hears of it once.
    let counts = "trap 'n=$((n+1)); echo interrupted $n' INT; \"$0\" serve web 'tcp 127.0.0.1:8080' < /dev/tty & \
                  while ! wait; do :; done; echo ended";
    let mut terminal = Terminal::open();
    let mut child = on(&mut terminal, &shell(counts));
    terminal.types("\x03");
    terminal.shows("interrupted 1");
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::TERM).unwrap();
    let shown = terminal.shows_to_the_end();
    assert!(!shown.contains("interrupted 2"), "{shown}");
    child.wait().unwrap();
    assert_clean(sandbox);
}

fn stopped(sandbox: &Sandbox) {
    let script = format!(
        "set -m; '{SKLOOKUP}' run --bind 'tcp 127.7.0.0/16 80' -- \"$0\" serve web 'tcp 127.0.0.1:8080'; \
         echo it is stopped; read line; fg; echo it ended with $?"
    );
    let own = server("web", &[]).remove(0);
    let mut terminal = Terminal::open();
    let mut child = terminal.command("/bin/sh").args(["-c", &script, &own]).spawn().unwrap();
    terminal.shows("sklookup: steering ");
    terminal.types("\x1a");
    terminal.shows("it is stopped\r\n");
    // It lives, so what is its own stays, and it holds no lock that anybody waits for.
    let bound = sklookup(&["bind", "other", "tcp", "127.9.0.0/16", "80"]).output().unwrap();
    assert!(bound.status.success(), "{bound:?}");
    let listed = String::from_utf8(sklookup(&["list"]).output().unwrap().stdout).unwrap();
    assert_eq!(listed.lines().count(), 2, "{listed}");
    terminal.types("\n");
    assert_eq!(tcp("127.7.0.1:80").unwrap(), "web");
    terminal.types("\x03");
    terminal.shows("it ended with 130");
    child.wait().unwrap();
    assert!(sklookup(&["unload"]).output().unwrap().status.success());
    assert_clean(sandbox);
}

fn closed(sandbox: &Sandbox) {
    let mut terminal = Terminal::open();
    let mut child = on(&mut terminal, &shell(DEAF));
    drop(terminal);
    assert_eq!(child.wait().unwrap().code(), Some(129));
    assert!(tcp("127.0.0.1:8080").is_err());
    assert_clean(sandbox);
}

fn outlives(sandbox: &Sandbox) {
    let mut terminal = Terminal::open();
    let mut child = on(&mut terminal, &shell(&format!("trap '' HUP; {DEAF}")));
    drop(terminal);
    for _ in 0..3 {
        assert_eq!(tcp("127.7.0.1:80").unwrap(), "web");
    }
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(143));
    assert_clean(sandbox);
}
