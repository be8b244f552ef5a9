//! Objects, what is pinned of them, and sockets in their maps.

use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use serde_json::Value;
use sklookup_bpf::{Builder, ProgramSpec, Reg, abi};
use sklookup_kernel::{Map, Program, Sandbox};
use sklookup_testbed::leftovers::names;

use crate::command::{Ran, document, sklookup};
use crate::services::Server;

/// An object of the tests, by the name of its source: `assign` sends packets to port 7007 to the socket in slot 0 of
/// `sockets`, drops them without one, and leaves packets to other ports alone.
pub fn object(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../testdata/objects/clang-19-v3/{name}.o"));
    path.canonicalize().unwrap().to_str().unwrap().to_owned()
}

/// Runs a command that succeeds.
pub fn done(arguments: &[&str]) -> Ran {
    let ran = sklookup(arguments);
    assert_eq!(ran.exit, 0, "{arguments:?}: {ran:?}");
    ran
}

/// Attaches an object under the name of its program; answers the document.
pub fn attached(arguments: &[&str]) -> Value {
    let (exit, answer) = document(&[&["attach"], arguments].concat());
    assert_eq!(exit, 0, "{arguments:?}: {answer}");
    answer
}

/// The programs on the hook, as `programs` has them.
pub fn programs() -> Vec<Value> {
    document(&["programs"]).1["programs"].as_array().unwrap().clone()
}

/// One field of each program on the hook.
pub fn each(field: &str) -> Vec<Value> {
    programs().iter().map(|program| program[field].clone()).collect()
}

/// A pinned map of what was attached.
pub fn map(answer: &Value, name: &str) -> PathBuf {
    Path::new(answer["maps-pinned"].as_str().unwrap()).join(name)
}

/// Puts a socket under a number in a pinned map.
pub fn put(pin: &Path, slot: u32, socket: &impl AsRawFd) {
    let fd = u64::try_from(socket.as_raw_fd()).unwrap();
    Map::open(pin).unwrap().update(&slot.to_ne_bytes(), &fd.to_ne_bytes(), 0).unwrap();
}

/// A server whose socket is in slot 0 of `sockets` of what was attached.
pub fn server_in(answer: &Value, name: &str) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    put(&map(answer, "sockets"), 0, &listener);
    Server::of(name, listener)
}

/// Somebody else's program, which passes, not attached yet.
pub fn other() -> Program {
    let mut b = Builder::new();
    b.mov(Reg::R0, abi::SK_PASS);
    b.exit();
    Program::load(&ProgramSpec::sk_lookup("other", b.finish().unwrap(), Vec::new()), &[]).unwrap()
}

/// Makes sure that a bpffs has nothing but these.
pub fn left(sandbox: &Sandbox, expected: &[&str]) {
    assert_eq!(names(&sandbox.bpffs), expected);
}
