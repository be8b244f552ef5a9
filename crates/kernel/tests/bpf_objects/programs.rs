//! Programs: loading, refusals, test runs.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::AsFd;

use rustix::net::sockopt::{set_socket_reuseport, socket_cookie};
use rustix::net::{AddressFamily, SocketType};
use sklookup_bpf::abi::{self, context};
use sklookup_bpf::{AluOp, Cond, MapSpec, MapType, ProgramSpec, ProgramType, Reg, Size};
use sklookup_kernel::{Context, Errno, Map, Program, Sockmap, Verdict, program_info_by_id, socket_options};
use sklookup_testbed::{Sandbox, Trial, kernel_trial};

use crate::samples::{returning, select_first, spec, to_port, without_rights};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        kernel_trial("programs::a_test_run_gives_verdict_socket_and_time", test_run),
        kernel_trial("programs::a_test_run_shows_the_packet_as_it_was_put", context_fields),
        kernel_trial("programs::a_test_run_is_refused_for_mixed_families_and_reuseport_groups", test_run_refusals),
        kernel_trial("programs::a_test_run_of_bytes_is_judged_by_the_kernel", test_run_bytes),
        kernel_trial("programs::a_reuseport_program_picks_the_member", reuseport),
        kernel_trial("programs::a_refused_program_comes_with_the_verifiers_reason", refused),
        kernel_trial("programs::a_long_log_is_kept_whole", long_log),
        kernel_trial("programs::a_map_that_was_not_given_is_an_error", missing_map),
        kernel_trial("programs::without_rights_nothing_loads", no_rights),
        kernel_trial("programs::equal_bytes_loaded_twice_are_two_programs", identity),
        kernel_trial("programs::a_program_knows_its_maps_beyond_64", bound_maps),
        kernel_trial("programs::any_program_is_known_by_id_while_it_lives", by_id),
    ]
}

fn test_run(_: &Sandbox) {
    let map = Sockmap::create("web", 1).unwrap();
    let program = Program::load(&select_first(), &[map.as_fd()]).unwrap();
    let none = program.test_run(&to_port(80), 1).unwrap();
    assert_eq!((none.verdict, none.cookie), (Verdict::Pass, None));

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    map.put(0, listener.as_fd()).unwrap();
    let run = program.test_run(&to_port(80), 1000).unwrap();
    assert_eq!((run.verdict, run.cookie), (Verdict::Pass, Some(socket_cookie(&listener).unwrap())));
    assert!((1..1_000_000).contains(&run.nanos), "{} ns a run", run.nanos);

    let dropped = returning(abi::SK_DROP).test_run(&to_port(80), 1).unwrap();
    assert_eq!((dropped.verdict, dropped.cookie), (Verdict::Drop, None));
}

fn context_fields(_: &Sandbox) {
    let packet = Context {
        protocol: 17,
        source: "[2001:db8::9]:4660".parse().unwrap(),
        destination: "[2001:db8::7]:53".parse().unwrap(),
    };
    let fields = [
        (Size::B4, context::FAMILY, abi::AF_INET6),
        (Size::B4, context::PROTOCOL, abi::IPPROTO_UDP),
        (Size::B4, context::REMOTE_IP4, 0),
        (Size::B4, context::REMOTE_IP6, 0x2001_0db8_u32.to_be() as i32),
        (Size::B4, context::REMOTE_IP6 + 12, 9_u32.to_be() as i32),
        (Size::B2, context::REMOTE_PORT, i32::from(0x1234_u16.to_be())),
        (Size::B4, context::LOCAL_IP6 + 12, 7_u32.to_be() as i32),
        (Size::B4, context::LOCAL_PORT, 53),
        (Size::B4, context::INGRESS_IFINDEX, 0),
    ];
    for (size, field, expected) in fields {
        let spec = spec(|b| {
            let other = b.label();
            b.load(size, Reg::R2, Reg::R1, field);
            b.mov(Reg::R0, abi::SK_DROP);
            b.branch32(Cond::Ne, Reg::R2, expected, other);
            b.mov(Reg::R0, abi::SK_PASS);
            b.place(other);
            b.exit();
        });
        let run = Program::load(&spec, &[]).unwrap().test_run(&packet, 1).unwrap();
        assert_eq!(run.verdict, Verdict::Pass, "field at {field}");
    }
}

fn test_run_refusals(_: &Sandbox) {
    let map = Sockmap::create("dns", 1).unwrap();
    let program = Program::load(&select_first(), &[map.as_fd()]).unwrap();
    let mixed = Context { source: "[2001:db8::9]:4660".parse().unwrap(), ..to_port(53) };
    assert_eq!(program.test_run(&mixed, 1).unwrap_err().errno(), Errno::AFNOSUPPORT);

    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    map.put(0, socket.as_fd()).unwrap();
    let packet = Context { protocol: 17, ..to_port(53) };
    assert!(program.test_run(&packet, 1).unwrap().cookie.is_some());
    // Which member of the group gets a packet is decided by the packet, and there is none.
    set_socket_reuseport(&socket, true).unwrap();
    assert_eq!(program.test_run(&packet, 1).unwrap_err().errno(), Errno::OPNOTSUPP);
}

fn refused(_: &Sandbox) {
    let beyond = spec(|b| {
        b.load(Size::B4, Reg::R0, Reg::R1, 68);
        b.exit();
    });
    let error = Program::load(&beyond, &[]).unwrap_err();
    assert_eq!(error.errno(), Errno::ACCESS);
    assert_eq!(error.program(), "sample");
    assert!(error.log().contains("processed 1 insns"), "the whole log: {}", error.log());
    assert!(error.tail().ends_with("invalid bpf_context access off=68 size=4"), "{}", error.tail());
    assert_eq!(
        error.to_string(),
        "load program `sample`: permission denied (EACCES): invalid bpf_context access off=68 size=4"
    );
}

fn long_log(_: &Sandbox) {
    const LINES: usize = 30_000;
    let long = spec(|b| {
        b.mov(Reg::R0, 0);
        for _ in 0..LINES {
            b.alu(AluOp::Add, Reg::R0, 1);
        }
        b.load(Size::B8, Reg::R0, Reg::R1, 8);
        b.exit();
    });
    let error = Program::load(&long, &[]).unwrap_err();
    assert_eq!(error.errno(), Errno::ACCESS);
    assert!(error.log().lines().count() > LINES, "{} lines", error.log().lines().count());
    assert!(error.log().contains("\n1: (07) r0 += 1"), "the log begins with {:.200}", error.log());
    assert!(error.tail().ends_with("invalid bpf_context access off=8 size=8"), "{}", error.tail());
}

fn missing_map(_: &Sandbox) {
    let error = Program::load(&select_first(), &[]).unwrap_err();
    assert_eq!(error.errno(), Errno::INVAL);
    assert!(error.to_string().ends_with("an instruction names map 0, and only 0 were given"), "{error}");
}

fn no_rights(_: &Sandbox) {
    let spec = spec(|b| {
        b.mov(Reg::R0, abi::SK_PASS);
        b.exit();
    });
    let error = without_rights(|| Program::load(&spec, &[])).unwrap_err();
    assert_eq!((error.errno(), error.log()), (Errno::PERM, ""));
    let error = without_rights(|| Sockmap::create("web", 1)).unwrap_err();
    assert_eq!(error.to_string(), "create map `web`: operation not permitted (EPERM)");
}

fn identity(_: &Sandbox) {
    let (first, second, other) = (returning(1), returning(1), returning(0));
    assert_ne!(first.id(), second.id());
    let (a, b, c) = (first.info().unwrap(), second.info().unwrap(), other.info().unwrap());
    assert_eq!(a.tag, b.tag);
    assert_ne!(a.tag, c.tag);
    assert_eq!((a.id, a.name.as_str(), a.kind), (first.id(), "sample", 30));
    assert!(a.xlated_len >= 16 && a.load_time > 0, "{a:?}");
    assert_eq!(a.created_by_uid, rustix::process::getuid().as_raw());
}

fn bound_maps(_: &Sandbox) {
    let named = Sockmap::create("named", 1).unwrap();
    let program = Program::load(&select_first(), &[named.as_fd()]).unwrap();
    // A program can name 64 maps; bound ones come on top.
    let mut expected = vec![named.id()];
    for _ in 0..80 {
        let map = Map::create(&MapSpec::new("bound", MapType::Array, 4, 8, 1)).unwrap();
        program.bind_map(&map).unwrap();
        expected.push(map.id());
    }
    let mut ids = program.info().unwrap().map_ids;
    ids.sort_unstable();
    expected.sort_unstable();
    assert_eq!(ids, expected);
}

fn by_id(_: &Sandbox) {
    let program = returning(1);
    assert_eq!(program_info_by_id(program.id()).unwrap(), program.info().unwrap());
    assert_eq!(without_rights(|| program_info_by_id(program.id())).unwrap_err().errno(), Errno::PERM);
    assert_eq!(program_info_by_id(u32::MAX).unwrap_err().errno(), Errno::NOENT);
}

fn test_run_bytes(_: &Sandbox) {
    let pass = returning(abi::SK_PASS);
    let right = to_port(80).to_bytes().unwrap();
    let refused = |input: &[u8], output: &mut [u8]| pass.test_run_bytes(input, output, 1).unwrap_err().errno();
    let mut output = [0; context::SIZE];
    assert_eq!(pass.test_run_bytes(&right, &mut output, 1).unwrap().verdict, Verdict::Pass);
    assert_eq!(output, right);
    let mut interface = right;
    interface[64] = 1;
    assert_eq!(refused(&interface, &mut output), Errno::INVAL);
    assert_eq!(refused(&[], &mut []), Errno::INVAL);
    let mut short = [0; 10];
    assert_eq!(refused(&right, &mut short), Errno::NOSPC);
    assert_eq!(short, right[..10], "what fits is written all the same");
}

fn reuseport(_: &Sandbox) {
    let drops = ProgramSpec {
        kind: ProgramType::SkReuseport,
        ..spec(|b| {
            b.mov(Reg::R0, abi::SK_DROP);
            b.exit();
        })
    };
    let drops = Program::load(&drops, &[]).unwrap();
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::DGRAM, None).unwrap();
    assert_eq!(socket_options::detach_reuseport(&socket).unwrap_err().errno(), Errno::INVAL);
    assert_eq!(socket_options::attach_reuseport(&socket, &drops).unwrap_err().errno(), Errno::INVAL);
    set_socket_reuseport(&socket, true).unwrap();
    socket_options::attach_reuseport(&socket, &drops).unwrap();
    rustix::net::bind(&socket, &SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let server = UdpSocket::from(socket);
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.connect(server.local_addr().unwrap()).unwrap();
    let sent_twice = || client.send(b"x").and_then(|_| client.send(b"x"));
    assert_eq!(sent_twice().unwrap_err().kind(), ErrorKind::ConnectionRefused);
    socket_options::detach_reuseport(&server).unwrap();
    sent_twice().unwrap();
    assert_eq!(socket_options::detach_reuseport(&server).unwrap_err().errno(), Errno::NOENT);
}
