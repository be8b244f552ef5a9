//! Test runs: a program by itself on a made-up context.

use sklookup_bpf::ProgramType;
use sklookup_engine::{Context, Errno, Protocol, Verdict};

use crate::programs::{START, assign, assign_null, returning, selecting};
use crate::world::{World, at, errno};

/// Offsets into the context.
const FAMILY: usize = 8;
const PROTOCOL: usize = 12;
const PADDING: usize = 38;
const LOCAL_PORT: usize = 60;
const INTERFACE: usize = 64;

fn context() -> Context {
    Context { protocol: 6, source: at("127.0.0.2:8008"), destination: at("127.0.0.1:7007") }
}

fn bytes() -> [u8; 72] {
    let mut bytes = [0; 72];
    bytes[FAMILY] = 2;
    bytes[PROTOCOL] = 6;
    bytes[16..20].copy_from_slice(&[127, 0, 0, 2]);
    bytes[36..38].copy_from_slice(&8008u16.to_be_bytes());
    bytes[40..44].copy_from_slice(&[127, 0, 0, 1]);
    bytes[LOCAL_PORT..INTERFACE].copy_from_slice(&7007u32.to_ne_bytes());
    bytes
}

#[test]
fn the_result_is_what_a_chain_of_one_gives() {
    let world = World::new();
    let [a, b] = ["127.0.0.1:1", "127.0.0.1:2"].map(|address| world.tcp(address));
    world.sockets.put(0, &a).unwrap();
    world.sockets.put(1, &b).unwrap();
    for (text, verdict, cookie) in [
        (returning(1), Verdict::Pass, None),
        (returning(0), Verdict::Drop, None),
        (selecting(0, 0, 1), Verdict::Pass, Some(a.cookie())),
        (selecting(0, 0, 0), Verdict::Drop, None),
        ([START, &assign(0, 0), &assign(1, 1), &returning(1)].concat(), Verdict::Pass, Some(b.cookie())),
        ([START, &assign(0, 0), &assign_null(1), &returning(1)].concat(), Verdict::Pass, None),
    ] {
        let program = world.program(&text, &[]);
        for repeat in [0, 1, 3] {
            let run = program.test_run(&context(), repeat).unwrap();
            assert_eq!((run.verdict, run.cookie), (verdict, cookie), "{text}");
        }
    }
}

#[test]
fn the_context_comes_back_with_the_cookie() {
    let world = World::new();
    let socket = world.tcp("127.0.0.1:1");
    world.sockets.put(0, &socket).unwrap();
    let program = world.program(&selecting(0, 0, 1), &[]);
    let mut input = bytes();
    input[PADDING] = 7;
    let mut output = [9; 80];
    program.test_run_bytes(&input, &mut output, 1).unwrap();
    assert_eq!(output[..8], socket.cookie().to_ne_bytes());
    assert_eq!(output[8..72], input[8..]);
    let mut short = [9; 16];
    assert_eq!(errno(program.test_run_bytes(&input, &mut short, 1)), Errno::NOSPC);
    assert_eq!(short, output[..16]);
}

#[test]
fn contexts_that_cannot_be_are_refused() {
    let world = World::new();
    let program = world.program(&returning(1), &[]);
    let with = |offset: usize, byte: u8| {
        let mut bytes = bytes().to_vec();
        bytes.resize(bytes.len().max(offset + 1), 0);
        bytes[offset] = byte;
        program.test_run_bytes(&bytes, &mut [], 1).map(|run| run.verdict).map_err(|error| error.errno())
    };
    for (offset, byte, expected) in [
        (0, 1, Err(Errno::INVAL)),
        (7, 1, Err(Errno::INVAL)),
        (INTERFACE, 1, Err(Errno::INVAL)),
        (71, 1, Err(Errno::INVAL)),
        (LOCAL_PORT + 2, 1, Err(Errno::RANGE)),
        (FAMILY, 7, Err(Errno::AFNOSUPPORT)),
        // Only 16 bits of the family and protocol are kept.
        (FAMILY + 2, 1, Ok(Verdict::Pass)),
        (PROTOCOL, 255, Ok(Verdict::Pass)),
        (PADDING, 1, Ok(Verdict::Pass)),
        (80, 0, Ok(Verdict::Pass)),
        (80, 1, Err(Errno::TOOBIG)),
        (4096, 0, Err(Errno::TOOBIG)),
    ] {
        assert_eq!(with(offset, byte), expected, "{byte} at {offset}");
    }
    assert_eq!(errno(program.test_run_bytes(&[], &mut [], 1)), Errno::INVAL);
    // All zeros: no family.
    assert_eq!(errno(program.test_run_bytes(&[], &mut [0; 72], 1)), Errno::AFNOSUPPORT);
    let mixed = Context { source: at("[::1]:1"), ..context() };
    assert_eq!(errno(program.test_run(&mixed, 1)), Errno::AFNOSUPPORT);
}

#[test]
fn a_socket_with_reuseport_can_be_selected_only_alone() {
    let world = World::new();
    let member = world.member(Protocol::Tcp, "127.0.0.1:1");
    world.sockets.put(0, &member).unwrap();
    assert_eq!(errno(world.program(&selecting(0, 0, 1), &[]).test_run(&context(), 1)), Errno::OPNOTSUPP);
    let alone = world.program(&selecting(0, 2, 1), &[]).test_run(&context(), 1).unwrap();
    assert_eq!(alone.cookie, Some(member.cookie()));
}

#[test]
fn a_protocol_that_no_socket_has_finds_none() {
    let world = World::new();
    let listener = world.tcp("127.0.0.1:1");
    world.sockets.put(0, &listener).unwrap();
    let program = world.program(&selecting(0, 0, 1), &[]);
    let run = program.test_run(&Context { protocol: 132, ..context() }, 1).unwrap();
    assert_eq!((run.verdict, run.cookie), (Verdict::Pass, None));
}

#[test]
fn only_sk_lookup_programs_are_run() {
    let world = World::new();
    let program = world.load(ProgramType::SkReuseport, &returning(1), &[]);
    assert_eq!(errno(program.test_run(&context(), 1)), Errno::NOTSUPP);
}

#[test]
fn a_program_that_does_what_no_verified_one_does_is_broken_off_and_says_where() {
    let world = World::new();
    let program = world.program("r1 = 0\nr0 = *(u64 *)(r1 +0)\nexit", &[]);
    let error = program.test_run(&context(), 1).unwrap_err();
    assert_eq!(error.errno(), Errno::INVAL);
    assert!(error.to_string().contains("slot 1: `r0 = *(u64 *)(r1 +0)` goes to memory at NULL in r1"), "{error}");
}
