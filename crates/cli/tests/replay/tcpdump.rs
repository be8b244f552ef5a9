//! Real traffic, recorded by tcpdump.

use std::io::Read;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::process::{Child, ChildStdout, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use sklookup_testbed::{Completion, Sandbox, Trial, kernel_trial, sandbox_trial};

use crate::command::{document, sklookup};

pub fn trials() -> Vec<Trial> {
    if Command::new("tcpdump").arg("--version").output().is_err() {
        let missing = |name: &str| {
            Trial::ignorable_test(name, || {
                Ok(Completion::ignored_with("tcpdump is not installed: apt-get install tcpdump"))
            })
        };
        return vec![missing("what_tcpdump_recorded_is_what_was_sent"), missing("live_is_the_applied_policy")];
    }
    vec![
        sandbox_trial("what_tcpdump_recorded_is_what_was_sent", recorded),
        kernel_trial("live_is_the_applied_policy", live),
    ]
}

/// The last datagram that is sent: what came before it was recorded.
const LAST: &[u8] = b"this is the last one of them";

/// A tcpdump that has begun to record, and what it has written.
struct Tcpdump {
    process: Child,
    output: ChildStdout,
    written: Vec<u8>,
}

impl Tcpdump {
    fn on(interface: &str) -> Tcpdump {
        let mut process = Command::new("tcpdump")
            // A packet is kept in part, so that its buffer has room for many.
            .args(["-i", interface, "-s", "256", "-B", "4096", "--immediate-mode", "-U", "-n", "-w", "-"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut tcpdump = Tcpdump { output: process.stdout.take().unwrap(), process, written: Vec::new() };
        // It writes the header when it records.
        tcpdump.read_until(|written| written.len() >= 24);
        tcpdump
    }

    fn read_until(&mut self, enough: impl Fn(&[u8]) -> bool) {
        let mut bytes = [0; 65_536];
        while !enough(&self.written) {
            let read = self.output.read(&mut bytes).unwrap();
            assert_ne!(read, 0, "tcpdump ended");
            self.written.extend_from_slice(&bytes[..read]);
        }
    }

    /// The capture, up to the last datagram.
    fn end(mut self) -> Vec<u8> {
        self.read_until(|written| written.windows(LAST.len()).any(|bytes| bytes == LAST));
        kill_process(Pid::from_child(&self.process), Signal::INT).unwrap();
        self.output.read_to_end(&mut self.written).unwrap();
        self.process.wait().unwrap();
        self.written
    }
}

/// Three connections to port 8080, one that is refused at 81, a datagram of 60,000 bytes to 5353 and one back.
fn traffic() {
    let listener = TcpListener::bind("127.0.0.1:8080").unwrap();
    for _ in 0..3 {
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        drop(listener.accept().unwrap());
        drop(client);
    }
    TcpStream::connect("127.0.0.1:81").unwrap_err();
    let server = UdpSocket::bind("127.0.0.1:5353").unwrap();
    let client = UdpSocket::bind("127.0.0.1:5000").unwrap();
    client.send_to(&[0; 60_000], server.local_addr().unwrap()).unwrap();
    server.send_to(&[0; 10], client.local_addr().unwrap()).unwrap();
    client.send_to(LAST, "127.0.0.1:9").unwrap();
}

fn up(mtu: &str) {
    let status = Command::new("ip").args(["link", "set", "lo", "up", "mtu", mtu]).status().unwrap();
    assert!(status.success());
}

const POLICY: &str =
    r#"bindings = ["web tcp 127.0.0.0/8 8080", "dns udp 127.0.0.1 5353", "refuse tcp 127.0.0.1 81 dev lo"]"#;

/// Flows by label, refused, without a binding; how many packets the big datagram took.
fn flows(replayed: &Value) -> Value {
    json!({
        "labels": replayed["labels"].as_array().unwrap().iter().map(|label| {
            json!([label["label"], label["traffic"]["flows"]])
        }).collect::<Vec<_>>(),
        "refused": replayed["outcomes"]["refused"]["flows"],
        "no-binding": replayed["outcomes"]["no-binding"]["flows"],
    })
}

fn recorded(sandbox: &Sandbox) {
    // The big datagram has to be cut in forty and more.
    up("1500");
    let policy = sandbox.scratch.join("policy.toml");
    std::fs::write(&policy, POLICY).unwrap();
    for (interface, more) in [("any", &["--dev", "1=lo"][..]), ("lo", &["--local", "127.0.0.1", "--dev", "lo"])] {
        let tcpdump = Tcpdump::on(interface);
        traffic();
        let file = sandbox.scratch.join(interface);
        std::fs::write(&file, tcpdump.end()).unwrap();
        let words = [&["replay", file.to_str().unwrap(), "--policy", policy.to_str().unwrap()], more].concat();
        let (exit, replayed) = document(&words);
        assert_eq!(exit, 0, "{replayed}");
        let expected = json!({ "labels": [["dns", 1], ["web", 3]], "refused": 1, "no-binding": 2 });
        assert_eq!(flows(&replayed), expected, "{interface}: {replayed}");
        let dns = replayed["bindings"].as_array().unwrap().iter().find(|binding| binding["label"] == "dns").unwrap();
        let packets = dns["traffic"]["packets"].as_u64().unwrap();
        assert!((40..=42).contains(&packets), "{interface}: {replayed}");
        assert_eq!(dns["traffic"]["bytes"], 60_000 + 8 + 20 * packets);
        assert_eq!(replayed["udp-answers"]["flows"], 1, "what the server sent back");
    }
}

fn live(sandbox: &Sandbox) {
    up("65536");
    let policy = sandbox.scratch.join("policy.toml");
    std::fs::write(&policy, POLICY).unwrap();
    let policy = policy.to_str().unwrap();
    let capture = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/captures/tcpdump-any.pcap");
    let ran = sklookup(&["replay", capture]);
    assert_eq!(ran.exit, 2);
    assert!(ran.stderr.contains("nothing is steered here: there is no applied policy"), "{}", ran.stderr);

    assert_eq!(sklookup(&["apply", policy]).exit, 0);
    assert_eq!(sklookup(&["unbind", "web", "tcp", "127.0.0.0/8", "8080"]).exit, 0);
    let (exit, replayed) = document(&["replay", capture, "--dev", "1=lo"]);
    assert_eq!(exit, 0);
    assert_eq!(flows(&replayed), json!({ "labels": [["dns", 1]], "refused": 1, "no-binding": 3 }), "{replayed}");
    let (exit, changes) = document(&["replay", capture, "--policy", policy, "--against", "live", "--dev", "1=lo"]);
    assert_eq!(exit, 1);
    assert_eq!((&changes["changed"]["flows"], &changes["unchanged"]["flows"]), (&json!(2), &json!(3)), "{changes}");
    assert_eq!((&changes["changes"][0]["from"], &changes["changes"][0]["to"]["label"]), (&Value::Null, &json!("web")));
}
