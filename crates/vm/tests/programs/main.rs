//! Programs of every kind of instruction, run to their end or to where they break off.

mod callbacks;
mod calls;
mod tail_calls;

use sklookup_bpf::{MapFlags, MapSpec, MapType, Size, parse};
use sklookup_vm::{
    Errno, Fault, Host, Instructions, Map, Memory, Nowhere, Program, Region, Rules, SocketId, Value, update,
};

/// A context of 8 bytes, and no sockets.
struct Plain {
    cpu: u32,
}

impl Host for Plain {
    type Sockets = Nowhere;

    fn sockets(&self) -> &Nowhere {
        &Nowhere
    }

    fn context(&self, offset: i64, size: Size) -> Option<Value> {
        may_read(offset, size).then_some(Value::Scalar(0x80))
    }

    fn socket_field(&self, _socket: SocketId, _offset: i64, _size: Size) -> Option<u64> {
        None
    }

    fn packet(&self) -> &[u8] {
        &[]
    }

    fn sk_assign(&mut self, _socket: Option<SocketId>, _flags: u64) -> Result<(), Errno> {
        Err(Errno::INVAL)
    }

    fn sk_select_reuseport(&mut self, _map: &Map, _key: &[u8], _flags: u64) -> Result<(), Errno> {
        Err(Errno::INVAL)
    }

    fn cpu(&self) -> u32 {
        self.cpu
    }

    fn time(&self) -> u64 {
        8_000_000
    }

    fn random(&mut self) -> u32 {
        7
    }

    fn print(&mut self, _text: &[u8]) {}
}

fn may_read(offset: i64, size: Size) -> bool {
    offset == 0 && size == Size::B1
}

const RULES: Rules = Rules {
    instructions: Instructions::Linux,
    helpers: &[1, 2, 3, 5, 7, 8, 12, 42, 106, 118, 164, 181],
    context: may_read,
};

fn load(text: &str, maps: &[&Map]) -> Program {
    let parsed = parse(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let by_name = |name: &String| maps.iter().find(|map| map.spec().name == *name).copied().cloned().unwrap();
    let maps: Vec<Map> = parsed.maps.iter().map(by_name).collect();
    Program::load(&parsed.insns, &maps, &RULES).unwrap_or_else(|refused| panic!("{refused}\n{text}"))
}

fn run_with(text: &str, maps: &[&Map]) -> Result<u64, Fault> {
    load(text, maps).run(&mut Plain { cpu: 0 }, 10_000).map(|outcome| outcome.value)
}

fn run(text: &str) -> u64 {
    run_with(text, &[]).unwrap_or_else(|fault| panic!("{fault}\n{text}"))
}

/// What a program did that made it break off.
fn broke_off(text: &str, maps: &[&Map]) -> String {
    run_with(text, maps).expect_err(text).to_string()
}

fn map(kind: MapType, key: u32, value: u32, entries: u32) -> Map {
    Map::create(1, &MapSpec::new("m", kind, key, value, entries), 2, &Memory::new(1 << 20)).unwrap()
}

#[test]
fn moves_extend_as_their_width_says() {
    for (text, expected) in [
        ("r0 = -1", u64::MAX),
        ("w0 = -1", 0xffff_ffff),
        ("r1 = 0x80\nr0 = (s8)r1", u64::MAX - 0x7f),
        ("r1 = 0x80\nw0 = (s8)w1", 0xffff_ff80),
        ("r0 = 5\nr0 = -r0", (-5i64) as u64),
        ("r0 = 5\nw0 = -w0", 0xffff_fffb),
        ("r0 = 0x123456789abcdef0 ll", 0x1234_5678_9abc_def0),
        ("r0 = *(s8 *)(r1 +0)", u64::MAX - 0x7f),
        ("r0 = *(u8 *)(r1 +0)", 0x80),
    ] {
        assert_eq!(run(&format!("{text}\nexit")), expected, "{text}");
    }
}

#[test]
fn a_loop_ends_when_its_condition_does() {
    assert_eq!(run("r0 = 0\nr1 = 10\nagain: r0 += r1\nr1 -= 1\nif r1 != 0 goto again\nexit"), 55);
}

/// An offset of 16 bits reaches 32,767 slots: `gotol` has 32.
#[test]
fn a_long_jump_leads_further_than_a_short_one() {
    let between = "r0 = 1\n".repeat(40_000);
    assert_eq!(run(&format!("r0 = 7\ngotol end\nback: exit\n{between}end: gotol back")), 7);
}

#[test]
fn atomic_operations_answer_the_old_number_where_they_say_so() {
    let array = map(MapType::Array, 4, 8, 1);
    for (text, result, left) in [
        ("lock *(u64 *)(r1 +0) += r2\nr0 = r2", 5, 15),
        ("r2 = atomic64_fetch_add((u64 *)(r1 +0), r2)\nr0 = r2", 10, 15),
        ("r2 = atomic64_xchg(r1 +0, r2)\nr0 = r2", 10, 5),
        ("r0 = 10\nr0 = atomic64_cmpxchg(r1 +0, r0, r2)", 10, 5),
        ("r0 = 11\nr0 = atomic64_cmpxchg(r1 +0, r0, r2)", 10, 10),
        ("lock *(u32 *)(r1 +0) |= r2\nr0 = 0", 0, 15),
        ("lock *(u32 *)(r1 +0) &= r2\nr0 = 0", 0, 0),
        ("lock *(u64 *)(r1 +0) ^= r2\nr0 = 0", 0, 15),
    ] {
        let text = text.replace("atomic64_xchg(r1 +0", "atomic64_xchg((u64 *)(r1 +0)");
        let text = text.replace("atomic64_cmpxchg(r1 +0", "atomic64_cmpxchg((u64 *)(r1 +0)");
        for place in ["r1 = map[m][0]+0 ll", "r1 = r10\nr1 += -8"] {
            let program = format!(
                "{place}\nr3 = r1\n*(u64 *)(r1 +0) = 10\nr2 = 5\n{text}\nr4 = *(u64 *)(r3 +0)\nif r4 != {left} goto bad\nexit\nbad: r0 = -1\nexit"
            );
            assert_eq!(run_with(&program, &[&array]), Ok(result), "{place}: {text}");
        }
    }
}

#[test]
fn values_of_maps_are_reached_by_key_and_end_where_they_end() {
    let array = map(MapType::Array, 4, 6, 3);
    let lookup = |index: u32, then: &str| {
        format!(
            "*(u32 *)(r10 -4) = {index}
            r1 = map[m] ll
            r2 = r10
            r2 += -4
            call bpf_map_lookup_elem
            if r0 == 0 goto none
            {then}
            none: r0 = -1
            exit"
        )
    };
    array.update(&2u32.to_ne_bytes(), &[1, 2, 3, 4, 5, 6], update::ANY).unwrap();
    assert_eq!(run_with(&lookup(2, "r0 = *(u8 *)(r0 +5)\nexit"), &[&array]), Ok(6));
    assert_eq!(run_with(&lookup(3, "r0 = 1\nexit"), &[&array]), Ok(u64::MAX));
    run_with(&lookup(1, "*(u16 *)(r0 +4) = 0x0707\nr0 = 0\nexit"), &[&array]).unwrap();
    assert_eq!(array.lookup(&1u32.to_ne_bytes(), 0, &Nowhere).unwrap(), [0, 0, 0, 0, 7, 7]);
    for outside in ["r0 = *(u8 *)(r0 +6)", "r0 = *(u32 *)(r0 +3)", "r0 = *(u8 *)(r0 -1)"] {
        let fault = broke_off(&lookup(0, &format!("{outside}\nexit")), &[&array]);
        assert!(fault.contains("of a value of `m`, which has 6"), "{fault}");
    }
}

#[test]
fn each_cpu_has_a_value_of_its_own() {
    let counters = map(MapType::PercpuArray, 4, 8, 2);
    let count = load(
        "*(u32 *)(r10 -4) = 1
        r1 = map[m] ll
        r2 = r10
        r2 += -4
        call bpf_map_lookup_elem
        if r0 == 0 goto end
        r1 = *(u64 *)(r0 +0)
        r1 += 1
        *(u64 *)(r0 +0) = r1
        end: r0 = 0
        exit",
        &[&counters],
    );
    for cpu in [0, 1, 1] {
        count.run(&mut Plain { cpu }, 100).unwrap();
    }
    let values = counters.lookup(&1u32.to_ne_bytes(), 0, &Nowhere).unwrap();
    assert_eq!(values, [1u64.to_ne_bytes(), 2u64.to_ne_bytes()].concat());
}

#[test]
fn a_hash_is_filled_and_emptied_by_programs() {
    let hash = map(MapType::Hash, 2, 4, 1);
    let call = |helper: &str| {
        let text = format!(
            "*(u16 *)(r10 -2) = 0x6261
            *(u32 *)(r10 -8) = 9
            r1 = map[m] ll
            r2 = r10
            r2 += -2
            r3 = r10
            r3 += -8
            r4 = 1
            call {helper}
            exit"
        );
        run_with(&text, &[&hash]).unwrap() as i64
    };
    assert_eq!(call("bpf_map_update_elem"), 0);
    assert_eq!(hash.lookup(&0x6261u16.to_ne_bytes(), 0, &Nowhere).unwrap(), 9u32.to_ne_bytes());
    assert_eq!(call("bpf_map_update_elem"), -17);
    assert_eq!(call("bpf_map_delete_elem"), 0);
    assert_eq!(call("bpf_map_delete_elem"), -2);
}

#[test]
fn a_map_in_a_map_is_found_and_used() {
    let inner = map(MapType::Array, 4, 8, 1);
    inner.update(&0u32.to_ne_bytes(), &77u64.to_ne_bytes(), update::ANY).unwrap();
    let shape = MapSpec::new("inner", MapType::Array, 4, 8, 1);
    let spec = MapSpec { inner: Some(Box::new(shape)), ..MapSpec::new("outer", MapType::ArrayOfMaps, 4, 4, 2) };
    let outer = Map::create(2, &spec, 1, &Memory::new(1 << 20)).unwrap();
    outer.update_map(&1u32.to_ne_bytes(), &inner, update::ANY).unwrap();
    let text = |index: u32| {
        format!(
            "*(u32 *)(r10 -4) = {index}
            r1 = map[outer] ll
            r2 = r10
            r2 += -4
            call bpf_map_lookup_elem
            if r0 == 0 goto none
            *(u32 *)(r10 -4) = 0
            r1 = r0
            r2 = r10
            r2 += -4
            call bpf_map_lookup_elem
            if r0 == 0 goto none
            r0 = *(u64 *)(r0 +0)
            exit
            none: r0 = -1
            exit"
        )
    };
    assert_eq!(run_with(&text(1), &[&outer]), Ok(77));
    assert_eq!(run_with(&text(0), &[&outer]), Ok(u64::MAX));
}

#[test]
fn freezing_binds_the_owner_and_a_flag_the_programs() {
    let array = map(MapType::Array, 4, 8, 1);
    array.freeze().unwrap();
    let write = "r1 = map[m][0]+0 ll\n*(u64 *)(r1 +0) = 5\nr0 = *(u64 *)(r1 +0)\nexit";
    assert_eq!(run_with(write, &[&array]), Ok(5));
    assert_eq!(array.update(&0u32.to_ne_bytes(), &[0; 8], update::ANY), Err(Errno::PERM));
    let spec = MapSpec { flags: MapFlags::RDONLY_PROG, ..MapSpec::new("m", MapType::Array, 4, 8, 1) };
    let read_only = Map::create(3, &spec, 1, &Memory::new(1 << 20)).unwrap();
    assert!(broke_off(write, &[&read_only]).contains("writes to `m`, which programs may only read"));
    assert_eq!(read_only.update(&0u32.to_ne_bytes(), &[0; 8], update::ANY), Ok(()));
}

#[test]
fn what_no_verified_program_does_is_told_with_its_instruction() {
    let array = map(MapType::Array, 4, 8, 1);
    for (text, told) in [
        ("r0 = r3\nexit", "slot 0: `r0 = r3` reads r3, which nothing was written to"),
        ("exit", "slot 0: `exit` reads r0"),
        ("r2 = 1\ncall bpf_get_prandom_u32\nr0 = r2\nexit", "slot 2: `r0 = r2` reads r2"),
        ("r0 = r10\nexit", "returns a pointer to the stack"),
        ("r2 = 5\nr0 = *(u64 *)(r2 +0)\nexit", "goes to memory at the number 5 in r2"),
        ("r0 = *(u64 *)(r10 +0)\nexit", "accesses 8 bytes at 0 of the stack, which goes from -512 to 0"),
        ("r2 = map[m][0]+0 ll\n*(u64 *)(r2 +0) = r10\nr0 = 0\nexit", "writes a pointer to the stack to a map value"),
        ("r2 = map[m] ll\nr0 = *(u64 *)(r2 +0)\nexit", "reads 8 bytes at offset 0 of a map"),
        ("r1 = r10\nr1 *= 2\nr0 = 0\nexit", "calculates with a pointer to the stack and the number 2"),
        ("r1 = 0\nr2 = r10\ncall bpf_map_lookup_elem\nexit", "gives NULL in r1, where a map has to be"),
        (
            "r1 = map[m] ll\nr2 = 4\ncall bpf_map_lookup_elem\nexit",
            "gives the number 4 in r2, where an address has to be",
        ),
        ("if r10 > 5 goto +0\nr0 = 0\nexit", "compares a pointer to the stack with the number 5"),
        ("r1 = r10\nr2 = 1\nr1 += -4\nlock *(u64 *)(r1 +0) += r2\nr0 = 0\nexit", "which is not a multiple"),
    ] {
        let fault = broke_off(text, &[&array]);
        assert!(fault.contains(told), "{fault}");
    }
}

#[test]
fn no_length_that_a_program_makes_up_is_allocated() {
    // Each is so long that its last byte is where something can be read again: just below the start, or after a way
    // through all numbers.
    for (at, length) in
        [("r1 += -8", "r2 = -15"), ("r1 += -512", "r2 = -1"), ("r3 = 1 ll\nr3 <<= 62\nr1 -= r3", "r2 = r3")]
    {
        let text = format!(
            "r0 = 0\n*(u64 *)(r10 -8) = 0x31\n*(u64 *)(r10 -16) = 0\nr1 = r10\n{at}\n{length}\nr3 = 0\nr4 = r10
            r4 += -16\ncall bpf_strtoul\nexit"
        );
        let fault = broke_off(&text, &[]);
        assert!(fault.contains("the stack"), "{text}: {fault}");
    }
}

#[test]
fn a_run_takes_no_more_instructions_than_it_may() {
    let program = load("r0 = 0\nr0 = 1\nexit", &[]);
    let outcome = program.run(&mut Plain { cpu: 0 }, 3).unwrap();
    assert_eq!((outcome.value, outcome.instructions), (1, 3));
    assert!(program.run(&mut Plain { cpu: 0 }, 2).unwrap_err().what.contains("after 2 instructions"));
}

#[test]
fn helpers_tell_what_the_host_says() {
    for (helper, expected) in [(5, 8_000_000), (7, 7), (8, 0), (42, 0), (118, 2)] {
        assert_eq!(run(&format!("call {helper}\nexit")), expected, "{helper}");
    }
}

#[test]
fn a_value_is_a_number_or_a_place_in_a_region() {
    assert_eq!(Value::start_of(Region::Context).to_string(), "a pointer to the context");
    assert_eq!(Value::NULL.to_string(), "NULL");
}
