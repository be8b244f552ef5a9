//! Objects as clang makes them: what comes of the committed ones, for every compiler and instruction set.

mod built;

use std::path::Path;

use built::{directory, of_every_build, read};
use sklookup_bpf::object::{Support, features};
use sklookup_bpf::{Contents, Insn, MapFlags, MapSpec, MapType, ProgramType, Wide};

fn names<T>(of: &[T], name: impl Fn(&T) -> &str) -> Vec<String> {
    let mut names: Vec<String> = of.iter().map(|one| name(one).to_owned()).collect();
    names.sort_unstable();
    names
}

#[test]
fn a_program_has_the_name_of_its_function_and_the_maps_that_it_uses() {
    of_every_build("assign", |object| {
        let program = object.program("assign").unwrap();
        assert_eq!((program.kind, program.license.as_str()), (ProgramType::SkLookup, "Dual MIT/GPL"));
        assert_eq!(program.maps, ["sockets"]);
        assert_eq!(object.maps, [MapSpec::new("sockets", MapType::Sockmap, 4, 8, 2)]);
        assert!(object.left_out.is_empty() && object.globals.is_empty());
    });
}

#[test]
fn maps_have_the_flags_and_sizes_of_their_definitions() {
    of_every_build("prefixes", |object| {
        let services = MapSpec { flags: MapFlags::NO_PREALLOC, ..MapSpec::new("services", MapType::LpmTrie, 8, 4, 64) };
        assert_eq!(object.map("services"), Some(&services));
        assert_eq!(object.map("sockets"), Some(&MapSpec::new("sockets", MapType::Sockhash, 4, 8, 64)));
        assert_eq!(object.map("records"), Some(&MapSpec::ringbuf("records", 4096)));
    });
}

#[test]
fn globals_are_maps_of_one_value_and_those_of_rodata_are_frozen() {
    of_every_build("prefixes", |object| {
        let rodata = object.map(".rodata").unwrap();
        assert_eq!((rodata.flags, rodata.frozen, rodata.max_entries), (MapFlags::RDONLY_PROG, true, 1));
        assert_eq!(rodata.contents, Contents::Value(vec![1, 0, 255, 255]));
        assert_eq!(object.map(".data").unwrap().contents, Contents::Value(1u32.to_ne_bytes().to_vec()));
        let bss = object.map(".bss").unwrap();
        assert_eq!((bss.value_size, bss.frozen, &bss.contents), (24, false, &Contents::Empty));
        assert_eq!(
            names(&object.globals, |global| &global.name),
            ["default_service", "first_port", "last_port", "left", "steered"]
        );
    });
}

#[test]
fn a_global_gets_another_value_before_loading() {
    of_every_build("prefixes", |mut object| {
        object.set_global("last_port", &8000u16.to_ne_bytes()).unwrap();
        object.set_global("steered", &7u64.to_ne_bytes()).unwrap();
        let expected = [1u16.to_ne_bytes(), 8000u16.to_ne_bytes()].concat();
        assert_eq!(object.map(".rodata").unwrap().contents, Contents::Value(expected));
        let Contents::Value(bss) = &object.map(".bss").unwrap().contents else { panic!("it was written to") };
        assert_eq!(bss.iter().filter(|byte| **byte == 7).count(), 1);

        let wrong = |name: &str, value: &[u8]| object.clone().set_global(name, value).unwrap_err().to_string();
        assert_eq!(
            wrong("last_port", &[0; 4]),
            "global last_port: it has 2 bytes, and the value 4; pass the bytes of a value of its type, in the host's order"
        );
        assert!(wrong("port", &[0; 2]).starts_with("global port: the object has none of this name; its globals are "));
    });
}

#[test]
fn constants_that_the_compiler_finds_a_place_for_are_frozen_too() {
    of_every_build("strings", |object| {
        let constants = object.map(".rodata.str1.1").unwrap();
        assert!(constants.frozen && object.program("by_name").unwrap().maps == [".rodata.str1.1"]);
        let Contents::Value(bytes) = &constants.contents else { panic!("{constants:?}") };
        assert!(bytes.windows(5).any(|window| window == b"1b5f\0"), "{bytes:?}");
    });
}

#[test]
fn a_program_is_whole_with_the_functions_that_it_calls_each_once() {
    of_every_build("stages", |object| {
        assert_eq!(names(&object.programs, |program| &program.name), ["entry", "refuse", "tcp", "udp"]);
        let functions = |program: &str| {
            let program = object.program(program).unwrap();
            let mut names: Vec<&str> = program.notes.values().map(String::as_str).collect();
            names.sort_unstable();
            names.join(" ")
        };
        assert_eq!(functions("entry"), "");
        assert_eq!(functions("refuse"), "distance slot_of");
        assert_eq!(functions("tcp"), "distance select slot_of tcp_base");
        assert_eq!(functions("udp"), "distance select slot_of");
        for program in &object.programs {
            let starts: Vec<usize> = program.notes.keys().copied().collect();
            let mut slot = 0;
            for insn in &program.insns {
                if let Insn::Call(sklookup_bpf::Callee::Local(_)) = insn {
                    assert!(starts.contains(&insn.target(slot).unwrap()), "{}: slot {slot} {insn}", program.name);
                }
                slot += insn.slots();
            }
        }
    });
}

#[test]
fn slots_are_filled_as_declared() {
    of_every_build("stages", |object| {
        let slots = [(6, "tcp".to_owned()), (17, "udp".to_owned())];
        let stages = object.map("stages").unwrap();
        assert_eq!((stages.kind, stages.max_entries), (MapType::ProgArray, 18));
        assert_eq!(stages.contents, Contents::Slots(slots.into()));
    });
    of_every_build("tenants", |object| {
        let slots = [(0, "red".to_owned()), (2, "blue".to_owned())];
        let tenants = object.map("tenants").unwrap();
        assert_eq!(tenants.contents, Contents::Slots(slots.into()));
        assert_eq!(tenants.inner.as_deref(), Some(&MapSpec::new("tenants.inner", MapType::Sockmap, 4, 8, 2)));
    });
}

#[test]
fn callbacks_are_addresses_of_functions_behind_the_program() {
    of_every_build("callbacks", |object| {
        let program = object.program("first_member").unwrap();
        let mut called_back = Vec::new();
        let mut slot = 0;
        for insn in &program.insns {
            if let Insn::LoadWide { value: Wide::Function(_), .. } = insn {
                called_back.push(program.notes[&insn.target(slot).unwrap()].as_str());
            }
            slot += insn.slots();
        }
        assert_eq!(called_back, ["is_closed", "try_member"]);
    });
}

#[test]
fn the_kernel_is_told_the_type_of_each_function_and_the_lines() {
    of_every_build("callbacks", |object| {
        let program = object.program("first_member").unwrap();
        let btf = program.btf.as_ref().unwrap();
        let starts: Vec<usize> = btf.functions.iter().map(|function| function.slot as usize).collect();
        let expected: Vec<usize> = [0].into_iter().chain(program.notes.keys().copied()).collect();
        assert_eq!(starts, expected);
        assert!(btf.lines.len() > 10 && btf.lines.is_sorted_by_key(|line| line.slot));
    });
}

#[test]
fn a_value_with_a_spin_lock_brings_its_types_and_a_pin_is_left_to_others() {
    of_every_build("lock", |object| {
        assert!(object.map("counts").unwrap().btf.is_some());
        let left_out: Vec<String> = object.left_out.iter().map(ToString::to_string).collect();
        assert_eq!(left_out, ["pinning of map counts: a pin outlives the program that asked for it"]);
    });
}

#[test]
fn the_older_section_defines_maps_too() {
    of_every_build("legacy", |object| {
        let expected =
            [MapSpec::new("sockets", MapType::Sockmap, 4, 8, 1), MapSpec::new("packets", MapType::Array, 4, 8, 1)];
        assert_eq!(object.maps, expected);
        assert_eq!(object.left_out.len(), 1, "{:?}", object.left_out);
    });
}

#[test]
fn reuseport_programs_are_programs_too() {
    of_every_build("members", |object| {
        assert_eq!(object.program("members").unwrap().kind, ProgramType::SkReuseport);
        assert_eq!(object.map("group").unwrap().kind, MapType::ReuseportSockarray);
    });
}

#[test]
fn what_stands_beside_our_programs_is_named_and_left_out() {
    of_every_build("mixed", |object| {
        assert_eq!(names(&object.programs, |program| &program.name), ["port_80"]);
        assert_eq!(names(&object.left_out, |left| &left.what), ["map queue", "program trace, section xdp"]);
        assert!(object.maps.is_empty());
    });
}

#[test]
fn every_refused_feature_is_refused_by_its_name() {
    for feature in features() {
        let Support::Refused { why, instead } = feature.support else { continue };
        let error = read(feature.shown_by).expect_err(feature.shown_by);
        println!("{error}");
        assert_eq!(error.feature, Some(*feature), "{}: {error}", feature.shown_by);
        let said = error.to_string();
        assert!(said.contains(feature.name) && said.contains(why) && said.ends_with(instead), "{said}");
    }
}

#[test]
fn every_feature_has_an_object_that_shows_it() {
    for feature in features() {
        for shown_by in feature.shown_by.split(", ") {
            let path = match shown_by.split_once('/') {
                // It is not made by clang, so it is never made anew.
                Some(("aya", _)) => {
                    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../testdata/objects/{shown_by}.o"))
                }
                Some(_) => directory().join(format!("{shown_by}.o")),
                None => directory().join(format!("clang-19-v3/{shown_by}.o")),
            };
            assert!(path.exists(), "{}: {} is not there", feature.name, path.display());
        }
    }
}
