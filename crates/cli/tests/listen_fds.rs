//! `register --listen-fds`: sockets that a service manager passes, by a shell in its place.

mod command;

use std::net::{TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use serde_json::Value;
use sklookup_testbed::{Sandbox, kernel_trial, plain_trial};

use command::{Ran, one_document, sklookup};

fn main() {
    sklookup_testbed::main(vec![
        kernel_trial("a_passed_socket_is_registered", one),
        kernel_trial("of_several_those_named_like_the_label_are_taken", named_like_the_label),
        kernel_trial("a_name_that_the_unit_gave_is_not_overlooked", another_name),
        kernel_trial("a_name_that_systemd_chose_is_none", default_names),
        kernel_trial("what_was_announced_and_not_passed_is_said", fewer_than_announced),
        plain_trial("sockets_for_another_process_are_left_alone", for_another_process),
        plain_trial("without_a_service_manager_there_are_none", nothing_passed),
    ]);
}

/// Two sockets, and what the service manager says of them.
struct Passed {
    tcp: TcpListener,
    udp: UdpSocket,
}

impl Passed {
    fn new() -> Passed {
        Passed { tcp: TcpListener::bind("127.0.0.1:0").unwrap(), udp: UdpSocket::bind("127.0.0.1:0").unwrap() }
    }

    /// Registers under `web` with the TCP socket as fd 3 and the UDP socket as fd 4, in this environment.
    fn register(&self, environment: &str) -> (i32, Value) {
        let script = format!("export LISTEN_PID=$$ {environment}; exec \"$0\" --json register web --listen-fds");
        let inherited = |fd: OwnedFd| Stdio::from(fd);
        let output = Command::new("sh")
            .args(["-c", &format!("{script} 3<&0 4<&2 0</dev/null 2>/dev/null"), env!("CARGO_BIN_EXE_sklookup")])
            .stdin(inherited(self.tcp.try_clone().unwrap().into()))
            .stderr(inherited(self.udp.try_clone().unwrap().into()))
            .output()
            .unwrap();
        let ran = Ran::from(output);
        (ran.exit, one_document(&ran))
    }

    fn tcp(&self) -> String {
        format!("tcp {} fd 3", self.tcp.local_addr().unwrap())
    }

    fn udp(&self) -> String {
        format!("udp {} fd 4", self.udp.local_addr().unwrap())
    }
}

fn sockets(document: &Value) -> Vec<String> {
    let sockets = document["sockets"].as_array().unwrap_or_else(|| panic!("{document}"));
    let text = |field: &Value| field.as_str().unwrap().to_owned();
    let mut sockets: Vec<String> = sockets
        .iter()
        .map(|socket| format!("{} {} fd {}", text(&socket["protocol"]), text(&socket["local"]), socket["fd"]))
        .collect();
    sockets.sort();
    sockets
}

fn one(_: &Sandbox) {
    let passed = Passed::new();
    let (exit, document) = passed.register("LISTEN_FDS=1");
    assert_eq!((exit, sockets(&document)), (0, vec![passed.tcp()]));
    let status = sklookup(&["status"]);
    assert!(status.stdout.contains(&passed.tcp.local_addr().unwrap().to_string()), "{status:?}");
}

fn named_like_the_label(_: &Sandbox) {
    let passed = Passed::new();
    let (exit, document) = passed.register("LISTEN_FDS=2 LISTEN_FDNAMES=dns:web");
    assert_eq!((exit, sockets(&document)), (0, vec![passed.udp()]), "each with the number it was passed as");
    let hint = document["warnings"][0]["help"].as_str().unwrap();
    assert_eq!(hint, "sklookup bind web udp PREFIX PORTS");
}

fn another_name(_: &Sandbox) {
    for names in ["http:dns", "http:dns.socket"] {
        let (exit, document) = Passed::new().register(&format!("LISTEN_FDS=2 LISTEN_FDNAMES={names}"));
        let message = document["errors"][0]["message"].as_str().unwrap();
        assert_eq!(exit, 2, "{document}");
        assert!(message.contains("named web") && message.contains("http"), "{message}");
    }
}

fn default_names(_: &Sandbox) {
    for names in ["", "unknown:unknown", "front.socket:front.socket"] {
        let passed = Passed::new();
        let (exit, document) = passed.register(&format!("LISTEN_FDS=2 LISTEN_FDNAMES={names}"));
        assert_eq!((exit, sockets(&document)), (0, vec![passed.tcp(), passed.udp()]), "{names}");
    }
}

fn fewer_than_announced(_: &Sandbox) {
    let (exit, document) = Passed::new().register("LISTEN_FDS=3");
    assert_eq!(exit, 2, "{document}");
    assert_eq!(document["errors"][0]["message"], "fd 5 was announced and is not open");
}

fn for_another_process() {
    let (exit, document) = Passed::new().register("LISTEN_FDS=1 LISTEN_PID=1");
    assert_eq!(exit, 2, "{document}");
    assert!(document["errors"][0]["message"].as_str().unwrap().contains("another process"), "{document}");
}

fn nothing_passed() {
    let ran = sklookup(&["register", "web", "--listen-fds"]);
    assert_eq!(ran.exit, 2, "{ran:?}");
    assert!(ran.stderr.contains("LISTEN_FDS is not set") && ran.stderr.contains("ExecStart="), "{ran:?}");
}
