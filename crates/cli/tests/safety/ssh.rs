//! The port of the ssh session that the command was typed in.

use std::net::Ipv6Addr;
use std::os::fd::{AsFd, AsRawFd};

use sklookup_kernel::Netns;
use sklookup_testbed::{CapabilitySet, Rights, Sandbox, Terminal, Trial, copy_program, kernel_trial};

use crate::command::{Ran, command, sklookup};
use crate::session::Session;

pub fn trials() -> Vec<Trial> {
    vec![
        kernel_trial("the_session_is_found_above_sudo_and_su_and_without_its_variable", above),
        kernel_trial("a_session_over_ipv6_or_on_a_dual_stack_socket_is_found", families),
        kernel_trial("a_carved_out_session_is_not_in_the_way", carved_out),
        kernel_trial("a_session_in_another_namespace_is_not_taken_from", elsewhere),
        kernel_trial("a_session_above_tmux_is_found_by_the_variable_of_a_shell", variable),
        kernel_trial("a_variable_that_is_no_longer_true_guards_nothing", stale),
        kernel_trial("where_the_ancestors_end_at_a_terminal_every_session_is_guarded", cut_off),
        kernel_trial("a_session_that_may_not_be_looked_at_is_said", hidden),
    ]
}

/// The command under test, as words of another command line.
const SKLOOKUP: &str = env!("CARGO_BIN_EXE_sklookup");

/// Takes every port of 127.0.0.1.
const TAKE: [&str; 6] = [SKLOOKUP, "bind", "web", "tcp", "127.0.0.1", "1-65535"];

fn refused(ran: &Ran, facts: &[&str]) {
    assert_eq!((ran.exit, ran.stdout.as_str()), (1, ""), "{ran:?}");
    for fact in [&["refused (ssh)", "carve it out: pass tcp "], facts].concat() {
        assert!(ran.stderr.contains(fact), "{fact}: {ran:?}");
    }
}

fn above(sandbox: &Sandbox) {
    let nested = ["env", "-i", "/bin/sh", "-c", "/bin/sh -c '\"$@\"; exit $?' sh \"$@\"; exit $?", "sh"];
    for name in ["sshd", "sshd-session", "dropbear"] {
        for wrapped in [&[][..], &nested] {
            let session = Session::open(sandbox, name, "127.0.0.1:0", &[wrapped, &TAKE].concat());

            let local = session.local.to_string();
            refused(&session.end(), &["where your ssh session from 127.0.0.1 came in", &local]);
        }
    }
    let session = Session::open(sandbox, "sshd", "127.0.0.1:0", &[&TAKE[..], &["--allow", "ssh"]].concat());
    let ran = session.end();
    assert!(ran.exit == 0 && ran.stderr.contains("allowed: ") && ran.stderr.contains("your ssh session"), "{ran:?}");
    // Another name is no ssh daemon, and a policy that took the port before takes nothing new.
    assert_eq!(sklookup(&["unload"]).exit, 0);
    assert_eq!(Session::open(sandbox, "httpd", "127.0.0.1:0", &TAKE).end().exit, 0);
    assert_eq!(sklookup(&["unload"]).exit, 0);
    assert_eq!(Session::open(sandbox, "sshd", "127.0.0.1:0", &[&TAKE[..4], &["127.0.0.2"]].concat()).end().exit, 0);
}

fn families(sandbox: &Sandbox) {
    let v6 = [&TAKE[..4], &["::1", "1-65535"]].concat();
    let session = Session::open(sandbox, "sshd", "[::1]:0", &v6);
    assert_eq!(session.local.ip(), Ipv6Addr::LOCALHOST);
    refused(&session.end(), &["takes new connections to [::1]:"]);
    // The connection of an IPv6 socket to an IPv4 client is an IPv4 connection.
    let session = Session::open(sandbox, "sshd", "[::]:0", &TAKE);
    refused(&session.end(), &["takes new connections to 127.0.0.1:", "carve it out: pass tcp 127.0.0.1 "]);
    assert_eq!(Session::open(sandbox, "sshd", "[::]:0", &v6).end().exit, 0);
}

fn carved_out(sandbox: &Sandbox) {
    assert_eq!(sklookup(&["bind", "pass", "tcp", "127.0.0.1", "2222"]).exit, 0);
    assert_eq!(Session::open(sandbox, "sshd", "127.0.0.1:2222", &TAKE).end().exit, 0);
    let session =
        Session::open(sandbox, "sshd", "127.0.0.1:2222", &[SKLOOKUP, "unbind", "pass", "tcp", "127.0.0.1", "2222"]);
    refused(&session.end(), &["127.0.0.1:2222"]);
}

fn elsewhere(sandbox: &Sandbox) {
    let other = Netns::new_private().unwrap();
    let path = format!("/proc/{}/fd/{}", std::process::id(), other.as_fd().as_raw_fd());
    let session =
        Session::open(sandbox, "sshd", "127.0.0.1:0", &[&TAKE[..1], &["--netns", &path], &TAKE[1..]].concat());
    assert_eq!(session.end().exit, 0);
}

fn variable(sandbox: &Sandbox) {
    // The daemon is nobody above: the shell of a tmux window has been told by its client.
    let session = Session::open(sandbox, "sshd", "127.0.0.1:0", &[]);
    let script = "/usr/bin/env -i \"$@\"; exit $?";
    let mut shell = std::process::Command::new("/bin/sh");
    shell.args(["-c", script, "sh"]).args(TAKE).env("SSH_CONNECTION", session.variable());
    refused(&shell.output().unwrap().into(), &["your ssh session", &session.local.to_string()]);
    let mut own = command(&TAKE[1..]);
    refused(&own.env("SSH_CONNECTION", session.variable()).output().unwrap().into(), &["your ssh session"]);
}

fn stale(_: &Sandbox) {
    let mut own = command(&TAKE[1..]);
    let ran: Ran = own.env("SSH_CONNECTION", "127.0.0.1 50000 127.0.0.1 22").output().unwrap().into();
    assert_eq!(ran.exit, 0, "{ran:?}");
}

fn cut_off(sandbox: &Sandbox) {
    let session = Session::open(sandbox, "sshd", "127.0.0.1:0", &[]);
    // What a server in the background is: its starter has ended, and it makes terminals of its own.
    let orphaned = |terminal: &Terminal| {
        let on_terminal = terminal.command(TAKE[0]);
        let mut starter = std::process::Command::new("/bin/sh");
        starter.args(["-c", "\"$@\" </dev/null & exit 0", "sh"]).arg(on_terminal.get_program());
        starter.args(on_terminal.get_args()).args(&TAKE[1..]);
        assert!(starter.status().unwrap().success());
    };
    let mut terminal = Terminal::open();
    orphaned(&terminal);
    let shown = terminal.shows("nothing was changed").to_owned();
    for fact in
        ["refused (ssh)", "where an ssh session from 127.0.0.1 came in; it may be yours", &session.local.to_string()]
    {
        assert!(shown.contains(fact), "{fact}: {shown}");
    }
    // Nobody types in what has no terminal.
    assert_eq!(sklookup(&TAKE[1..]).exit, 0);
    drop(session);
}

fn hidden(sandbox: &Sandbox) {
    let copy = sandbox.scratch.join("sklookup");
    copy_program(SKLOOKUP, &copy);
    let bpffs = sandbox.scratch.join("bpffs");
    std::fs::create_dir(&bpffs).unwrap();
    rustix::mount::mount("bpf", &bpffs, "bpf", rustix::mount::MountFlags::empty(), Some(c"mode=0700,uid=1000"))
        .unwrap();
    let caps = CapabilitySet::BPF | CapabilitySet::NET_ADMIN;
    let as_user = Rights { uid: 1000, caps }.command(&copy);
    let words = |arguments: &[&'static str]| -> Vec<String> {
        let own = std::iter::once(as_user.get_program()).chain(as_user.get_args()).map(|word| word.to_str().unwrap());
        let words = own.chain(["--bpffs", bpffs.to_str().unwrap()]).chain(arguments.iter().copied());
        words.map(str::to_owned).collect()
    };
    // Nothing of the kind where no connection came in.
    let other = words(&["bind", "web", "tcp", "127.0.0.2", "80"]);
    let other: Vec<&str> = other.iter().map(String::as_str).collect();
    let ran = Session::open(sandbox, "sshd", "127.0.0.1:2222", &other).end();
    assert!(ran.exit == 0 && !ran.stderr.contains("not seen"), "{ran:?}");
    let take = words(&TAKE[1..]);
    let take: Vec<&str> = take.iter().map(String::as_str).collect();
    let session = Session::open(sandbox, "sshd", "127.0.0.1:2222", &take);
    let ran = session.end();
    assert_eq!(ran.exit, 0, "{ran:?}");
    for fact in [
        "not seen: `web tcp 127.0.0.1 1-65535` takes new connections to ",
        "127.0.0.1:2222",
        "sshd (pid ",
        "CAP_SYS_PTRACE",
    ] {
        assert!(ran.stderr.contains(fact), "{fact}: {ran:?}");
    }
}
