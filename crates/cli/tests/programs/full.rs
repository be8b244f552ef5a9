//! A hook that has all the programs that Linux takes: who comes next is told so, and nothing of it is left.

use std::net::TcpListener;
use std::os::fd::AsFd;

use sklookup_kernel::{Errno, Link, Netns};
use sklookup_testbed::leftovers::{attached as on_hook, names};
use sklookup_testbed::{Sandbox, Trial, kernel_trial};

use crate::command::sklookup;
use crate::world::{done, left, object, other};

pub fn trials() -> Vec<Trial> {
    vec![
        kernel_trial("the_65th_program_is_told_the_limit_and_what_to_do", attach),
        kernel_trial("a_policy_that_would_be_the_65th_program_is_told_the_limit_and_what_to_do", policy),
        kernel_trial("who_is_among_the_64_is_replaced_as_ever", among),
        kernel_trial("a_map_that_is_full_is_not_taken_for_a_full_hook", full_map),
    ]
}

/// Programs of others, as many.
fn others(count: usize) -> Vec<Link> {
    let (program, netns) = (other(), Netns::current().unwrap());
    (0..count).map(|_| Link::attach(&program, netns.as_fd()).unwrap()).collect()
}

/// Runs a command that finds the hook full, and makes sure that it changed nothing and says what to do.
fn refused(sandbox: &Sandbox, arguments: &[&str]) {
    let (hook, pins) = (on_hook(sandbox), names(&sandbox.bpffs));
    let ran = sklookup(arguments);
    assert_eq!((ran.exit, ran.stdout.as_str()), (2, ""), "{arguments:?}: {ran:?}");
    let [said, help] = ran.stderr.lines().collect::<Vec<_>>()[..] else { panic!("{arguments:?}: {ran:?}") };
    assert!(said.contains("64 programs are attached, the most that Linux takes"), "{arguments:?}: {said}");
    assert!(said.contains("(E2BIG)"), "{arguments:?}: {said}");
    for command in ["`sklookup programs`", "`sklookup detach"] {
        assert!(help.contains(command), "{arguments:?}: {help}");
    }
    assert_eq!((on_hook(sandbox), names(&sandbox.bpffs)), (hook, pins), "{arguments:?}");
}

fn attach(sandbox: &Sandbox) {
    let assign = object("assign");
    let others = others(64);
    // It is the kernel that says so.
    let one_more = Link::attach(&other(), sandbox.netns.as_fd()).unwrap_err();
    assert_eq!(one_more.errno(), Errno::TOOBIG);
    refused(sandbox, &["attach", &assign]);
    refused(sandbox, &["attach", &assign, "--name", "edge", "--replace"]);
    left(sandbox, &[]);
    // What it says helps.
    done(&["detach", "--link", &others[0].info().unwrap().id.to_string()]);
    done(&["attach", &assign]);
}

fn policy(sandbox: &Sandbox) {
    let _others = others(64);
    let file = sandbox.scratch.join("policy.toml");
    std::fs::write(&file, "bindings = ['web tcp 127.7.0.0/16 80']").unwrap();
    let pid = std::process::id().to_string();
    let _listener = TcpListener::bind("127.0.0.1:0").unwrap();
    for arguments in [
        &["apply", file.to_str().unwrap()][..],
        &["bind", "web", "tcp", "127.7.0.0/16", "80"],
        &["register", "web", "--pid", &pid],
    ] {
        refused(sandbox, arguments);
    }
    let ran = sklookup(&["run", "--bind", "tcp 127.7.0.0/16 80", "--", "false"]);
    assert!(ran.exit == 125 && ran.stderr.contains("64 programs are attached"), "not started: {ran:?}");
    left(sandbox, &[]);
    assert_eq!(sklookup(&["rollback"]).exit, 2, "nothing was kept of what never was in effect");
}

fn among(sandbox: &Sandbox) {
    let assign = object("assign");
    done(&["bind", "web", "tcp", "127.7.0.0/16", "80"]);
    done(&["attach", &assign]);
    let _others = others(62);
    assert_eq!(on_hook(sandbox).len(), 64);
    done(&["bind", "web", "tcp", "127.7.0.0/16", "81"]);
    done(&["attach", &assign, "--replace"]);
    refused(sandbox, &["attach", &assign, "--name", "edge"]);
    done(&["detach", "assign"]);
    done(&["attach", &assign, "--name", "edge"]);
}

fn full_map(sandbox: &Sandbox) {
    // A SOCKHASH of 64, and one socket more.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (pid, address) = (std::process::id(), listener.local_addr().unwrap());
    let seats: Vec<String> = (0..65).map(|key| format!("sockets[{key}]={pid} tcp {address}")).collect();
    let object = object("prefixes");
    let mut arguments = vec!["attach", &object];
    seats.iter().for_each(|seat| arguments.extend(["--socket", seat]));
    let ran = sklookup(&arguments);
    assert_eq!(ran.exit, 2, "{ran:?}");
    assert!(ran.stderr.contains("(E2BIG)") && !ran.stderr.contains("programs are attached"), "{ran:?}");
    left(sandbox, &[]);
}
