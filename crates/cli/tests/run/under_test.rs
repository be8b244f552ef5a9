//! A `sklookup run` in progress, and clients.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use sklookup_testbed::{Leftovers, Sandbox, Trace};

/// Longer than anything here takes; a test that waits this long has failed.
const LONG: Duration = Duration::from_secs(20);

/// A `run` that was started.
pub struct Run {
    pub child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    stderr: Receiver<String>,
    /// Lines of standard error that were read.
    pub heard: Vec<String>,
}

/// How a `run` ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit status.
    pub code: Option<i32>,
    /// What was left on standard output.
    pub stdout: String,
    /// All of standard error.
    pub stderr: String,
}

/// The command under test.
pub fn sklookup(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sklookup"));
    trace().of(command.args(arguments));
    command
}

/// Where the commands of a test write what they made: in the `/run` of its sandbox.
fn trace() -> Trace {
    Trace::new("/run/trace")
}

/// A server for `run` to start: this test binary.
pub fn server(name: &str, commands: &[&str]) -> Vec<String> {
    let own = std::env::current_exe().expect("our own path");
    let mut words = vec![own.to_str().expect("UTF-8").to_owned(), "serve".to_owned(), name.to_owned()];
    words.extend(commands.iter().map(ToString::to_string));
    words
}

impl Run {
    /// Starts `sklookup run OPTIONS -- COMMAND`.
    pub fn start(options: &[&str], command: &[String]) -> Run {
        let mut run = sklookup(&["run"]);
        run.args(options).arg("--").args(command);
        Run::spawn(run.stdin(Stdio::piped()))
    }

    /// The same, once it steers.
    pub fn steering(options: &[&str], command: &[String]) -> Run {
        let mut run = Run::start(options, command);
        run.hear("sklookup: steering ");
        run
    }

    /// Starts a command line as it is.
    pub fn spawn(command: &mut Command) -> Run {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("sklookup starts");
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let stderr = BufReader::new(child.stderr.take().expect("piped"));
        let (send, lines) = channel();
        std::thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
        Run { child, stdin, stdout, stderr: lines, heard: Vec::new() }
    }

    /// Waits for a line of standard error that begins so.
    pub fn hear(&mut self, beginning: &str) -> String {
        loop {
            match self.stderr.recv_timeout(LONG) {
                Ok(line) => {
                    self.heard.push(line.clone());
                    if line.starts_with(beginning) {
                        return line;
                    }
                }
                Err(error) => panic!("no line begins with {beginning:?} ({error}); heard {:#?}", self.heard),
            }
        }
    }

    /// Gives the server a command and answers what it says.
    pub fn tell(&mut self, command: &str) -> String {
        let stdin = self.stdin.as_mut().expect("not closed");
        stdin.write_all(format!("{command}\n").as_bytes()).expect("the server reads");
        let mut said = String::new();
        self.stdout.read_line(&mut said).expect("the server answers");
        said.trim_end().to_owned()
    }

    /// Gives it a command that it does not answer.
    pub fn order(&mut self, command: &str) {
        let stdin = self.stdin.as_mut().expect("not closed");
        stdin.write_all(format!("{command}\n").as_bytes()).expect("the server reads");
    }

    /// Sends sklookup a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("it is there");
    }

    /// Closes the server's standard input, which ends it, and waits.
    pub fn end(mut self) -> Ended {
        self.stdin = None;
        self.wait()
    }

    /// Waits until it has ended by itself.
    pub fn wait(mut self) -> Ended {
        // The pipe is closed when the last process that has it has gone.
        loop {
            match self.stderr.recv_timeout(LONG) {
                Ok(line) => self.heard.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("it does not end; heard {:#?}", self.heard),
            }
        }
        let mut stdout = String::new();
        self.stdout.read_to_string(&mut stdout).expect("text");
        let code = self.child.wait().expect("it was not waited for").code();
        Ended { code, stdout, stderr: self.heard.join("\n") }
    }
}

/// Ends a server whose test has failed.
impl Drop for Run {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Who answers a connection; an error if nobody does.
pub fn tcp(address: &str) -> std::io::Result<String> {
    let address: SocketAddr = address.parse().expect(address);
    let mut stream = TcpStream::connect_timeout(&address, LONG)?;
    stream.set_read_timeout(Some(LONG))?;
    let mut name = String::new();
    stream.read_to_string(&mut name)?;
    Ok(name)
}

/// Who answers a datagram; an error if the port is refused.
pub fn udp(address: &str) -> std::io::Result<String> {
    let address: SocketAddr = address.parse().expect(address);
    let own: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::LOCALHOST, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::LOCALHOST, 0).into(),
    };
    // Not connected: the answer comes from the address that the server is bound to.
    let socket = UdpSocket::bind(own)?;
    socket.set_read_timeout(Some(LONG))?;
    socket.send_to(b"who?", address)?;
    let mut name = [0; 64];
    let (length, _) = socket.recv_from(&mut name)?;
    Ok(String::from_utf8_lossy(&name[..length]).into_owned())
}

/// Whether a datagram is answered by "port unreachable", which only a connected socket hears.
pub fn is_udp_refused(address: &str) -> bool {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    socket.set_read_timeout(Some(LONG)).expect("a timeout");
    socket.connect(address).expect(address);
    socket.send(b"who?").expect("sent");
    socket.recv(&mut [0; 64]).is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
}

/// Nothing of sklookup is left: no name in the bpffs, nothing on the hook, none of the objects that were made.
pub fn assert_clean(sandbox: &Sandbox) {
    assert_eq!(Leftovers::of(sandbox, &trace()), Leftovers::default());
}
