//! What maps and programs take together has a limit that whoever made the machine set.

use sklookup_bpf::{MapFlags, MapSpec, MapType, map_kinds};
use sklookup_engine::{Config, Errno, Machine, Map, update};

use crate::world::errno;

fn machine(memory: u64) -> Machine {
    Machine::new(Config { memory, ..Config::default() })
}

#[test]
fn a_map_of_four_billion_entries_is_an_error_and_not_an_allocation() {
    for kind in map_kinds().iter().filter_map(|kind| kind.kind.ok()) {
        let machine = machine(1 << 24);
        let (key, value, entries) = match kind {
            MapType::Ringbuf => (0, 0, 1 << 31),
            MapType::ProgArray | MapType::ArrayOfMaps | MapType::HashOfMaps => (4, 4, u32::MAX),
            MapType::LpmTrie => (8, 8, u32::MAX),
            _ => (4, 8, u32::MAX),
        };
        let spec = MapSpec::new("huge", kind, key, value, entries);
        let inner = kind.holds_maps().then(|| Box::new(MapSpec::new("inner", MapType::Array, 4, 8, 1)));
        let flags = if kind == MapType::LpmTrie { MapFlags::NO_PREALLOC } else { MapFlags::NONE };
        let refused = Map::create(&machine, &MapSpec { inner, flags, ..spec });
        match kind {
            // Its memory comes with its entries.
            MapType::LpmTrie => drop(refused.unwrap()),
            MapType::Hash | MapType::PercpuHash | MapType::LruHash | MapType::HashOfMaps => {
                assert_eq!(errno(refused), Errno::TOOBIG, "{kind:?}");
            }
            MapType::Sockhash => assert_eq!(errno(refused), Errno::INVAL),
            _ => assert_eq!(errno(refused), Errno::NOMEM, "{kind:?}"),
        }
        assert_eq!(machine.memory_used(), 0, "{kind:?}");
    }
}

#[test]
fn values_of_gigabytes_are_an_error() {
    let machine = machine(1 << 24);
    for (kind, value) in [(MapType::Array, 1 << 31), (MapType::Array, i32::MAX as u32), (MapType::Hash, 1 << 22)] {
        assert!(Map::create(&machine, &MapSpec::new("huge", kind, 4, value, 1 << 20)).is_err(), "{kind:?}");
    }
    assert_eq!(machine.memory_used(), 0);
}

#[test]
fn entries_that_come_one_by_one_are_counted_until_there_is_no_memory() {
    let machine = machine(1 << 16);
    for kind in [MapType::Hash, MapType::LpmTrie] {
        let spec = MapSpec { flags: MapFlags::NO_PREALLOC, ..MapSpec::new("map", kind, 8, 100, 1 << 20) };
        let map = Map::create(&machine, &spec).unwrap();
        // A key of a trie begins with its length.
        let key = |index: u32| [32u32.to_ne_bytes(), index.to_ne_bytes()].concat();
        let put = |index: u32| map.update(&key(index), &[7; 100], update::ANY);
        let last = (0..).find(|index| put(*index).is_err()).unwrap();
        assert!((100..1000).contains(&last), "{kind:?} takes {last}");
        assert_eq!(errno(put(last)), Errno::NOMEM);
        assert!(machine.memory_used() <= 1 << 16);
        // What was there is, and makes room when it goes.
        assert_eq!(map.lookup(&key(0), 0).unwrap(), [7; 100]);
        map.delete(&key(0)).unwrap();
        put(last).unwrap();
        drop(map);
        assert_eq!(machine.memory_used(), 0, "{kind:?}");
    }
}

#[test]
fn maps_share_the_memory_of_their_machine() {
    let machine = machine(1 << 16);
    let create = || Map::create(&machine, &MapSpec::new("map", MapType::Array, 4, 1 << 14, 1));
    let maps: Vec<Map> = std::iter::from_fn(|| create().ok()).collect();
    assert_eq!(maps.len(), 3);
    assert_eq!(errno(create()), Errno::NOMEM);
    drop(maps);
    create().unwrap();
}
