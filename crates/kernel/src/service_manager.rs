//! Telling the service manager how far we are (sd_notify(3)).

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Says that we are ready, to whoever wants to know (`NOTIFY_SOCKET`). That nobody does, or can't be told, changes nothing.
pub fn ready() {
    if let Some(socket) = env::var_os("NOTIFY_SOCKET") {
        let _ = send(&socket, b"READY=1");
    }
}

fn send(socket: &OsStr, message: &[u8]) -> io::Result<()> {
    let address = match socket.as_bytes() {
        // An `@` stands for the zero byte of a name that is no path.
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(socket)?,
    };
    UnixDatagram::unbound()?.send_to_addr(message, &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_no_path_is_reached_too() {
        let name = format!("sklookup-test-{}", std::process::id());
        let manager = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        send(OsStr::new(&format!("@{name}")), b"READY=1").unwrap();
        let mut message = [0; 16];
        let length = manager.recv(&mut message).unwrap();
        assert_eq!(&message[..length], b"READY=1");
        assert!(send(OsStr::new("/no/such/socket"), b"READY=1").is_err());
    }
}
