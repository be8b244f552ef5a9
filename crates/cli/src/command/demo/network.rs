//! The servers and clients of the demo: ordinary sockets that know nothing of sklookup.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::output::{Failure, Said};

/// Longer than anything here takes when all is well.
const LONG: Duration = Duration::from_secs(5);

/// How long a datagram's answer may take before its port is asked whether it is refused.
const SHORT: Duration = Duration::from_millis(300);

/// A server that answers with its name. Dropping it closes its socket.
#[derive(Debug)]
pub struct Server {
    name: &'static str,
    protocol: &'static str,
    local: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// A TCP server.
    pub fn tcp(name: &'static str, address: &str) -> Result<Server, Failure> {
        let listener = TcpListener::bind(address).map_err(|error| failed("listen on tcp", address, &error))?;
        let local = listener.local_addr().map_err(|error| failed("listen on tcp", address, &error))?;
        Ok(Server::start(name, "tcp", local, move |stop| {
            for connection in listener.incoming() {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                // A client that has gone already wants no answer.
                let _ = connection.and_then(|mut connection| connection.write_all(name.as_bytes()));
            }
        }))
    }

    /// A UDP server.
    pub fn udp(name: &'static str, address: &str) -> Result<Server, Failure> {
        let socket = UdpSocket::bind(address).map_err(|error| failed("bind udp", address, &error))?;
        let local = socket.local_addr().map_err(|error| failed("bind udp", address, &error))?;
        Ok(Server::start(name, "udp", local, move |stop| {
            let mut buffer = [0; 64];
            while let Ok((_, client)) = socket.recv_from(&mut buffer) {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let _ = socket.send_to(name.as_bytes(), client);
            }
        }))
    }

    /// Its name, which is its answer.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Its socket, as `--match` describes it.
    pub fn socket(&self) -> String {
        format!("{} {}", self.protocol, self.local)
    }

    fn start(
        name: &'static str,
        protocol: &'static str,
        local: SocketAddr,
        serve: impl FnOnce(&AtomicBool) + Send + 'static,
    ) -> Server {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::spawn(move || serve(&told));
        Server { name, protocol, local, stop, thread: Some(thread) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // It waits for a packet; give it one.
        let own = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), self.local.port());
        let woken = match self.protocol {
            "tcp" => TcpStream::connect(own).map(drop),
            _ => UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.send_to(b"", own)).map(drop),
        };
        if let (Ok(()), Some(thread)) = (woken, self.thread.take()) {
            // It has no more to say, not even that it panicked.
            let _ = thread.join();
        }
    }
}

/// Who answers a connection: a server's name, `refused`, or what went wrong.
pub fn ask_tcp(to: SocketAddr) -> String {
    let answer = TcpStream::connect_timeout(&to, LONG).and_then(|mut stream| {
        stream.set_read_timeout(Some(LONG))?;
        let mut name = String::new();
        stream.read_to_string(&mut name)?;
        Ok(name)
    });
    answer.unwrap_or_else(|error| in_words(&error))
}

/// Who answers a datagram.
pub fn ask_udp(to: SocketAddr) -> String {
    // Not connected: the answer comes from where the server is bound, not from where we asked.
    let answer = UdpSocket::bind("127.0.0.1:0").and_then(|socket| {
        socket.set_read_timeout(Some(SHORT))?;
        socket.send_to(b"who?", to)?;
        receive(&socket)
    });
    // Only a connected socket hears that a port is closed.
    let answer = answer.or_else(|_| {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(to)?;
        socket.set_read_timeout(Some(LONG))?;
        socket.send(b"who?")?;
        receive(&socket)
    });
    answer.unwrap_or_else(|error| in_words(&error))
}

fn receive(socket: &UdpSocket) -> std::io::Result<String> {
    let mut name = [0; 64];
    let (length, _) = socket.recv_from(&mut name)?;
    Ok(String::from_utf8_lossy(&name[..length]).into_owned())
}

/// A client that connects to ever other addresses of 127.7.0.0/16, as fast as it can, until it is stopped.
#[derive(Debug)]
pub struct Client {
    stop: Arc<AtomicBool>,
    made: Arc<AtomicUsize>,
    thread: JoinHandle<Traffic>,
}

/// What came of a client's connections.
#[derive(Clone, Debug, Default)]
pub struct Traffic {
    /// How many were refused.
    pub refused: usize,
    answers: BTreeMap<String, usize>,
}

impl Client {
    /// Begins.
    pub fn start(port: u16) -> Client {
        let stop = Arc::new(AtomicBool::new(false));
        let made = Arc::new(AtomicUsize::new(0));
        let (told, counted) = (Arc::clone(&stop), Arc::clone(&made));
        let thread = std::thread::spawn(move || {
            let mut traffic = Traffic::default();
            // 127.7.7.7 is another binding's.
            for host in (0..=u16::MAX).cycle().filter(|host| *host != 0x0707) {
                if told.load(Ordering::Relaxed) {
                    break;
                }
                let [third, fourth] = host.to_be_bytes();
                traffic.add(ask_tcp((Ipv4Addr::new(127, 7, third, fourth), port).into()));
                counted.fetch_add(1, Ordering::Relaxed);
            }
            traffic
        });
        Client { stop, made, thread }
    }

    /// Waits until it has made some more connections.
    pub fn go_on(&self) {
        let goal = self.made.load(Ordering::Relaxed) + 500;
        let deadline = Instant::now() + LONG;
        // Less than that is the report's to tell.
        while self.made.load(Ordering::Relaxed) < goal && Instant::now() < deadline {
            std::thread::yield_now();
        }
    }

    /// Ends it.
    pub fn stop(self) -> Traffic {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_default()
    }
}

impl Traffic {
    /// How many connections a server answered.
    pub fn answered(&self, name: &str) -> usize {
        self.answers.get(name).copied().unwrap_or(0)
    }

    /// All connections that were tried.
    pub fn total(&self) -> usize {
        self.refused + self.answers.values().sum::<usize>()
    }

    fn add(&mut self, answer: String) {
        match answer.as_str() {
            "refused" => self.refused += 1,
            _ => *self.answers.entry(answer).or_default() += 1,
        }
    }
}

fn in_words(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::ConnectionRefused => "refused".to_owned(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut => "no answer".to_owned(),
        _ => error.to_string(),
    }
}

fn failed(what: &str, address: &str, error: &std::io::Error) -> Failure {
    Failure::new(Said::new(format!("{what} {address}: {error}")))
}
