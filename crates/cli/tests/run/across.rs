//! Servers of many processes.

use std::process::{Command, Stdio};

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use rustix::thread::{CapabilitySet, remove_capability_from_bounding_set};
use sklookup_testbed::{Sandbox, Trial, kernel_trial};

use crate::under_test::{Run, assert_clean, server, sklookup, tcp};

pub fn trials() -> Vec<Trial> {
    vec![
        kernel_trial("a_group_is_registered_whole_whoever_has_its_members", group),
        kernel_trial("a_member_that_may_not_be_taken_is_named", denied),
        kernel_trial("a_group_larger_than_a_label_is_served", large_group),
        kernel_trial("more_workers_than_fds_are_no_trouble", many_workers),
        kernel_trial("a_look_that_fails_does_not_end_the_steering", failing_look),
    ]
}

const BIND: [&str; 2] = ["--bind", "tcp 127.7.0.0/16 80"];
const ADDRESS: &str = "tcp 127.0.0.1:8080";

/// A server without sklookup, once it listens.
fn alone(name: &str) -> Run {
    let words = server(name, &[ADDRESS]);
    let mut run = Run::spawn(Command::new(&words[0]).args(&words[1..]).stdin(Stdio::piped()));
    run.tell("uid");
    run
}

fn bind() {
    let bound = sklookup(&["bind", "web", "tcp", "127.7.0.0/16", "80"]).output().unwrap();
    assert!(bound.status.success(), "{bound:?}");
}

fn register(pid: u32) -> (String, String) {
    let registered = sklookup(&["register", "web", "--pid", &pid.to_string()]).output().unwrap();
    assert!(registered.status.success(), "{registered:?}");
    (String::from_utf8(registered.stdout).unwrap(), String::from_utf8(registered.stderr).unwrap())
}

fn unload(sandbox: &Sandbox) {
    assert!(sklookup(&["unload"]).output().unwrap().status.success());
    assert_clean(sandbox);
}

fn group(sandbox: &Sandbox) {
    bind();
    let (first, second) = (alone("first"), alone("second"));
    let (said, talk) = register(first.child.id());
    assert_eq!((said.as_str(), talk.as_str()), ("web: tcp 127.0.0.1:8080\nweb: tcp 127.0.0.1:8080\n", ""));
    first.end();
    for _ in 0..3 {
        assert_eq!(tcp("127.7.0.1:80").unwrap(), "second");
    }
    second.end();
    unload(sandbox);
}

/// What `f` starts has all that root may, but for these.
fn without<T: Send>(caps: CapabilitySet, f: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            for cap in caps.iter() {
                remove_capability_from_bounding_set(cap).unwrap();
            }
            f()
        });
        thread.join().unwrap()
    })
}

fn denied(sandbox: &Sandbox) {
    bind();
    let ptrace = CapabilitySet::SYS_PTRACE;
    // Without CAP_SYS_PTRACE only those may be looked into that have no right more.
    let open = without(ptrace | CapabilitySet::NET_RAW, || alone("open"));
    let closed = alone("closed");
    let pid = open.child.id();
    let (said, talk) = without(ptrace, || register(pid));
    assert_eq!(said, "web: tcp 127.0.0.1:8080\n");
    assert!(talk.contains("tcp 127.0.0.1:8080 of another process is of the same group"), "{talk}");
    open.end();
    closed.end();
    unload(sandbox);
}

fn large_group(sandbox: &Sandbox) {
    sklookup_kernel::route::add_local_route("fd00:7::/64".parse().unwrap()).unwrap();
    let bind = [&BIND[..], &["--bind", "tcp fd00:7::/64 80"]].concat();
    let mut run = Run::steering(&bind, &server("web", &[ADDRESS; 20]));
    run.hear("sklookup: 4 sockets of the group have no slot of their own");
    assert_eq!(tcp("127.7.0.1:80").unwrap(), "web");
    // What has no slot is no reason to register again; what is new is.
    run.tell("tcp [::1]:8080");
    let line = run.hear("sklookup: now steering to ");
    assert!(line.contains("[::1]:8080"), "{line}");
    assert_eq!(tcp("[fd00:7::1]:80").unwrap(), "web");
    let ended = run.end();
    for once in ["no slot", "now steering"] {
        assert_eq!(ended.stderr.matches(once).count(), 1, "{}", ended.stderr);
    }
    assert_clean(sandbox);
}

fn many_workers(sandbox: &Sandbox) {
    let server = server("web", &[ADDRESS]);
    // All of them end with their standard input, as the server does.
    let script = format!(
        "exec 3<&0; i=0; while [ $i -lt 100 ]; do cat <&3 >&2 & i=$((i+1)); done; exec '{}' serve web '{ADDRESS}' <&3",
        server[0]
    );
    let limited = "ulimit -n 64; exec \"$@\"";
    let mut command = Command::new("sh");
    command
        .args(["-c", limited, "sh", env!("CARGO_BIN_EXE_sklookup"), "run"])
        .args(BIND)
        .args(["--", "sh", "-c", &script]);
    let mut run = Run::spawn(command.stdin(Stdio::piped()));
    run.hear("sklookup: steering ");
    assert_eq!(tcp("127.7.0.1:80").unwrap(), "web");
    assert_eq!(run.end().code, Some(0));
    assert_clean(sandbox);
}

fn failing_look(sandbox: &Sandbox) {
    // Its starter has ended, so whether it still runs is for a look to say.
    let own = server("web", &[]);
    let script = format!("exec 3<&0; '{}' serve web '{ADDRESS}' <&3 & exit 0", own[0]);
    // Without a trace, which takes an fd too.
    let mut command = Command::new(env!("CARGO_BIN_EXE_sklookup"));
    let mut run = Run::spawn(command.arg("run").args(BIND).args(["--", "sh", "-c", &script]).stdin(Stdio::piped()));
    run.hear("sklookup: steering ");
    limit(&run, 3);
    run.tell("close");
    run.tell("tcp 127.0.0.1:8081");
    while !run.hear("sklookup: ").contains("EMFILE") {}
    limit(&run, 1024);
    run.hear("sklookup: now steering to ");
    assert_eq!(tcp("127.7.0.1:80").unwrap(), "web");
    assert_eq!(run.end().code, Some(0));
    assert_clean(sandbox);
}

/// Sets how many fds sklookup may have from now on.
fn limit(run: &Run, fds: u64) {
    let maximum = rustix::process::getrlimit(Resource::Nofile).maximum;
    let limits = Rlimit { current: Some(fds), maximum };
    prlimit(Some(Pid::from_child(&run.child)), Resource::Nofile, limits).unwrap();
}
