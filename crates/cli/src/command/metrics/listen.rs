//! Where scrapers come in: TCP, unix sockets, sockets that systemd passes.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};

use sklookup_kernel::Errno;
use sklookup_kernel::listen_fds::{self, ListenFd};
use sklookup_kernel::unix_listener::UnixSocket;

use crate::args::Listen;
use crate::output::{Failure, Said};

/// A listening socket that never blocks.
pub enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// Unix, under a path that is ours.
    Unix(UnixSocket),
    /// Unix, under a path that is systemd's.
    Passed(UnixListener),
}

/// A connection that never blocks.
pub trait Connected: Read + Write + AsFd {
    /// Says that nothing more will be sent.
    fn end(&self);
}

impl Listener {
    /// Opens one.
    pub fn open(at: &Listen) -> Result<Listener, Failure> {
        match at {
            Listen::Tcp(address) => {
                let fail = |error: io::Error| {
                    let why = error.to_string();
                    let why = why.split(" (os error").next().unwrap_or_default();
                    let help = match error.kind() {
                        io::ErrorKind::AddrInUse => "another program listens there; `ss -ltnp` says which",
                        io::ErrorKind::AddrNotAvailable => "name an address of this host, or only a port for 127.0.0.1",
                        _ => "ports below 1024 take CAP_NET_BIND_SERVICE",
                    };
                    Failure::new(Said::with_help(format!("listen at {address}: {why}"), help))
                };
                let listener = TcpListener::bind(address).map_err(fail)?;
                listener.set_nonblocking(true).map_err(fail)?;
                Ok(Listener::Tcp(listener))
            }
            Listen::Unix(path) => {
                let socket = UnixSocket::listen(path).map_err(|error| {
                    let help = match error.errno() {
                        Errno::ADDRINUSE => "another process listens there; end it, or name another path",
                        Errno::EXIST => "what is there is no socket; name another path",
                        _ => "its directory has to be there, and ours to write",
                    };
                    Failure::new(Said::with_help(format!("listen at a unix socket: {error}"), help))
                })?;
                socket.listener().set_nonblocking(true).map_err(|error| unusable("unix socket", &error))?;
                Ok(Listener::Unix(socket))
            }
        }
    }

    /// Those that systemd passes. To be called before anything is opened.
    pub fn passed() -> Result<Vec<Listener>, Failure> {
        let passed = listen_fds::passed().map_err(|error| {
            Failure::new(Said::with_help(
                format!("--listen-fds: {error}"),
                "start it by a socket unit of systemd: examples/metrics/sklookup-metrics.socket",
            ))
        })?;
        passed.into_iter().map(|ListenFd { number, fd, .. }| Listener::of(fd, number)).collect()
    }

    fn of(fd: OwnedFd, number: u32) -> Result<Listener, Failure> {
        let what = format!("the passed fd {number}");
        let unix = UnixListener::from(fd);
        // A name of another family is an error.
        if unix.local_addr().is_ok() {
            unix.set_nonblocking(true).map_err(|error| unusable(&what, &error))?;
            return Ok(Listener::Passed(unix));
        }
        let tcp = TcpListener::from(OwnedFd::from(unix));
        tcp.local_addr().and_then(|_| tcp.set_nonblocking(true)).map_err(|error| unusable(&what, &error))?;
        Ok(Listener::Tcp(tcp))
    }

    /// Where it is, for people.
    pub fn place(&self) -> String {
        let unix = |listener: &UnixListener| {
            let address = listener.local_addr().ok();
            let path = address.as_ref().and_then(|address| address.as_pathname());
            format!("unix:{}", path.map_or("(no path)".into(), |path| path.to_string_lossy()))
        };
        match self {
            Listener::Tcp(listener) => match listener.local_addr() {
                Ok(address) => format!("http://{address}/metrics"),
                Err(_) => "http://?/metrics".to_owned(),
            },
            Listener::Unix(socket) => unix(socket.listener()),
            Listener::Passed(listener) => unix(listener),
        }
    }

    /// Whether others than this host can reach it.
    pub fn is_remote(&self) -> bool {
        matches!(self, Listener::Tcp(listener)
            if listener.local_addr().is_ok_and(|address| !address.ip().to_canonical().is_loopback()))
    }

    /// The next connection.
    pub fn accept(&self) -> io::Result<Box<dyn Connected>> {
        let unix = |listener: &UnixListener| {
            let (stream, _) = listener.accept()?;
            stream.set_nonblocking(true)?;
            Ok(Box::new(stream) as Box<dyn Connected>)
        };
        match self {
            Listener::Tcp(listener) => {
                let (stream, _) = listener.accept()?;
                stream.set_nonblocking(true)?;
                Ok(Box::new(stream))
            }
            Listener::Unix(socket) => unix(socket.listener()),
            Listener::Passed(listener) => unix(listener),
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Listener::Tcp(listener) => listener.as_fd(),
            Listener::Unix(socket) => socket.as_fd(),
            Listener::Passed(listener) => listener.as_fd(),
        }
    }
}

impl Connected for TcpStream {
    fn end(&self) {
        // Whoever has gone already need not be told.
        let _ = self.shutdown(std::net::Shutdown::Write);
    }
}

impl Connected for UnixStream {
    fn end(&self) {
        let _ = self.shutdown(std::net::Shutdown::Write);
    }
}

fn unusable(what: &str, error: &io::Error) -> Failure {
    Failure::new(Said::with_help(
        format!("{what} can't be listened on: {error}"),
        "pass stream sockets (ListenStream=), with Accept=no",
    ))
}
