//! Object files: what is read fits together and is no more than the file has, loads or is refused, and its programs run to
//! an end.

#![no_main]

use std::collections::BTreeSet;

use libfuzzer_sys::fuzz_target;
use sklookup_bpf::object::Object;
use sklookup_bpf::{Contents, Insn, MapRef, ProgramSpec, ProgramType, Wide, decode, encode};
use sklookup_engine::{Collection, Config, Context, Machine};

fuzz_target!(|bytes: &[u8]| {
    let object = match Object::parse(bytes) {
        Ok(object) => object,
        Err(error) => return assert!(error.to_string().len() < 2_000, "{error}"),
    };
    let maps: BTreeSet<&str> = object.maps.iter().map(|map| map.name.as_str()).collect();
    assert_eq!(maps.len(), object.maps.len(), "names of maps are unique");
    for program in &object.programs {
        assert!(program.maps.iter().all(|map| maps.contains(map.as_str())), "{:?}", program.maps);
        assert_eq!(decode(&encode(&program.insns)).as_ref(), Ok(&program.insns));
    }
    let contents = object.maps.iter().map(|map| match &map.contents {
        Contents::Value(value) => {
            assert_eq!(value.len(), map.value_size as usize);
            value.len()
        }
        Contents::Empty | Contents::Slots(_) => 0,
    });
    assert!(contents.sum::<usize>() <= bytes.len(), "maps have more in them than the file");
    check_globals(&object);

    let machine =
        Machine::new(Config { cpus: 2, seed: 7, instructions: 10_000, all_instructions: u64::MAX, memory: 8 << 20 });
    let Ok(loaded) = Collection::load(&machine, &object) else { return };
    assert!(machine.memory_used() <= 8 << 20);
    object.programs.iter().for_each(check_code);
    let address = |text: &str| text.parse().expect("it is an address");
    let context = Context { protocol: 6, source: address("192.0.2.1:40000"), destination: address("192.0.2.7:80") };
    for program in object.programs.iter().filter(|program| program.kind == ProgramType::SkLookup) {
        let _ = loaded.program(&program.name).expect("all were loaded").test_run(&context, 1);
    }
});

/// Of a program that was loaded every jump and call leads to an instruction, and every map has a name.
fn check_code(program: &ProgramSpec) {
    let mut slot = 0;
    let mut starts = BTreeSet::new();
    let mut targets = BTreeSet::new();
    for insn in &program.insns {
        starts.insert(slot);
        targets.extend(insn.target(slot));
        slot += insn.slots();
        if let Insn::LoadWide { value: Wide::Map(map) | Wide::MapValue { map, .. }, .. } = insn {
            assert!(matches!(map, MapRef::Index(index) if (*index as usize) < program.maps.len()), "{insn}");
        }
    }
    assert!(targets.is_subset(&starts), "{}", program.listing());
}

/// Every global lies in its map.
fn check_globals(object: &Object) {
    for global in &object.globals {
        let map = object.map(&global.map).expect("its map is there");
        let end = u64::from(global.offset) + u64::from(global.size);
        assert!(end <= u64::from(map.value_size), "{global:?}");
    }
}
