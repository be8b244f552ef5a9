//! A client always gets its answer, however it asks.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};

/// A server of its own on a free port, gone with the test.
struct Server {
    process: Child,
    address: SocketAddr,
}

impl Server {
    fn start() -> Server {
        let mut process = Command::new(env!("CARGO_BIN_EXE_hello")).arg("0").stderr(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        BufReader::new(process.stderr.take().unwrap()).read_line(&mut said).unwrap();
        let address = said.trim().strip_prefix("hello: listening on ").unwrap().parse().unwrap();
        Server { process, address }
    }

    /// What it answers to a request that comes in these pieces.
    fn answer(&self, request: &[&[u8]]) -> String {
        let mut client = TcpStream::connect(self.address).unwrap();
        client.set_nodelay(true).unwrap();
        for piece in request {
            client.write_all(piece).unwrap();
        }
        client.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        answer
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn each_client_is_told_where_it_was_going_however_it_asks() {
    let server = Server::start();
    let expected = format!("\r\n\r\nhello: you came to {}\n", server.address);
    let long = [b'x'; 5000];
    let requests: [&[&[u8]]; 4] = [&[b"GET / HTTP/1.0\r\n\r\n"], &[b"GET / HTT", b"P/1.0\r\n\r\n"], &[&long], &[]];
    for request in requests {
        let answer = server.answer(request);
        assert!(answer.starts_with("HTTP/1.0 200 OK\r\n") && answer.ends_with(&expected), "{answer:?}");
    }
}
