//! What the tests start from: policies, sockets, packets, programs of others.

use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;

use serde_json::Value;
use sklookup_bpf::abi::{self, helper};
use sklookup_bpf::{AluOp, Builder, Cond, ProgramSpec, Reg, Size};
use sklookup_kernel::{Link, Netns, Program, Sockmap};

use crate::command::{document, sklookup};

/// Adds a binding, written as for `bind`.
pub fn bind(binding: &str) {
    let ran = sklookup(&[&["bind"], &binding.split(' ').collect::<Vec<_>>()[..]].concat());
    assert_eq!(ran.exit, 0, "{binding}: {ran:?}");
}

/// Registers a socket of this process.
pub fn register(label: &str, protocol: &str, local: SocketAddr) {
    let (pid, socket) = (std::process::id().to_string(), format!("{protocol} :{}", local.port()));
    let ran = sklookup(&["register", label, "--pid", &pid, "--match", &socket]);
    assert_eq!(ran.exit, 0, "{label} {socket}: {ran:?}");
}

/// A listener on a port of its own choice, registered.
pub fn tcp_server(label: &str, address: &str) -> TcpListener {
    let listener = TcpListener::bind((address, 0)).unwrap();
    register(label, "tcp", listener.local_addr().unwrap());
    listener
}

/// A UDP socket on a port of its own choice, registered.
pub fn udp_server(label: &str, address: &str) -> UdpSocket {
    let socket = UdpSocket::bind((address, 0)).unwrap();
    register(label, "udp", socket.local_addr().unwrap());
    socket
}

/// Whether a connection is accepted.
pub fn connects(to: &str) -> bool {
    TcpStream::connect(to).is_ok()
}

/// Sends a datagram over loopback: the hook has run when this returns.
pub fn send(to: &str) {
    let to: SocketAddr = to.parse().unwrap();
    let client = UdpSocket::bind(if to.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" }).unwrap();
    client.send_to(b"hello", to).unwrap();
}

/// The status, with its exit status.
pub fn status() -> (i32, Value) {
    document(&["status"])
}

/// What a label counted.
pub fn counts(label: &str) -> Value {
    let (_, status) = status();
    let labels = status["labels"].as_array().unwrap();
    labels.iter().find(|found| found["label"] == label).unwrap()["counts"].clone()
}

/// The sentences of what is dead or missing.
pub fn findings(status: &Value) -> Vec<&str> {
    let warnings = status["warnings"].as_array().map_or(&[][..], Vec::as_slice);
    warnings.iter().map(|warning| warning["message"].as_str().unwrap()).collect()
}

/// Somebody else's program on the hook, which passes; attached as long as the link is held.
pub fn other_program() -> (u32, Link) {
    let mut b = Builder::new();
    b.mov(Reg::R0, abi::SK_PASS);
    b.exit();
    attach(&ProgramSpec::sk_lookup("other", b.finish().unwrap(), Vec::new()), &[])
}

/// Somebody else's program on the hook, which selects this socket for every packet.
pub fn other_selecting(socket: impl AsFd) -> (u32, Link) {
    let map = Sockmap::create("others", 1).unwrap();
    map.put(0, socket.as_fd()).unwrap();
    let mut b = Builder::new();
    let pass = b.label();
    b.mov(Reg::R6, Reg::R1);
    b.store(Size::B4, Reg::R10, -4, 0);
    b.mov(Reg::R2, Reg::R10);
    b.alu(AluOp::Add, Reg::R2, -4);
    b.map(Reg::R1, 0);
    b.call(helper::MAP_LOOKUP_ELEM);
    b.branch(Cond::Eq, Reg::R0, 0, pass);
    b.mov(Reg::R7, Reg::R0);
    b.mov(Reg::R1, Reg::R6);
    b.mov(Reg::R2, Reg::R7);
    b.mov(Reg::R3, 0);
    b.call(helper::SK_ASSIGN);
    b.mov(Reg::R1, Reg::R7);
    b.call(helper::SK_RELEASE);
    b.place(pass);
    b.mov(Reg::R0, abi::SK_PASS);
    b.exit();
    attach(&ProgramSpec::sk_lookup("selects", b.finish().unwrap(), Vec::new()), &[map.as_fd()])
}

fn attach(spec: &ProgramSpec, maps: &[std::os::fd::BorrowedFd<'_>]) -> (u32, Link) {
    let program = Program::load(spec, maps).unwrap();
    (program.id(), Link::attach(&program, Netns::current().unwrap().as_fd()).unwrap())
}
