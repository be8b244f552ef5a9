//! The servers of the stress: each answers a connection with its name.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};

/// Longer than a connection over loopback ever takes; what takes this long has failed.
const LONG: Duration = Duration::from_secs(20);

/// The answer of the kernel when no socket takes a connection.
pub const REFUSED: &str = "refused";

/// A listener and its name.
pub struct Server {
    pub name: String,
    pub listener: TcpListener,
}

impl Server {
    pub fn open(name: &str, address: &str) -> Server {
        let listener = TcpListener::bind(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        Server { name: name.to_owned(), listener }
    }

    /// As `--match` takes it.
    pub fn described(&self) -> String {
        format!("tcp {}", self.listener.local_addr().unwrap())
    }
}

/// Answers on all of them until the other end of `until` is closed.
pub fn serve(servers: &[Server], until: &OwnedFd) {
    loop {
        let mut fds = vec![PollFd::new(until, PollFlags::IN)];
        fds.extend(servers.iter().map(|server| PollFd::new(&server.listener, PollFlags::IN)));
        rustix::event::poll(&mut fds, None).unwrap();
        if !fds[0].revents().is_empty() {
            return;
        }
        for server in servers {
            while let Ok((mut connection, _)) = server.listener.accept() {
                // A client that has gone is the client's affair.
                let _ = connection.write_all(server.name.as_bytes());
            }
        }
    }
}

/// Who answers a connection: a name, or [`REFUSED`].
pub fn answer(to: &str) -> String {
    let address: SocketAddr = to.parse().unwrap();
    let mut stream = match TcpStream::connect_timeout(&address, LONG) {
        Ok(stream) => stream,
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => return REFUSED.to_owned(),
        Err(error) => panic!("{to}: {error}"),
    };
    stream.set_read_timeout(Some(LONG)).unwrap();
    let mut name = String::new();
    stream.read_to_string(&mut name).unwrap_or_else(|error| panic!("{to}: connected, and then {error}"));
    name
}
