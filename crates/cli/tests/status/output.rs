//! Who reads: terminals, pipes that close, full disks, users without rights.

use std::fs::File;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use sklookup_kernel::Sandbox;
use sklookup_testbed::{Trial, kernel_trial, sandbox_trial};

use crate::command::{Ran, command, sklookup};
use crate::world::{bind, findings, status, tcp_server};

pub fn trials() -> Vec<Trial> {
    vec![
        kernel_trial("a_process_can_not_command_the_terminal_with_its_name", escaped),
        kernel_trial("a_closed_pipe_is_a_quiet_end", quiet_end),
        kernel_trial("a_full_disk_is_an_error", full),
        kernel_trial("thousands_of_findings_are_a_few_on_a_terminal_and_all_in_a_document", many_findings),
        kernel_trial("an_ordinary_user_is_told_what_could_not_be_seen", ordinary_user),
        kernel_trial("doctor_leaves_nothing_behind", leaves_nothing),
        sandbox_trial("doctor_says_how_to_mount_a_bpffs", no_bpffs),
    ]
}

fn escaped(sandbox: &Sandbox) {
    bind("web tcp 127.7.0.0/16 80");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let name = sandbox.scratch.join("ev\u{1b}[2Jil");
    symlink("/bin/sleep", &name).unwrap();
    let mut server = Command::new(&name).arg("600").stdin(OwnedFd::from(listener)).spawn().unwrap();
    let socket = format!("tcp :{port}");
    let registered = sklookup(&["register", "web", "--pid", &server.id().to_string(), "--match", &socket]);
    let ran = sklookup(&["status"]);
    server.kill().unwrap();
    server.wait().unwrap();
    assert_eq!((registered.exit, ran.exit), (0, 0), "{registered:?} {ran:?}");
    assert!(ran.stdout.contains("ev\\u{1b}[2Jil (pid "), "{ran:?}");
    assert!(!ran.stdout.contains('\u{1b}') && !ran.stderr.contains('\u{1b}'), "{ran:?}");
}

fn quiet_end(_: &Sandbox) {
    bind("pass tcp 127.7.0.0/16 80");
    for arguments in [&["status"][..], &["list"], &["--json", "status"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let ran: Ran = command(arguments)
            .stdout(writer)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
            .wait_with_output()
            .unwrap()
            .into();
        assert_eq!((ran.exit, ran.stderr.as_str()), (0, ""), "{arguments:?}");
    }
}

fn full(_: &Sandbox) {
    bind("pass tcp 127.7.0.0/16 80");
    let full = || File::options().write(true).open("/dev/full").unwrap();
    for arguments in [&["status"][..], &["list"], &["doctor"], &["--json", "status"]] {
        let child = command(arguments).stdout(full()).stderr(Stdio::piped()).spawn().unwrap();
        let ran: Ran = child.wait_with_output().unwrap().into();
        assert_eq!(ran.exit, 2, "{arguments:?}: {ran:?}");
        assert!(ran.stderr.contains("write the answer: No space left"), "{arguments:?}: {ran:?}");
    }
}

fn many_findings(sandbox: &Sandbox) {
    let labels: Vec<String> = (0..2_000).map(|n| format!("'label-{n} tcp 127.7.0.0/16 {}'", n + 1)).collect();
    let policy = sandbox.scratch.join("many.toml");
    std::fs::write(&policy, format!("bindings = [{}]", labels.join(","))).unwrap();
    assert_eq!(sklookup(&["apply", policy.to_str().unwrap()]).exit, 0);
    let ran = sklookup(&["status"]);
    assert_eq!((ran.exit, ran.stderr.lines().count()), (1, 2 * 10 + 2), "{}", ran.stderr);
    assert!(ran.stderr.contains("and 1990 more labels without a socket"), "{}", ran.stderr);
    let (_, status) = status();
    assert_eq!(findings(&status).len(), 2_000);
}

fn ordinary_user(sandbox: &Sandbox) {
    bind("web tcp 127.7.0.0/16 80");
    let _server = tcp_server("web", "127.0.0.1");
    // The build directory may be closed to others.
    let copy = sandbox.scratch.join("sklookup");
    sklookup_testbed::copy_program(env!("CARGO_BIN_EXE_sklookup"), &copy);
    let as_nobody =
        |argument| -> Ran { Command::new(&copy).arg(argument).uid(65534).gid(65534).output().unwrap().into() };
    let status = as_nobody("status");
    assert_eq!(status.exit, 2, "{status:?}");
    for fact in ["is in effect", "not seen: what is steered", "CAP_NET_ADMIN"] {
        assert!(status.stdout.contains(fact), "{fact}: {status:?}");
    }
    let list = as_nobody("list");
    assert_eq!((list.exit, list.stdout.as_str()), (2, ""), "{list:?}");
    assert!(list.stderr.contains("sudo"), "{list:?}");
    let doctor = as_nobody("doctor");
    assert_eq!(doctor.exit, 1, "{doctor:?}");
    for fact in ["broken  CAP_BPF", "unseen  sk_lookup programs", "sudo sklookup doctor"] {
        assert!(doctor.stdout.contains(fact), "{fact}: {doctor:?}");
    }
}

fn leaves_nothing(sandbox: &Sandbox) {
    let ran = sklookup(&["doctor"]);
    assert_eq!(ran.exit, 0, "{ran:?}");
    assert!(ran.stdout.contains("steering can work here"), "{ran:?}");
    let left = |path: &std::path::Path| std::fs::read_dir(path).unwrap().count();
    assert_eq!(left(&sandbox.scratch), 0);
    assert!(!sandbox.bpffs.join("sklookup").exists());
}

fn no_bpffs(sandbox: &Sandbox) {
    let elsewhere = sandbox.scratch.to_str().unwrap();
    let ran = sklookup(&["--bpffs", elsewhere, "doctor"]);
    assert_eq!(ran.exit, 1, "{ran:?}");
    assert!(ran.stdout.contains(&format!("mount -t bpf -o mode=0711 bpf {elsewhere}")), "{ran:?}");
}
