//! Where there is no fd, no process, no directory and no standard output left.

use std::ffi::CString;
use std::net::TcpListener;
use std::process::{Command, Stdio};

use rustix::mount::{MountFlags, mount};
use sklookup_testbed::{CapabilitySet, Rights, Sandbox, Trial, copy_program, kernel_trial};

use crate::under_test::{Run, assert_clean, server, tcp};

pub fn trials() -> Vec<Trial> {
    vec![
        kernel_trial("with_too_few_fds_it_serves_or_says_so_and_leaves_nothing", fds),
        kernel_trial("with_no_process_left_it_says_so_and_leaves_nothing", processes),
        kernel_trial("it_runs_without_standard_input_output_and_error", no_standard_files),
        kernel_trial("it_runs_in_a_directory_that_is_gone", no_directory),
    ]
}

const SKLOOKUP: &str = env!("CARGO_BIN_EXE_sklookup");

/// `run` with its binding and a server, started by a shell that does this first.
fn after(first: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args([
        "-c",
        &format!("{first}; exec \"$@\""),
        "sh",
        SKLOOKUP,
        "run",
        "--bind",
        "tcp 127.7.0.0/16 80",
        "--",
    ]);
    command.args(server("web", &["tcp 127.0.0.1:8080"]));
    command
}

fn fds(sandbox: &Sandbox) {
    let (mut failed, mut served) = (0, 0);
    for limit in 3..40 {
        // The server ends at once, with its standard input.
        let ended = Run::spawn(after(&format!("ulimit -n {limit}")).stdin(Stdio::null())).wait();
        match ended.code {
            Some(0) => served += 1,
            Some(125..=127) => {
                assert!(!ended.stderr.is_empty() && !ended.stderr.contains("panicked"), "{limit}: {ended:?}");
                failed += 1;
            }
            _ => panic!("{limit}: {ended:?}"),
        }
        assert_clean(sandbox);
        // Neither does a server that was started in vain live on.
        drop(TcpListener::bind("127.0.0.1:8080").unwrap());
    }
    assert!(failed > 3 && served > 3, "{failed} failed, {served} served");
}

fn processes(sandbox: &Sandbox) {
    // Nobody else is this user: what root starts does not count, and root is not limited.
    const UID: u32 = 54_321;
    let bpffs = sandbox.scratch.join("bpffs");
    std::fs::create_dir(&bpffs).unwrap();
    let options = CString::new(format!("mode=0700,uid={UID}")).unwrap();
    mount("bpf", &bpffs, "bpf", MountFlags::empty(), Some(options.as_c_str())).unwrap();
    let copy = sandbox.scratch.join("sklookup");
    copy_program(SKLOOKUP, &copy);
    let start = |limit: u32| {
        let caps = CapabilitySet::BPF | CapabilitySet::NET_ADMIN;
        let mut command = Rights { uid: UID, caps }.command("/bin/sh");
        command.args(["-c", &format!("ulimit -p {limit}; exec \"$@\""), "sh"]).arg(&copy).arg("--bpffs").arg(&bpffs);
        command.args(["run", "--bind", "tcp 127.7.0.0/16 80", "--", "/bin/true"]);
        let ended = Run::spawn(command.stdin(Stdio::null())).wait();
        assert_eq!(sklookup_testbed::leftovers::names(&bpffs), Vec::<String>::new(), "{ended:?}");
        ended
    };
    let ended = start(1);
    assert_eq!(ended.code, Some(125), "{ended:?}");
    assert!(ended.stderr.contains("fork") && ended.stderr.contains("EAGAIN"), "{ended:?}");
    assert_eq!(start(2).code, Some(0));
}

fn no_standard_files(sandbox: &Sandbox) {
    // The server reads the end of its standard input at once where there is none.
    let closed = "exec <&- >&- 2>&-";
    assert_eq!(after(closed).status().unwrap().code(), Some(0));
    assert_clean(sandbox);
    // Where it has its input, it is served though nobody hears of it.
    let mut child = after("exec >&- 2>&-").stdin(Stdio::piped()).spawn().unwrap();
    while tcp("127.7.0.1:80").is_err() {
        assert_eq!(child.try_wait().unwrap(), None);
    }
    drop(child.stdin.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_clean(sandbox);
}

fn no_directory(sandbox: &Sandbox) {
    let gone = sandbox.scratch.join("gone");
    let first = format!("mkdir '{0}'; cd '{0}'; rmdir '{0}'", gone.display());
    let mut run = Run::spawn(after(&first).stdin(Stdio::piped()));
    run.hear("sklookup: steering ");
    assert_eq!(tcp("127.7.0.1:80").unwrap(), "web");
    assert_eq!(run.end().code, Some(0));
    assert_clean(sandbox);
}
