//! Programs on the machine that runs them: whatever a program does, the run ends within its budget, says what came of it,
//! and says the same again.
//!
//! An input is 8 bytes that say what maps there are and what the program is, then the program; see `seeds`.

#![no_main]

mod program;

use libfuzzer_sys::fuzz_target;
use sklookup_bpf::{Code, Insn, MapFlags, MapSpec, MapType, ProgramSpec, ProgramType, decode, encode, map_kinds};
use sklookup_engine::{
    Config, Context, Delivery, Fault, Link, LoadError, Machine, Map, Netns, Packet, Program, Socket, TestRun, update,
};

/// Enough for each instruction of an input to run often, and for thousands of inputs a second.
const BUDGET: u64 = 4_096;
/// Bytes of the head of an input.
const HEAD: usize = 8;
/// Maps of a program.
const MAPS: usize = 4;
/// Entries of a map are looked at up to this many.
const MAX_ENTRIES: usize = 64;

fuzz_target!(|bytes: &[u8]| {
    let Some((head, code)) = bytes.split_first_chunk::<HEAD>() else { return };
    let insns = program::nearest(code, MAPS);
    assert_eq!(decode(&encode(&insns)).as_ref(), Ok(&insns));

    let first = Played::new(head, &insns, BUDGET);
    assert_eq!(first, Played::new(head, &insns, BUDGET));
    let Ok(first) = first else { return };
    if let Some(Ok(run)) = &first.test_run {
        assert!(run.instructions <= BUDGET);
        // The budget is exact: with one instruction less it is not enough.
        let enough = Played::new(head, &insns, run.instructions).expect("it was loaded before");
        assert_eq!(enough.test_run, first.test_run);
        let less = Played::new(head, &insns, run.instructions - 1).expect("it was loaded before");
        let why = less.test_run.and_then(Result::err).expect("it is not enough");
        assert!(why.contains("no run may take more"), "{why}");
    }
    if let Err(fault) = &first.delivery {
        assert!(insns.contains(&fault.insn) && fault.to_string().len() < 500, "{fault}");
    }
});

/// What came of a program.
#[derive(Debug, PartialEq)]
struct Played {
    /// Of a test run, which only sk_lookup programs have.
    test_run: Option<Result<TestRun, String>>,
    /// Of a packet.
    delivery: Result<Delivery, Fault>,
    /// Keys and values of the maps afterwards.
    maps: Vec<Vec<(Vec<u8>, Vec<u8>)>>,
}

impl Played {
    /// On a machine of its own.
    fn new(head: &[u8; HEAD], insns: &[Insn], budget: u64) -> Result<Played, LoadError> {
        let machine = Machine::new(Config {
            cpus: 2,
            seed: 7,
            instructions: budget,
            all_instructions: u64::MAX,
            memory: 1 << 20,
        });
        let netns = Netns::new_private(&machine);
        let udp = |reuse_port| {
            let socket = Socket::open(&netns, sklookup_engine::Protocol::Udp, sklookup_engine::Family::V4);
            socket.set_reuse_port(reuse_port);
            socket.bind("127.0.0.1:53".parse().expect("it is an address")).map(|()| socket)
        };
        let kind = if head[HEAD - 1] & 1 == 0 { ProgramType::SkLookup } else { ProgramType::SkReuseport };
        let sockets = [udp(true), udp(true)].map(|socket| socket.expect("both share the port"));
        let maps: Vec<Map> = head[..MAPS].iter().map(|shape| map(&machine, *shape, &sockets[0])).collect();

        let code = Code { insns: insns.to_vec(), notes: [].into() };
        let spec = ProgramSpec { kind, ..ProgramSpec::sk_lookup("fuzzed", code, vec![]) };
        let program = Program::load(&machine, &spec, &maps.iter().collect::<Vec<_>>())?;
        for stages in maps.iter().filter(|map| map.info().kind == MapType::ProgArray) {
            stages.update_program(0, &program, update::ANY).expect("it calls programs of its own type");
        }
        let packet = Packet::udp(
            "127.0.0.1:40000".parse().expect("it is an address"),
            "127.0.0.1:53".parse().expect("it is an address"),
        );
        let (test_run, delivery) = match kind {
            ProgramType::SkLookup => {
                let context = Context { protocol: 17, source: packet.source, destination: packet.destination };
                let test_run = program.test_run(&context, 1).map_err(|error| error.to_string());
                let _link = Link::attach(&program, &netns).expect("it is the first");
                (Some(test_run), netns.receive(&packet))
            }
            ProgramType::SkReuseport => {
                sockets[0].attach_reuseport(&program).expect("the socket has SO_REUSEPORT");
                (None, netns.receive(&packet))
            }
        };
        Ok(Played { test_run, delivery, maps: maps.iter().map(entries).collect() })
    }
}

/// A map of the type that `shape` numbers; an array where such a map can't be.
fn map(machine: &Machine, shape: u8, socket: &Socket) -> Map {
    let kinds: Vec<MapType> = map_kinds().iter().filter_map(|kind| kind.kind.ok()).collect();
    let array = MapSpec::new("m", MapType::Array, 4, 8, 1);
    let kind = kinds[usize::from(shape) % kinds.len()];
    let spec = match kind {
        MapType::Array => array.clone(),
        MapType::LpmTrie => MapSpec { flags: MapFlags::NO_PREALLOC, ..MapSpec::new("m", kind, 8, 8, 4) },
        MapType::Ringbuf => MapSpec::ringbuf("m", 4096),
        MapType::ProgArray => MapSpec::new("m", kind, 4, 4, 4),
        MapType::ArrayOfMaps | MapType::HashOfMaps => {
            MapSpec { inner: Some(Box::new(array.clone())), ..MapSpec::new("m", kind, 4, 4, 4) }
        }
        kind => MapSpec::new("m", kind, 4, 8, 4),
    };
    let inner = Map::create(machine, &array).expect("an array of one number can be made");
    let Ok(map) = Map::create(machine, &spec) else { return inner };
    // A socket can be in one REUSEPORT_SOCKARRAY at most: the second one stays empty.
    let _ = match kind {
        kind if kind.holds_sockets() => map.update_socket(&[0; 4], socket.id(), update::ANY),
        kind if kind.holds_maps() => map.fill_maps(&[&inner]),
        _ => Ok(()),
    };
    map
}

/// The entries of a map, as far as its owner may read them.
fn entries(map: &Map) -> Vec<(Vec<u8>, Vec<u8>)> {
    let next = |key: &Vec<u8>| map.next_key(Some(key)).ok();
    let keys = std::iter::successors(map.next_key(None).ok(), next).take(MAX_ENTRIES);
    keys.map(|key| {
        let value = map.lookup(&key, 0).unwrap_or_default();
        (key, value)
    })
    .collect()
}
