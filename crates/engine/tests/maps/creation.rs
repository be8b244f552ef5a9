//! Which maps can be created.

use sklookup_bpf::{MapFlags, MapSpec, MapType, map_kinds};
use sklookup_testbed::Sandbox;

use crate::both::{machine, of_engine, of_kernel, same};
use crate::bytes::any;
use crate::with_seeds;

/// Small shapes, right and wrong, of all types. What is refused for its number of entries is asked of the engine alone: the
/// kernel would try.
pub(crate) fn alike(_: &Sandbox) {
    let kinds: Vec<MapType> = map_kinds().iter().filter_map(|kind| kind.kind.ok()).collect();
    with_seeds(3000, |rng| {
        let machine = machine();
        let flags = (0..rng.u32(0..3)).fold(MapFlags::NONE, |flags, _| flags | MapFlags(1 << rng.u32(0..14)));
        let trie = [MapFlags::NONE, MapFlags::NO_PREALLOC];
        let shape = |rng: &mut fastrand::Rng, kind, entries: &[u32]| {
            let sizes = [0, 1, 3, 4, 5, 8, 16, 260, 261, 512, 513];
            let key = if rng.bool() { any(rng, &[0, 4]) } else { any(rng, &sizes) };
            let value = if rng.bool() { any(rng, &[0, 4, 8]) } else { any(rng, &[1, 7, 32 << 10, (32 << 10) + 1]) };
            MapSpec::new("map", kind, key, value, any(rng, entries))
        };
        let kind = any(rng, &kinds);
        let entries: &[u32] = if kind == MapType::Ringbuf { &[4096, 8192, 12288, 2048, 0] } else { &[1, 3, 0] };
        let spec = shape(rng, kind, entries);
        let extra = if kind == MapType::LpmTrie { any(rng, &trie) } else { MapFlags::NONE };
        // A number beside the flag would name the node of memory, and 0 is there.
        let mut spec = MapSpec { flags: flags | extra, ..spec };
        if kind.holds_maps() {
            let inner =
                any(rng, &[MapType::Array, MapType::Hash, MapType::ProgArray, MapType::Sockmap, MapType::Ringbuf]);
            let size = if inner == MapType::Ringbuf { 0 } else { 4 };
            spec.inner = Some(Box::new(MapSpec::new("inner", inner, size, size, 4096)));
        }
        let (engine, kernel) = (
            sklookup_engine::Map::create(&machine, &spec).map(|map| map.info().max_entries),
            sklookup_kernel::Map::create(&spec).map(|map| map.info().max_entries),
        );
        same(&spec, &of_engine(engine), &of_kernel(kernel));
    });
}
