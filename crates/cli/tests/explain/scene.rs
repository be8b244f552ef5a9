//! What the tests start from: bindings, servers, the command as another user.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use sklookup_bpf::{ProgramSpec, ProgramType};
use sklookup_kernel::socket::Socket;
use sklookup_kernel::{Link, Netns, Program, Sandbox, Sockmap};

use crate::command::{Ran, document, sklookup};

/// Adds a binding, written as for `bind`.
pub fn bind(binding: &str) {
    let ran = sklookup(&[&["bind"], &binding.split(' ').collect::<Vec<_>>()[..]].concat());
    assert_eq!(ran.exit, 0, "{binding}: {ran:?}");
}

/// A listener on a port of its own choice, registered.
pub fn server(label: &str) -> TcpListener {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let local: SocketAddr = listener.local_addr().unwrap();
    let (pid, socket) = (std::process::id().to_string(), format!("tcp :{}", local.port()));
    let ran = sklookup(&["register", label, "--pid", &pid, "--match", &socket]);
    assert_eq!(ran.exit, 0, "{label} {socket}: {ran:?}");
    listener
}

/// The cookie of a socket, as documents have it.
pub fn cookie(socket: impl AsFd) -> String {
    Socket::inspect(socket).unwrap().unwrap().cookie.to_string()
}

/// The answer about a packet: exit status and document.
pub fn explain(packet: &str) -> (i32, Value) {
    document(&["explain", packet])
}

/// A copy of the command that everybody may run: the build directory may be closed to others.
pub fn copy_command(sandbox: &Sandbox) -> PathBuf {
    let copy = sandbox.scratch.join("sklookup");
    sklookup_testbed::copy_program(env!("CARGO_BIN_EXE_sklookup"), &copy);
    copy
}

/// What an ordinary user is answered by a copy of the command.
pub fn as_nobody(copy: &Path, arguments: &[&str]) -> Ran {
    Command::new(copy).args(arguments).uid(65534).gid(65534).output().unwrap().into()
}

/// Somebody else's program on the hook, attached as long as the link is held.
pub fn other(selects: Option<&TcpListener>, verdict: u8) -> Link {
    Link::attach(&program(selects, verdict), Netns::current().unwrap().as_fd()).unwrap()
}

/// Somebody else's program: selects this socket, if one is given, and returns a verdict.
pub fn program(selects: Option<&TcpListener>, verdict: u8) -> Program {
    match selects {
        Some(socket) => select(socket, "", 0, verdict),
        None => load(&format!("r0 = {verdict}\n exit"), &[]),
    }
}

/// Somebody else's program: selects this socket with these flags and returns a verdict. `first` stands before that, with the
/// context in r6; from there `goto done` selects nothing.
pub fn select(socket: impl AsFd, first: &str, flags: u8, verdict: u8) -> Program {
    let map = Sockmap::create("others", 1).unwrap();
    map.put(0, socket.as_fd()).unwrap();
    let text = format!(
        "r6 = r1
         {first}
         *(u32 *)(r10 -4) = 0
         r2 = r10
         r2 += -4
         r1 = map[others] ll
         call bpf_map_lookup_elem
         if r0 == 0 goto done
         r7 = r0
         r1 = r6
         r2 = r0
         r3 = {flags}
         call bpf_sk_assign
         r1 = r7
         call bpf_sk_release
     done:
         r0 = {verdict}
         exit"
    );
    load(&text, &[map.map().as_fd()])
}

/// Somebody else's program of this text.
pub fn load(text: &str, maps: &[BorrowedFd<'_>]) -> Program {
    let spec = ProgramSpec::from_text("other", ProgramType::SkLookup, text).unwrap();
    Program::load(&spec, maps).unwrap()
}

/// A listener that shares its place with others.
pub fn sharing(at: &str) -> TcpListener {
    let socket = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM, None).unwrap();
    rustix::net::sockopt::set_socket_reuseport(&socket, true).unwrap();
    rustix::net::bind(&socket, &at.parse::<SocketAddr>().unwrap()).unwrap();
    rustix::net::listen(&socket, 8).unwrap();
    socket.into()
}
