//! The server under test: an ordinary program that knows nothing of sklookup.
//!
//! This very test binary, started again as `serve NAME COMMAND...`. It answers every connection and datagram with its
//! name. Commands come as arguments and then as lines on standard input, and each is answered by a line on standard
//! output; so a test never has to guess when something has happened.

use std::io::{BufRead, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

enum Socket {
    Tcp(TcpListener),
    Udp(UdpSocket),
}

/// Serves until told to end, or until standard input ends.
pub fn serve(name: &str, commands: &[String]) -> ! {
    let mut sockets = Vec::new();
    for command in commands {
        obey(command, &mut sockets);
    }
    let stdin = std::io::stdin();
    loop {
        let mut fds = vec![PollFd::from_borrowed_fd(stdin.as_fd(), PollFlags::IN)];
        fds.extend(sockets.iter().map(|socket| PollFd::from_borrowed_fd(fd(socket), PollFlags::IN)));
        rustix::event::poll(&mut fds, None).expect("poll");
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        for (socket, _) in sockets.iter().zip(&ready[1..]).filter(|(_, ready)| **ready) {
            answer(socket, name);
        }
        if ready[0] {
            let mut line = String::new();
            // The tests write whole lines, one at a time, and wait for the answer: nothing is left in the buffer.
            if stdin.lock().read_line(&mut line).expect("a line") == 0 {
                std::process::exit(0);
            }
            let said = obey(line.trim(), &mut sockets);
            println!("{said}");
            std::io::stdout().flush().expect("flush");
        }
    }
}

fn obey(command: &str, sockets: &mut Vec<Socket>) -> String {
    let words: Vec<&str> = command.split_whitespace().collect();
    match words[..] {
        ["tcp", address] => sockets.push(Socket::Tcp(listen(address).into())),
        ["udp", address] => sockets.push(Socket::Udp(UdpSocket::bind(address).expect(address))),
        ["connected-udp", peer] => {
            let socket = UdpSocket::bind("127.0.0.1:0").expect("bind");
            socket.connect(peer).expect(peer);
            sockets.push(Socket::Udp(socket));
        }
        ["close"] => sockets.clear(),
        ["close-first"] => drop(sockets.remove(0)),
        ["fds"] => return open_fds().join(" "),
        ["uid"] => return rustix::process::getuid().as_raw().to_string(),
        ["exit", code] => std::process::exit(code.parse().expect("a number")),
        _ => panic!("no such command: {command}"),
    }
    "done".to_owned()
}

/// A listener that can be opened again at once, and beside others.
fn listen(address: &str) -> OwnedFd {
    let address: SocketAddr = address.parse().expect(address);
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = rustix::net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None).expect("socket");
    sockopt::set_socket_reuseaddr(&socket, true).expect("SO_REUSEADDR");
    sockopt::set_socket_reuseport(&socket, true).expect("SO_REUSEPORT");
    rustix::net::bind(&socket, &address).unwrap_or_else(|error| panic!("bind {address}: {error}"));
    rustix::net::listen(&socket, 128).expect("listen");
    socket
}

fn fd(socket: &Socket) -> std::os::fd::BorrowedFd<'_> {
    match socket {
        Socket::Tcp(listener) => listener.as_fd(),
        Socket::Udp(socket) => socket.as_fd(),
    }
}

fn answer(socket: &Socket, name: &str) {
    match socket {
        Socket::Tcp(listener) => {
            let (mut connection, _) = listener.accept().expect("accept");
            connection.set_write_timeout(Some(Duration::from_secs(5))).expect("a timeout");
            // A client that has gone is the client's affair.
            let _ = connection.write_all(name.as_bytes());
        }
        Socket::Udp(socket) => {
            let mut buffer = [0; 64];
            if let Ok((_, client)) = socket.recv_from(&mut buffer) {
                let _ = socket.send_to(name.as_bytes(), client);
            }
        }
    }
}

/// The numbers of this process's open fds, but for that of the listing itself.
fn open_fds() -> Vec<String> {
    let listed: Vec<u32> = std::fs::read_dir("/proc/self/fd")
        .expect("/proc")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    // The directory was closed by now.
    let mut open: Vec<u32> =
        listed.into_iter().filter(|fd| std::fs::read_link(format!("/proc/self/fd/{fd}")).is_ok()).collect();
    open.sort_unstable();
    open.iter().map(ToString::to_string).collect()
}
