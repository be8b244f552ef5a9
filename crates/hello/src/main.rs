//! The smallest server worth steering to: it listens on one port of 127.0.0.1 and tells each client where it was going.
//!
//! It knows nothing of sklookup: `hello 8080`, then `curl http://127.0.0.1:8080/`.

use std::io::{Read, Write, copy, sink};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;

fn main() -> std::io::Result<()> {
    let port = std::env::args().nth(1).and_then(|port| port.parse().ok()).unwrap_or(8080);
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    eprintln!("hello: listening on {}", listener.local_addr()?);
    for client in listener.incoming() {
        // One client that goes away early is no reason to stop.
        if let Err(error) = client.and_then(greet) {
            eprintln!("hello: {error}");
        }
    }
    Ok(())
}

fn greet(mut client: TcpStream) -> std::io::Result<()> {
    // The address the client asked for, not the one we listen on.
    let asked = client.local_addr()?;
    let mut request = [0; 1024];
    let _ = client.read(&mut request)?;
    write!(client, "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nhello: you came to {asked}\n")?;
    // Closed with something unread, the connection is reset, and the answer may be lost with it.
    client.shutdown(Shutdown::Write)?;
    client.set_read_timeout(Some(Duration::from_secs(1)))?;
    let _ = copy(&mut client.take(1 << 16), &mut sink());
    Ok(())
}
