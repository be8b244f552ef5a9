//! Under systemd: sockets that it passes, the readiness that it is told, and the units that we ship.

use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::process::{Command, Stdio};

use sklookup_testbed::{Sandbox, Trial, kernel_trial, plain_trial};

use crate::command::sklookup;
use crate::world::{Server, ask, bind, value};

pub fn trials() -> Vec<Trial> {
    vec![
        kernel_trial("passed::sockets_of_both_kinds_are_answered_on_and_systemd_is_told", both),
        plain_trial("passed::without_systemd_there_are_none", none),
        plain_trial("passed::the_units_start_commands_of_ours_and_fit_together", units),
    ]
}

fn both(sandbox: &Sandbox) {
    bind("dns udp 127.7.0.0/16 53");
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let path = sandbox.scratch.join("passed.sock");
    let unix = UnixListener::bind(&path).unwrap();
    let notify = sandbox.scratch.join("notify.sock");
    let manager = UnixDatagram::bind(&notify).unwrap();
    // A shell in the place of systemd: LISTEN_PID is a pid that only the child knows.
    let script =
        "export LISTEN_PID=$$ LISTEN_FDS=2; exec \"$0\" metrics --listen-fds 3<&0 4<&1 0</dev/null 1>/dev/null";
    let mut shell = Command::new("sh");
    shell.args(["-c", script, env!("CARGO_BIN_EXE_sklookup")]).env("NOTIFY_SOCKET", &notify);
    shell.stdin(Stdio::from(OwnedFd::from(tcp.try_clone().unwrap())));
    shell.stdout(Stdio::from(OwnedFd::from(unix.try_clone().unwrap())));
    let server = Server::of(&mut shell);
    let mut message = [0; 16];
    let length = manager.recv(&mut message).unwrap();
    assert_eq!(&message[..length], b"READY=1");
    let request = "GET /metrics HTTP/1.1\r\n\r\n";
    for answer in [
        ask(TcpStream::connect(tcp.local_addr().unwrap()).unwrap(), request),
        ask(UnixStream::connect(&path).unwrap(), request),
    ] {
        assert_eq!(value(&answer.body, "sklookup_up"), 1.0);
    }
    drop(server);
    assert!(path.exists(), "the path is systemd's");
}

fn none() {
    let ran = sklookup(&["metrics", "--listen-fds"]);
    assert!(ran.exit == 2 && ran.stderr.contains("LISTEN_FDS is not set"), "{ran:?}");
}

fn units() {
    let service = include_str!("../../../../examples/metrics/sklookup-metrics.service");
    let socket = include_str!("../../../../examples/metrics/sklookup-metrics.socket");
    let textfile = include_str!("../../../../examples/metrics/sklookup-textfile.service");
    for unit in [service, textfile] {
        let command = setting(unit, "ExecStart");
        let (program, arguments) = command.split_once(' ').unwrap();
        assert_eq!(program, "/usr/local/bin/sklookup");
        let arguments: Vec<&str> = arguments.split(' ').collect();
        assert_eq!(sklookup(&[&arguments[..], &["--help"]].concat()).exit, 0, "{arguments:?}");
        assert_eq!(setting(unit, "CapabilityBoundingSet"), "");
    }
    assert_eq!((setting(service, "Requires"), setting(service, "Type")), ("sklookup-metrics.socket", "notify"));
    assert!(setting(socket, "ListenStream").starts_with("127.0.0.1:"));
    let file = setting(textfile, "ExecStart").rsplit_once(' ').unwrap().1;
    assert!(file.starts_with(setting(textfile, "ReadWritePaths")), "{file}");
}

/// The value of a setting that a unit has once.
fn setting<'a>(unit: &'a str, key: &str) -> &'a str {
    let values: Vec<&str> = unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect();
    let [value] = values[..] else { panic!("one {key}: {values:?}") };
    value
}
