//! How a run ends, and that nothing is left of it.

use rustix::process::Signal;
use serde_json::Value;
use sklookup_testbed::{Sandbox, Trial, kernel_trial};

use crate::under_test::{Run, assert_clean, server, sklookup, tcp};

pub fn trials() -> Vec<Trial> {
    vec![
        kernel_trial("it_ends_as_its_command_ended", exit_statuses),
        kernel_trial("it_ends_so_too_where_its_starter_ignores_children", ignored_children),
        kernel_trial("signals_are_passed_on", signals),
        kernel_trial("a_killed_run_refuses_nobody_and_the_next_command_sweeps", killed),
        kernel_trial("workers_that_a_killed_server_leaves_behind_are_named_and_not_steered_to", left_behind),
        kernel_trial("json_is_one_document_and_the_servers_output_is_not_in_it", json),
        kernel_trial("a_reader_that_has_gone_is_no_trouble", closed_pipe),
    ]
}

const BIND: [&str; 2] = ["--bind", "tcp 127.7.0.0/16 80"];

fn exit_statuses(sandbox: &Sandbox) {
    let words = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
    for (command, code) in [
        (words(&["true"]), 0),
        (words(&["sh", "-c", "exit 7"]), 7),
        (words(&["sh", "-c", "kill -KILL $$"]), 137),
        (words(&["/etc/passwd"]), 126),
        (words(&["no-such-command-anywhere"]), 127),
    ] {
        let ended = Run::start(&BIND, &command).wait();
        assert_eq!(ended.code, Some(code), "{command:?}: {ended:?}");
        assert_clean(sandbox);
    }
    for wrong in [&["--match", "nonsense"][..], &["--no-such-option"]] {
        let ended = Run::start(&[&BIND[..], wrong].concat(), &words(&["true"])).wait();
        assert_eq!(ended.code, Some(125), "{wrong:?}: {ended:?}");
    }
    for code in [0, 7] {
        let mut run = Run::steering(&BIND, &server("web", &["tcp 127.0.0.1:8080"]));
        run.order(&format!("exit {code}"));
        assert_eq!(run.wait().code, Some(code));
        assert_clean(sandbox);
    }
}

fn ignored_children(sandbox: &Sandbox) {
    // A shell does not pass an ignored SIGCHLD on.
    let mut command = std::process::Command::new("env");
    command.args(["--ignore-signal=CHLD", env!("CARGO_BIN_EXE_sklookup"), "run"]);
    let ended = Run::spawn(command.args(BIND).args(["--", "sh", "-c", "exit 7"])).wait();
    assert_eq!(ended.code, Some(7), "{ended:?}");
    assert_clean(sandbox);
}

fn signals(sandbox: &Sandbox) {
    // Each ends a server that knows nothing of it: that it came shows in how the server ended.
    for signal in [Signal::TERM, Signal::HUP, Signal::INT, Signal::QUIT, Signal::USR1, Signal::USR2] {
        let run = Run::steering(&BIND, &server("web", &["tcp 127.0.0.1:8080"]));
        run.signal(signal);
        assert_eq!(run.wait().code, Some(128 + signal.as_raw()));
        assert_clean(sandbox);
    }
    // Before it listens as well.
    let started = sandbox.scratch.join("started");
    let script = format!("touch '{}'; exec sleep 1000", started.display());
    let run = Run::start(&BIND, &["sh".into(), "-c".into(), script]);
    while !started.exists() {
        std::thread::yield_now();
    }
    run.signal(Signal::TERM);
    assert_eq!(run.wait().code, Some(143));
    assert_clean(sandbox);
}

fn killed(sandbox: &Sandbox) {
    let mut run = Run::steering(&BIND, &server("web", &["tcp 127.0.0.1:8080"]));
    run.signal(Signal::KILL);
    run.child.wait().unwrap();
    // The server lives on and is still served; when it ends, the regular lookup has its packets again.
    assert_eq!(tcp("127.7.0.1:80").unwrap(), "web");
    run.tell("close");
    let regular = std::net::TcpListener::bind("127.7.0.1:80").unwrap();
    let accept = std::thread::spawn(move || drop(regular.accept().unwrap()));
    assert_eq!(tcp("127.7.0.1:80").unwrap(), "");
    accept.join().unwrap();

    let bound = sklookup(&["bind", "other", "tcp", "127.9.0.0/16", "80"]).output().unwrap();
    assert!(bound.status.success(), "{bound:?}");
    let listed = sklookup(&["list"]).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.contains("other tcp 127.9.0.0/16 80") && !listed.contains("run:"), "{listed}");
    assert!(sklookup(&["unload"]).output().unwrap().status.success());
    assert_clean(sandbox);
}

fn left_behind(sandbox: &Sandbox) {
    let own = server("web", &[]).remove(0);
    // The worker ends with its standard input, which the test holds; its starter is killed, or fails.
    for (ending, code) in [("kill -KILL $$", 137), ("exit 3", 3)] {
        let script = format!(
            "exec 3<&0; '{own}' serve web 'tcp 127.0.0.1:8080' <&3 & \
             while [ ! -e '{0}' ]; do sleep 0.01; done; rm '{0}'; {ending}",
            sandbox.scratch.join("now").display()
        );
        let mut run = Run::steering(&BIND, &["sh".into(), "-c".into(), script]);
        assert_eq!(tcp("127.7.0.1:80").unwrap(), "web");
        std::fs::write(sandbox.scratch.join("now"), "").unwrap();
        let line = run.hear("sklookup: the command has ended and left behind ");
        assert!(line.contains("nothing is steered to what it left"), "{line}");
        run.hear("    to end it: kill ");
        // Nobody is steered to it, and it is there as it would be alone.
        assert_eq!(run.child.wait().unwrap().code(), Some(code));
        assert!(tcp("127.7.0.1:80").is_err());
        assert_eq!(tcp("127.0.0.1:8080").unwrap(), "web");
        assert_clean(sandbox);
        run.order("exit 0");
        while tcp("127.0.0.1:8080").is_ok() {}
    }
}

fn json(sandbox: &Sandbox) {
    let mut run = Run::start(&["--json", BIND[0], BIND[1]], &server("web", &["tcp 127.0.0.1:8080"]));
    run.hear("sklookup: steering ");
    run.order("uid");
    run.hear("0");
    let ended = run.end();
    let document: Value = serde_json::from_str(&ended.stdout).expect("one document and nothing else");
    assert_eq!(document["version"], 1);
    assert_eq!(document["command"], "run");
    assert_eq!(document["ok"], true);
    assert_eq!(document["exit"]["code"], 0);
    assert_eq!(document["sockets"][0]["local"], "127.0.0.1:8080");
    assert_eq!(document["bindings"][0]["destination"], "127.7.0.0/16");
    assert_clean(sandbox);

    let ended = Run::start(&["--json", BIND[0], "tcp nonsense"], &server("web", &[])).wait();
    let document: Value = serde_json::from_str(&ended.stdout).expect("one document on failure too");
    assert_eq!(document["ok"], false);
    assert!(document["errors"][0]["message"].as_str().unwrap().contains("nonsense"));
}

fn closed_pipe(sandbox: &Sandbox) {
    let script = "while echo line; do :; done; exit 3";
    let mut run = sklookup(&["run"]);
    run.args(BIND).args(["--", "sh", "-c", script]);
    let mut child = run.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::null()).spawn().unwrap();
    drop(child.stdout.take());
    // A pipe that nobody reads ends the writer as it would alone, by SIGPIPE.
    assert_eq!(child.wait().unwrap().code(), Some(141));
    assert_clean(sandbox);
}
