//! A server of metrics, who asks it, and what it tells about.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::command::{command, sklookup};

/// `sklookup metrics` at work.
pub struct Server {
    child: Child,
    stderr: BufReader<ChildStderr>,
    /// What it said while it began.
    pub said: String,
    /// The place it named first.
    pub place: String,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub head: String,
    pub body: String,
}

impl Server {
    /// At a port of its own choice.
    pub fn new(arguments: &[&str]) -> Server {
        Server::of(&mut command(&[&["metrics", "--listen", "127.0.0.1:0"], arguments].concat()))
    }

    /// This command, once it answers.
    pub fn of(command: &mut Command) -> Server {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let (mut said, mut place) = (String::new(), String::new());
        while !said.contains("gave up") {
            let mut line = String::new();
            assert!(stderr.read_line(&mut line).unwrap() > 0, "it ended: {said}");
            if let Some((_, named)) = line.split_once(" at ").filter(|_| line.contains(": metrics of ")) {
                place = named.trim().split(", ").next().unwrap().to_owned();
            }
            said += &line;
        }
        Server { child, stderr, said, place }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn address(&self) -> SocketAddr {
        self.place.trim_start_matches("http://").trim_end_matches("/metrics").parse().unwrap()
    }

    pub fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address()).unwrap()
    }

    pub fn get(&self, path: &str) -> Answer {
        ask(self.connect(), &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"))
    }

    /// The metrics, in the form that Prometheus always knew.
    pub fn scrape(&self) -> String {
        let answer = self.get("/metrics");
        assert!(answer.head.starts_with("HTTP/1.1 200 OK\r\n"), "{answer:?}");
        answer.body
    }

    /// The metrics, once a sample has this value: a snapshot serves for a moment.
    pub fn scrape_until(&self, sample: &str, expected: f64) -> String {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let text = self.scrape();
            if text.contains(&format!("\n{sample} ")) && value(&text, sample) == expected {
                return text;
            }
            assert!(Instant::now() < deadline, "{sample} never was {expected}: {text}");
        }
    }

    /// Ends it; answers its exit status, and what else it said.
    pub fn end(mut self, signal: Signal) -> (Option<i32>, String) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
        let status = self.child.wait().unwrap();
        let mut said = String::new();
        self.stderr.read_to_string(&mut said).unwrap();
        (status.code(), said)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a request, and reads the answer to its end.
pub fn ask(mut stream: impl Read + Write, request: &str) -> Answer {
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
    Answer { head: format!("{head}\r\n"), body: body.to_owned() }
}

/// The value of a sample.
pub fn value(text: &str, sample: &str) -> f64 {
    let values = text.lines().filter_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    let values: Vec<&str> = values.collect();
    let [value] = values[..] else { panic!("one {sample}: {text}") };
    value.parse().unwrap()
}

/// Adds a binding, written as for `bind`.
pub fn bind(binding: &str) {
    let ran = sklookup(&[&["bind"], &binding.split(' ').collect::<Vec<_>>()[..]].concat());
    assert_eq!(ran.exit, 0, "{binding}: {ran:?}");
}

/// A UDP socket that is registered.
pub fn udp_server(label: &str) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (pid, of) = (std::process::id().to_string(), format!("udp {}", socket.local_addr().unwrap()));
    let ran = sklookup(&["register", label, "--pid", &pid, "--match", &of]);
    assert_eq!(ran.exit, 0, "{ran:?}");
    socket
}

/// Sends a datagram over loopback: the hook has run when this returns.
pub fn send(to: &str) {
    UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"hello", to).unwrap();
}
