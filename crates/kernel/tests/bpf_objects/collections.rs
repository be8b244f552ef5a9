//! Whole objects, as every compiler makes them: loaded, filled as they declare, and run.

use std::net::{TcpListener, UdpSocket};
use std::os::fd::AsRawFd;
use std::path::Path;

use rustix::net::sockopt::socket_cookie;
use sklookup_bpf::object::Object;
use sklookup_kernel::{Collection, CollectionError, Context, Errno, Map, Verdict};
use sklookup_testbed::{Sandbox, Trial, kernel_trial};

use crate::built::of_every_build;
use crate::samples::to_port;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        kernel_trial("collections::a_socket_in_the_map_of_an_object_is_selected", assign),
        kernel_trial("collections::globals_are_set_before_loading_and_read_afterwards", globals),
        kernel_trial("collections::a_tail_call_goes_where_the_object_says", tail_calls),
        kernel_trial("collections::subprograms_are_called", subprograms),
        kernel_trial("collections::callbacks_are_called_back", callbacks),
        kernel_trial("collections::maps_in_maps_are_filled_as_declared", maps_in_maps),
        kernel_trial("collections::a_spin_lock_is_found_by_its_type", spin_lock),
        kernel_trial("collections::maps_of_the_older_section_work_and_nothing_is_pinned", older_maps),
        kernel_trial("collections::a_refusal_quotes_the_source", refusal),
    ]
}

fn load(object: &Object) -> Collection {
    Collection::load(object).unwrap_or_else(|error| match &error {
        CollectionError::Program(program) => panic!("{error}\n{}", program.log()),
        CollectionError::Map(_) => panic!("{error}"),
    })
}

fn put(map: &Map, key: u32, socket: &impl AsRawFd) {
    let fd = u64::try_from(socket.as_raw_fd()).unwrap();
    map.update(&key.to_ne_bytes(), &fd.to_ne_bytes(), 0).unwrap();
}

/// A listener, and the cookie by which a test run names it.
fn listener() -> (TcpListener, Option<u64>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let cookie = socket_cookie(&listener).unwrap();
    (listener, Some(cookie))
}

/// What the program of this name does with a packet: the verdict, and the cookie of the socket.
fn run(collection: &Collection, program: &str, packet: Context) -> (Verdict, Option<u64>) {
    let run = collection.program(program).unwrap().test_run(&packet, 1).unwrap();
    (run.verdict, run.cookie)
}

fn udp_to(port: u16) -> Context {
    Context { protocol: 17, ..to_port(port) }
}

fn assign(_: &Sandbox) {
    of_every_build("assign", |object| {
        let (listener, cookie) = listener();
        let collection = load(&object);
        put(collection.map("sockets").unwrap(), 1, &listener);
        assert_eq!(run(&collection, "assign", to_port(7008)), (Verdict::Pass, cookie));
        assert_eq!(run(&collection, "assign", to_port(7007)), (Verdict::Drop, None));
        assert_eq!(run(&collection, "assign", to_port(7009)), (Verdict::Pass, None));
    });
}

fn globals(_: &Sandbox) {
    of_every_build("prefixes", |mut object| {
        object.set_global("last_port", &7100u16.to_ne_bytes()).unwrap();
        let (listener, cookie) = listener();
        let collection = load(&object);
        put(collection.map("sockets").unwrap(), 3, &listener);
        // 192.0.2.0/24 is service 3.
        let services = collection.map("services").unwrap();
        services.update(&[24, 0, 0, 0, 192, 0, 2, 0], &3u32.to_ne_bytes(), 0).unwrap();

        assert_eq!(run(&collection, "prefixes", to_port(7100)), (Verdict::Pass, cookie));
        assert_eq!(run(&collection, "prefixes", udp_to(7101)), (Verdict::Pass, None));
        let elsewhere = Context { destination: "203.0.113.7:80".parse().unwrap(), ..to_port(80) };
        assert_eq!(run(&collection, "prefixes", elsewhere), (Verdict::Drop, None), "service 1 has no socket");

        let global = |name: &str| {
            let global = object.globals.iter().find(|global| global.name == name).unwrap();
            let value = collection.map(&global.map).unwrap().value().unwrap();
            value[global.offset as usize..][..8].to_vec()
        };
        assert_eq!(global("steered"), 1u64.to_ne_bytes());
        assert_eq!(global("left"), 0u64.to_ne_bytes());
        let rodata = collection.map(".rodata").unwrap();
        assert_eq!(rodata.set_value(&[0; 4]).unwrap_err().errno(), Errno::PERM, "it is frozen");
    });
}

fn tail_calls(_: &Sandbox) {
    of_every_build("stages", |object| {
        let (listener, cookie) = listener();
        let collection = load(&object);
        put(collection.map("sockets").unwrap(), 1, &listener);
        assert_eq!(run(&collection, "entry", to_port(7001)), (Verdict::Pass, cookie), "the stage of TCP");
        let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
        put(collection.map("sockets").unwrap(), 2, &datagrams);
        let of_udp = Some(socket_cookie(&datagrams).unwrap());
        assert_eq!(run(&collection, "entry", udp_to(7004)), (Verdict::Pass, of_udp), "the stage of UDP");
        let other = Context { protocol: 7, ..to_port(7001) };
        assert_eq!(run(&collection, "entry", other), (Verdict::Drop, None), "an empty stage is not entered");
    });
}

fn subprograms(_: &Sandbox) {
    of_every_build("stages", |object| {
        let collection = load(&object);
        assert_eq!(run(&collection, "refuse", to_port(7003)), (Verdict::Drop, None));
        assert_eq!(run(&collection, "refuse", to_port(7004)), (Verdict::Pass, None));
        let to_ipv6 = Context {
            protocol: 6,
            source: "[2001:db8::9]:40000".parse().unwrap(),
            destination: "[2001:db8::7]:7104".parse().unwrap(),
        };
        assert_eq!(run(&collection, "tcp", to_ipv6), (Verdict::Pass, None), "its slots begin with 7100");
        assert_eq!(run(&collection, "tcp", to_port(7000)), (Verdict::Drop, None), "its slot is empty");
    });
}

fn callbacks(_: &Sandbox) {
    of_every_build("callbacks", |object| {
        let (listener, cookie) = listener();
        let collection = load(&object);
        put(collection.map("members").unwrap(), 5, &listener);
        let closed = collection.map("closed").unwrap();
        closed.update(&7010u32.to_ne_bytes(), &7019u32.to_ne_bytes(), 0).unwrap();
        assert_eq!(run(&collection, "first_member", to_port(7009)), (Verdict::Pass, cookie));
        assert_eq!(run(&collection, "first_member", to_port(7010)), (Verdict::Drop, None));
    });
}

fn maps_in_maps(_: &Sandbox) {
    of_every_build("tenants", |object| {
        let (listener, cookie) = listener();
        let collection = load(&object);
        put(collection.map("blue").unwrap(), 1, &listener);
        assert_eq!(run(&collection, "tenant_of_port", to_port(7201)), (Verdict::Pass, cookie));
        assert_eq!(run(&collection, "tenant_of_port", to_port(7001)), (Verdict::Drop, None), "red is empty");
        assert_eq!(run(&collection, "tenant_of_port", to_port(7101)), (Verdict::Pass, None), "no tenant");
    });
}

fn spin_lock(_: &Sandbox) {
    of_every_build("lock", |object| {
        let collection = load(&object);
        let verdicts: Vec<Verdict> = (0..4).map(|_| run(&collection, "every_other", to_port(80)).0).collect();
        assert_eq!(verdicts, [Verdict::Pass, Verdict::Drop, Verdict::Pass, Verdict::Drop]);
    });
}

fn older_maps(_: &Sandbox) {
    of_every_build("legacy", |object| {
        let (listener, cookie) = listener();
        let collection = load(&object);
        put(collection.map("sockets").unwrap(), 0, &listener);
        assert_eq!(run(&collection, "legacy", to_port(80)), (Verdict::Pass, cookie));
        assert_eq!(collection.map("packets").unwrap().value().unwrap(), 1u64.to_ne_bytes());
        assert!(!Path::new("/sys/fs/bpf/packets").exists(), "it asks for that, and nobody else did");
    });
}

fn refusal(_: &Sandbox) {
    of_every_build("assign", |mut object| {
        // Without its release the reference to the socket leaks.
        let program = &mut object.programs[0];
        let release = sklookup_bpf::Insn::Call(sklookup_bpf::Callee::Helper(86));
        let at = program.insns.iter().position(|insn| *insn == release).unwrap();
        program.insns[at] = sklookup_bpf::Insn::Alu {
            width: sklookup_bpf::Width::W64,
            op: sklookup_bpf::AluOp::Mov,
            dst: sklookup_bpf::Reg::R0,
            src: 0.into(),
        };
        let error = Collection::load(&object).unwrap_err();
        let CollectionError::Program(error) = error else { panic!("{error}") };
        assert!(error.log().contains("Unreleased reference"), "{}", error.log());
        assert!(error.log().contains("socket = bpf_map_lookup_elem(&sockets, &slot)"), "{}", error.log());
    });
}
