//! Ring buffers: programs write on both sides, the owners read.

use std::os::fd::AsFd;

use sklookup_bpf::{MapSpec, MapType, ProgramSpec, ProgramType};
use sklookup_engine as engine;
use sklookup_kernel::{self as kernel, RingBuffer};
use sklookup_testbed::Sandbox;

use crate::both::{Both, Operation, machine, of_engine, same};
use crate::bytes::any;
use crate::with_seeds;

/// Tells which way the record takes: its number in the arguments, what helpers answer beside it.
const OUTPUT: &str = "
    r6 = map[arguments][0]+0 ll
    r1 = map[ring] ll
    r2 = r6
    r2 += 64
    r3 = *(u64 *)(r6 +0)
    if r3 > 1024 goto end
    r4 = *(u64 *)(r6 +8)
    call bpf_ringbuf_output
    *(u64 *)(r6 +16) = r0
    end: r0 = 1
    exit
";
const RESERVE: &str = "
    r6 = map[arguments][0]+0 ll
    r1 = map[ring] ll
    r2 = SIZE
    r3 = *(u64 *)(r6 +8)
    call bpf_ringbuf_reserve
    *(u64 *)(r6 +16) = 0
    if r0 == 0 goto end
    r1 = 1
    *(u64 *)(r6 +16) = r1
    r2 = *(u64 *)(r6 +64)
    *(u64 *)(r0 +0) = r2
    *(u32 *)(r0 +8) = r2
    *(u32 *)(r0 +12) = 7
    r1 = r0
    r2 = 0
    call bpf_ringbuf_END
    end: r0 = 1
    exit
";
const QUERY: &str = "
    r6 = map[arguments][0]+0 ll
    r1 = map[ring] ll
    r2 = *(u64 *)(r6 +8)
    call bpf_ringbuf_query
    *(u64 *)(r6 +16) = r0
    r0 = 1
    exit
";
const ARGUMENTS: usize = 64 + 1024;

pub(crate) fn ring_buffers(_: &Sandbox) {
    with_seeds(6, |rng| {
        let machine = machine();
        let ring = Both::create(&machine, &MapSpec::ringbuf("ring", 4096));
        for operation in [
            Operation::Lookup(vec![], 0),
            Operation::Take(vec![], 0),
            Operation::Update(vec![], vec![], 0),
            Operation::Delete(vec![]),
            Operation::NextKey(None),
        ] {
            ring.agree(&operation);
        }
        let arguments = Both::create(&machine, &MapSpec::new("arguments", MapType::Array, 4, ARGUMENTS as u32, 1));
        let reserve = |size: &str, end: &str| RESERVE.replace("SIZE", size).replace("END", end);
        let texts = [
            OUTPUT.to_owned(),
            QUERY.to_owned(),
            reserve("16", "submit"),
            reserve("16", "discard"),
            reserve("1000", "submit"),
            reserve("2000", "discard"),
            reserve("4096", "submit"),
            reserve("4080", "submit"),
        ];
        let load = |text: &String| {
            let spec = ProgramSpec::from_text("ring", ProgramType::SkLookup, text).unwrap();
            let maps = [arguments.kernel.as_fd(), ring.kernel.as_fd()];
            let kernel = kernel::Program::load(&spec, &maps).unwrap_or_else(|e| panic!("{text}{}", e.tail()));
            let engine = engine::Program::load(&machine, &spec, &[&arguments.engine, &ring.engine]).unwrap();
            (kernel, engine)
        };
        let programs = texts.each_ref().map(load);
        let mut reader = RingBuffer::new(&ring.kernel).unwrap();
        for round in 0..800u64 {
            if rng.u32(0..4) == 0 {
                let kernel = Ok(reader.next_record().map(written));
                same(round, &of_engine(ring.engine.next_record()).map(|record| record.map(written)), &kernel);
                continue;
            }
            let which = rng.usize(..texts.len());
            let argument: u64 = if which == 1 { rng.u64(0..6) } else { any(rng, &[0, 0, 0, 0, 1, 2, 4]) };
            let mut bytes = vec![0; ARGUMENTS];
            bytes[..8].copy_from_slice(&rng.u64(0..=1024).to_ne_bytes());
            bytes[8..16].copy_from_slice(&argument.to_ne_bytes());
            bytes[64..].fill_with(|| rng.u8(..));
            arguments.kernel.set_value(&bytes).unwrap();
            arguments.engine.set_value(&bytes).unwrap();
            let (source, destination) = ("192.0.2.1:1".parse().unwrap(), "192.0.2.2:2".parse().unwrap());
            programs[which].0.test_run(&kernel::Context { protocol: 6, source, destination }, 1).unwrap();
            programs[which].1.test_run(&engine::Context { protocol: 6, source, destination }, 1).unwrap();
            let (engine, kernel) = (arguments.engine.value().unwrap(), arguments.kernel.value().unwrap());
            let answer = |bytes: &[u8]| i64::from_ne_bytes(bytes[16..24].try_into().unwrap());
            assert_eq!(answer(&engine), answer(&kernel), "{} with {argument}", texts[which]);
        }
    });
}

/// How many bytes a record has, and the first of a long one: what was reserved and not written has whatever the
/// buffer had before.
fn written(mut record: Vec<u8>) -> (usize, Vec<u8>) {
    let length = record.len();
    if length >= 1000 {
        record.truncate(16);
    }
    (length, record)
}
