//! A server of any name: this very test binary, started as `rename NAME`.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

/// Where it listens.
pub const ADDRESS: &str = "127.0.0.1:8080";

/// Takes the name and listens until standard input ends.
pub fn start(name: &str) -> ! {
    std::fs::write("/proc/self/comm", name).expect("a process may name itself");
    let listener = TcpListener::bind(ADDRESS).expect("a port of its own namespace");
    println!("listens");
    let _ = std::io::stdin().read(&mut [0]);
    drop(listener);
    std::process::exit(0)
}

/// One that was started; it ends when this is dropped.
pub struct Renamed(pub Child);

impl Renamed {
    /// Starts it, and waits until it listens.
    pub fn new(name: &str) -> Renamed {
        let mut command = Command::new(std::env::current_exe().expect("our own path"));
        let mut child = command.args(["rename", name]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("it says so");
        assert_eq!(line, "listens\n");
        Renamed(child)
    }
}

impl Drop for Renamed {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}
