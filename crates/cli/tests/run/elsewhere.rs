//! A run in one pid namespace, and commits from another over the same bpffs: neither sees the other's processes.

use std::process::{Command, Stdio};

use rustix::process::Signal;
use sklookup_testbed::{Sandbox, Trial, kernel_trial};

use crate::under_test::{Run, assert_clean, server, sklookup, tcp};

pub fn trials() -> Vec<Trial> {
    vec![
        kernel_trial("a_run_in_another_pid_namespace_outlives_what_is_changed_from_here", inside),
        kernel_trial("a_run_outlives_what_is_changed_from_another_pid_namespace", outside),
        kernel_trial("a_killed_run_of_another_pid_namespace_goes_with_the_next_change", killed),
        kernel_trial("two_runs_under_one_pid_of_two_namespaces_are_two", twins),
    ]
}

const BIND: [&str; 2] = ["--bind", "tcp 127.7.0.0/16 80"];

/// `sklookup` in a new pid namespace, as its first process.
fn apart(arguments: &[&str]) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--kill-child", "--mount-proc", env!("CARGO_BIN_EXE_sklookup")]).args(arguments);
    command
}

fn run_apart(options: &[&str], command: &[String]) -> Run {
    let mut run = Run::spawn(apart(&["run"]).args(options).arg("--").args(command).stdin(Stdio::piped()));
    run.hear("sklookup: steering ");
    run
}

fn done(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Changes what is applied, in each way that a commit is made; what a `run` added has to stay.
fn change(by: fn(&[&str]) -> Command) {
    done(&mut by(&["bind", "other", "tcp", "127.8.0.0/16", "80"]));
    done(&mut by(&["upgrade"]));
    done(&mut by(&["unbind", "other", "tcp", "127.8.0.0/16", "80"]));
}

fn inside(sandbox: &Sandbox) {
    let run = run_apart(&BIND, &server("web", &["tcp 127.0.0.1:8080"]));
    change(sklookup);
    assert_eq!(tcp("127.7.0.1:80").unwrap(), "web");
    assert!(String::from_utf8_lossy(&sklookup(&["status"]).output().unwrap().stdout).contains("running, 1 binding"));
    assert_eq!(run.end().code, Some(0));
    assert_clean(sandbox);
}

fn outside(sandbox: &Sandbox) {
    let run = Run::steering(&BIND, &server("web", &["tcp 127.0.0.1:8080"]));
    change(apart);
    assert_eq!(tcp("127.7.0.1:80").unwrap(), "web");
    assert_eq!(run.end().code, Some(0));
    assert_clean(sandbox);
}

fn killed(sandbox: &Sandbox) {
    let run = run_apart(&BIND, &server("web", &["tcp 127.0.0.1:8080"]));
    // It is killed with the one above it, and its pid namespace with it.
    run.signal(Signal::KILL);
    run.wait();
    let status = sklookup(&["status"]).output().unwrap();
    assert!(String::from_utf8_lossy(&status.stdout).contains("ENDED, 1 binding"), "{status:?}");
    done(&mut sklookup(&["bind", "other", "tcp", "127.8.0.0/16", "80"]));
    assert_eq!(done(&mut sklookup(&["list"])).lines().count(), 1);
    done(&mut sklookup(&["unload"]));
    assert_clean(sandbox);
}

fn twins(sandbox: &Sandbox) {
    let first = run_apart(&BIND, &server("first", &["tcp 127.0.0.1:8081"]));
    let second = run_apart(&["--bind", "tcp 127.8.0.0/16 80"], &server("second", &["tcp 127.0.0.1:8082"]));
    let labels: Vec<String> =
        done(&mut sklookup(&["list"])).lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect();
    assert!(labels.iter().all(|label| label.starts_with("run:1.")), "each is the first of its namespace: {labels:?}");
    assert_ne!(labels[0].rsplit('.').next(), labels[1].rsplit('.').next(), "{labels:?}");
    assert_eq!(tcp("127.7.0.1:80").unwrap(), "first");
    assert_eq!(first.end().code, Some(0));
    assert_eq!(tcp("127.8.0.1:80").unwrap(), "second");
    assert_eq!(second.end().code, Some(0));
    assert_clean(sandbox);
}
