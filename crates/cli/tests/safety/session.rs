//! A stand-in for an ssh daemon: it takes one connection and starts a command for it.
//!
//! This test binary under another name, started as `daemon ADDRESS COMMAND...`: listens, says so, accepts, stops
//! listening, and runs the command while it holds the connection.

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use sklookup_testbed::{Sandbox, copy_program};

use crate::command::Ran;

/// The daemon itself.
pub fn serve(address: &str, command: &[String]) -> ! {
    let listener = TcpListener::bind(address).expect(address);
    println!("{}", listener.local_addr().expect("bound"));
    let (connection, _) = listener.accept().expect("a client comes");
    drop(listener);
    let status = match command {
        // Holds the connection until nobody wants it any more.
        [] => {
            let _ = std::io::stdin().read(&mut [0]);
            0
        }
        [program, arguments @ ..] => {
            let status = Command::new(program).args(arguments).stdin(Stdio::null()).status().expect(program);
            status.code().unwrap_or(255)
        }
    };
    drop(connection);
    std::process::exit(status)
}

/// A session that is there.
pub struct Session {
    /// Where it came in.
    pub local: SocketAddr,
    daemon: Child,
    client: TcpStream,
    said: BufReader<std::process::ChildStdout>,
}

/// Where to find the daemon: the name makes it one.
pub fn daemon(sandbox: &Sandbox, name: &str) -> PathBuf {
    let path = sandbox.scratch.join(name);
    if !path.exists() {
        copy_program(std::env::current_exe().expect("our own path"), &path);
    }
    path
}

impl Session {
    /// Starts a daemon of this name as root, and connects to it; it then runs the command.
    pub fn open(sandbox: &Sandbox, name: &str, address: &str, command: &[&str]) -> Session {
        let mut starter = Command::new(daemon(sandbox, name));
        starter.args(["daemon", address]).args(command);
        let mut daemon = starter.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(daemon.stdout.take().expect("piped"));
        let mut line = String::new();
        said.read_line(&mut line).expect("it says where it listens");
        let local: SocketAddr = line.trim().parse().unwrap_or_else(|error| panic!("{address}: {line:?}: {error}"));
        let target = match local {
            // An IPv6 socket on every address takes IPv4 as well.
            local if local.ip().is_unspecified() => SocketAddr::new([127, 0, 0, 1].into(), local.port()),
            local => local,
        };
        let client = TcpStream::connect(target).expect("it listens");
        Session { local: target, daemon, client, said }
    }

    /// `SSH_CONNECTION` as a daemon would set it.
    pub fn variable(&self) -> String {
        let client = self.client.local_addr().expect("connected");
        format!("{} {} {} {}", client.ip(), client.port(), self.local.ip(), self.local.port())
    }

    /// Waits for its command to end.
    pub fn end(mut self) -> Ran {
        let mut stdout = String::new();
        self.said.read_to_string(&mut stdout).expect("text");
        let mut stderr = String::new();
        self.daemon.stderr.take().expect("piped").read_to_string(&mut stderr).expect("text");
        Ran { exit: self.daemon.wait().expect("not waited for yet").code().unwrap_or(-1), stdout, stderr }
    }
}
