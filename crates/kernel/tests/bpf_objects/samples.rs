//! Programs and packets that several tests need.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};
use sklookup_bpf::abi::{self, context, helper};
use sklookup_bpf::{AluOp, AtomicOp, Builder, Cond, ProgramSpec, Reg, Size};
use sklookup_kernel::{Context, Program};

/// A program of these instructions, with its maps named by their numbers.
pub(crate) fn spec(write: impl FnOnce(&mut Builder)) -> ProgramSpec {
    let mut b = Builder::new();
    write(&mut b);
    ProgramSpec::sk_lookup("sample", b.finish().unwrap(), Vec::new())
}

/// Returns a verdict and does nothing else.
pub(crate) fn returning(verdict: i32) -> Program {
    let spec = spec(|b| {
        b.mov(Reg::R0, verdict);
        b.exit();
    });
    Program::load(&spec, &[]).unwrap()
}

/// Adds 1 to the counter of map 0 that the destination port numbers, and passes.
pub(crate) fn count_by_port() -> ProgramSpec {
    spec(|b| {
        let pass = b.label();
        key_from(b, context::LOCAL_PORT);
        b.map(Reg::R1, 0);
        b.call(helper::MAP_LOOKUP_ELEM);
        b.branch(Cond::Eq, Reg::R0, 0, pass);
        b.mov(Reg::R1, 1);
        b.atomic(Size::B8, AtomicOp::Add { fetch: false }, Reg::R0, 0, Reg::R1);
        b.place(pass);
        b.mov(Reg::R0, abi::SK_PASS);
        b.exit();
    })
}

/// Selects from sockmap 0 the socket at slot 0 and passes, whether there is one or not.
pub(crate) fn select_first() -> ProgramSpec {
    spec(|b| {
        let pass = b.label();
        b.mov(Reg::R6, Reg::R1);
        b.store(Size::B4, Reg::R10, -4, 0);
        b.mov(Reg::R2, Reg::R10);
        b.alu(AluOp::Add, Reg::R2, -4);
        b.map(Reg::R1, 0);
        b.call(helper::MAP_LOOKUP_ELEM);
        b.branch(Cond::Eq, Reg::R0, 0, pass);
        assign_and_release(b);
        b.place(pass);
        b.mov(Reg::R0, abi::SK_PASS);
        b.exit();
    })
}

/// Selects the socket at slot 0 of the sockmap at the index, in map of maps 0, that the destination port says.
pub(crate) fn select_through_array() -> ProgramSpec {
    spec(|b| {
        let pass = b.label();
        b.mov(Reg::R6, Reg::R1);
        key_from(b, context::LOCAL_PORT);
        b.map(Reg::R1, 0);
        b.call(helper::MAP_LOOKUP_ELEM);
        b.branch(Cond::Eq, Reg::R0, 0, pass);
        b.mov(Reg::R1, Reg::R0);
        b.store(Size::B4, Reg::R10, -4, 0);
        b.mov(Reg::R2, Reg::R10);
        b.alu(AluOp::Add, Reg::R2, -4);
        b.call(helper::MAP_LOOKUP_ELEM);
        b.branch(Cond::Eq, Reg::R0, 0, pass);
        assign_and_release(b);
        b.place(pass);
        b.mov(Reg::R0, abi::SK_PASS);
        b.exit();
    })
}

/// A TCP packet to this port of a host.
pub(crate) fn to_port(port: u16) -> Context {
    Context {
        protocol: 6,
        source: SocketAddr::from(([198, 51, 100, 9], 40000)),
        destination: SocketAddr::from(([192, 0, 2, 7], port)),
    }
}

/// Waits for what the kernel does in its own time, such as after an RCU grace period.
pub(crate) fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < deadline, "waited 20 s in vain: {what}");
        std::thread::yield_now();
    }
}

/// Gives up every right of the calling thread for the time of `f`.
pub(crate) fn without_rights<T>(f: impl FnOnce() -> T) -> T {
    let before = capabilities(None).unwrap();
    set_capabilities(None, CapabilitySets { effective: CapabilitySet::empty(), ..before }).unwrap();
    let result = f();
    set_capabilities(None, before).unwrap();
    result
}

/// Leaves in R2 the address of a key: this 4-byte field of the context in R1.
fn key_from(b: &mut Builder, field: i16) {
    b.load(Size::B4, Reg::R2, Reg::R1, field);
    b.store(Size::B4, Reg::R10, -4, Reg::R2);
    b.mov(Reg::R2, Reg::R10);
    b.alu(AluOp::Add, Reg::R2, -4);
}

/// Selects the socket in R0 for the context in R6.
fn assign_and_release(b: &mut Builder) {
    b.mov(Reg::R7, Reg::R0);
    b.mov(Reg::R1, Reg::R6);
    b.mov(Reg::R2, Reg::R7);
    b.mov(Reg::R3, 0);
    b.call(helper::SK_ASSIGN);
    b.mov(Reg::R1, Reg::R7);
    b.call(helper::SK_RELEASE);
}
