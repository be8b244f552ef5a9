//! Helpers that call the program back: `bpf_loop` and `bpf_for_each_map_elem`.

use sklookup_bpf::{MapFlags, MapSpec, MapType};
use sklookup_vm::{Map, Memory, Nowhere, update};

use super::{broke_off, map, run, run_with};

/// Adds each index to what R2 points to, and returns what is said.
fn sum(count: &str, flags: u32, after: &str) -> String {
    format!(
        "*(u64 *)(r10 -8) = 0
        r6 = 100
        r1 = {count} ll
        r2 = subprog[add] ll
        r3 = r10
        r3 += -8
        r4 = {flags}
        call bpf_loop
        r1 = *(u64 *)(r10 -8)
        {after}
        exit
        add:
        r6 = *(u64 *)(r2 +0)
        r6 += r1
        *(u64 *)(r2 +0) = r6
        r0 = 0
        if r1 != 4 goto on
        r0 = 1
        on: exit"
    )
}

#[test]
fn a_loop_calls_back_until_it_is_told_to_stop_or_all_is_done() {
    for (count, calls, added) in [("3", 3, 3), ("5", 5, 10), ("9", 5, 10), ("0", 0, 0), ("0x100000002", 2, 1)] {
        assert_eq!(run(&sum(count, 0, "")), calls, "{count}");
        assert_eq!(run(&sum(count, 0, "r0 = r1\nr0 += r6")), added + 100, "{count}");
    }
}

#[test]
fn a_loop_of_too_many_rounds_or_with_flags_is_not_begun() {
    assert_eq!(run(&sum("3", 1, "")) as i64, -22);
    assert_eq!(run(&sum("0x800001", 0, "")) as i64, -7);
    assert_eq!(run(&sum("0x800001", 1, "")) as i64, -22);
    assert_eq!(run(&sum("0x800000", 0, "")), 5);
}

#[test]
fn rounds_of_a_loop_count_as_instructions() {
    let endless = "r1 = 0x800000\nr2 = subprog[idle] ll\nr3 = 0\nr4 = 0\ncall bpf_loop\nexit\nidle: r0 = 0\nexit";
    assert!(broke_off(endless, &[]).contains("is reached after 10000 instructions"));
}

#[test]
fn what_a_callback_may_not_do_is_told() {
    let text = |third: &str, body: &str| {
        format!("r1 = 2\nr2 = {third} ll\nr3 = 0\nr4 = 0\ncall bpf_loop\nexit\nback: {body}\nexit")
    };
    for (third, body, told) in [
        ("7", "r0 = 0", "gives the number 7 in r2, where a subprogram has to be"),
        (
            "subprog[back]",
            "r0 = 2",
            "`exit` returns the number 2 to the helper that called it back, which takes 0 or 1",
        ),
        ("subprog[back]", "r0 = r10", "returns a pointer to the stack to the helper"),
        ("subprog[back]", "r0 = r3", "reads r3, which nothing was written to"),
        ("subprog[back]", "r0 = r6", "reads r6, which nothing was written to"),
    ] {
        let fault = broke_off(&text(third, body), &[]);
        assert!(fault.contains(told), "{fault}");
    }
}

#[test]
fn a_callback_finds_an_empty_stack_each_time() {
    let text = "
        r1 = 3
        r2 = subprog[back] ll
        r3 = 0
        r4 = 0
        call bpf_loop
        exit
        back:
        r3 = *(u64 *)(r10 -8)
        r0 = 0
        *(u64 *)(r10 -8) = 1
        if r3 == 0 goto on
        r0 = 1
        on: exit";
    assert_eq!(run(text), 3);
}

/// Adds keys and values to what R4 points to, up to the value 30, and deletes what it visits where it is told to.
fn visit(flags: u32, delete: bool, key: &str) -> String {
    let delete = if delete { "r1 = r6\nr2 = r7\ncall bpf_map_delete_elem" } else { "" };
    format!(
        "*(u64 *)(r10 -8) = 0
        r1 = map[m] ll
        r2 = subprog[add] ll
        r3 = r10
        r3 += -8
        r4 = {flags}
        call bpf_for_each_map_elem
        r1 = *(u64 *)(r10 -8)
        r1 <<= 32
        r0 += r1
        exit
        add:
        r6 = r1
        r7 = r2
        r8 = *(u64 *)(r3 +0)
        r5 = *({key} *)(r2 +0)
        r5 += r8
        r9 = *(u64 *)(r4 +0)
        r5 += r9
        *(u64 *)(r4 +0) = r5
        {delete}
        r0 = 0
        if r8 != 30 goto on
        r0 = 1
        on: exit"
    )
}

fn filled(kind: MapType, values: &[(u32, u64)]) -> Map {
    let map = map(kind, 4, 8, 4);
    for (key, value) in values {
        map.update(&key.to_ne_bytes(), &value.to_ne_bytes(), update::ANY).unwrap();
    }
    map
}

/// How many entries were visited, and the sum of keys and values.
fn visited(map: &Map, text: &str) -> (u64, u64) {
    let both = run_with(text, &[map]).unwrap_or_else(|fault| panic!("{fault}\n{text}"));
    (both & 0xffff_ffff, both >> 32)
}

#[test]
fn every_entry_of_an_array_is_visited_up_to_where_the_callback_stops() {
    let array = filled(MapType::Array, &[(0, 10), (1, 20), (3, 40)]);
    assert_eq!(visited(&array, &visit(0, false, "u32")), (4, 10 + 21 + 2 + 43));
    array.update(&1u32.to_ne_bytes(), &30u64.to_ne_bytes(), update::ANY).unwrap();
    assert_eq!(visited(&array, &visit(0, false, "u32")), (2, 10 + 31));
}

#[test]
fn entries_of_a_hash_are_visited_though_they_are_deleted_meanwhile() {
    for kind in [MapType::Hash, MapType::LruHash] {
        let hash = filled(kind, &[(7, 1), (9, 2), (11, 3)]);
        assert_eq!(visited(&hash, &visit(0, false, "u32")), (3, 27 + 6), "{kind:?}");
        assert_eq!(visited(&hash, &visit(0, true, "u32")), (3, 27 + 6), "{kind:?}");
        assert_eq!(visited(&hash, &visit(0, true, "u32")), (0, 0), "{kind:?}");
    }
}

#[test]
fn of_a_map_per_cpu_the_values_of_this_one_are_visited() {
    let array = map(MapType::PercpuArray, 4, 8, 2);
    let text = "r1 = map[m] ll\nr2 = subprog[set] ll\nr3 = 5\nr4 = 0\ncall bpf_for_each_map_elem\nexit\n\
                set: *(u64 *)(r3 +0) = r4\nr0 = 0\nexit";
    assert_eq!(run_with(text, &[&array]), Ok(2));
    assert_eq!(visited(&array, &visit(0, false, "u32")), (2, 1 + 5 + 5));
    let values = array.lookup(&0u32.to_ne_bytes(), 0, &Nowhere).unwrap();
    assert_eq!(values[..16], [5u64.to_ne_bytes(), 0u64.to_ne_bytes()].concat());
}

#[test]
fn what_can_not_be_visited_is_told() {
    let array = filled(MapType::Array, &[]);
    assert_eq!(run_with(&visit(1, false, "u32"), &[&array]).unwrap() as i32, -22);
    let fault = broke_off(&visit(0, false, "u64"), &[&array]);
    assert!(fault.contains("reads 8 bytes at offset 0 of a key of 4"), "{fault}");
    let written = visit(0, false, "u32").replace("r8 = *(u64 *)(r3 +0)", "*(u32 *)(r2 +0) = 1");
    assert!(broke_off(&written, &[&array]).contains("writes the number 1 to a key"));
    let spec = MapSpec { flags: MapFlags::NO_PREALLOC, ..MapSpec::new("m", MapType::LpmTrie, 8, 8, 1) };
    let trie = Map::create(1, &spec, 1, &Memory::new(1 << 20)).unwrap();
    let fault = broke_off(&visit(0, false, "u32"), &[&trie]);
    assert!(
        fault.contains("gives `m` of type lpm_trie in r1, which bpf_for_each_map_elem#164 does not take"),
        "{fault}"
    );
}

#[test]
fn a_key_is_gone_when_its_callback_has_returned() {
    let array = filled(MapType::Array, &[]);
    let text = "*(u64 *)(r10 -8) = 0\nr1 = map[m] ll\nr2 = subprog[keep] ll\nr3 = r10\nr4 = 0\n\
                call bpf_for_each_map_elem\nr1 = *(u64 *)(r10 -8)\nr0 = *(u32 *)(r1 +0)\nexit\n\
                keep: *(u64 *)(r4 -8) = r2\nr0 = 1\nexit";
    assert!(broke_off(text, &[&array]).contains("reads a key after its callback has returned"));
}
