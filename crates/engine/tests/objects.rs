//! Whole objects in the engine: what runs there as it runs in a kernel.

#[path = "../../bpf/tests/built/mod.rs"]
mod built;

use built::of_every_build;
use sklookup_bpf::object::Object;
use sklookup_engine::{Collection, Context, Machine, Map, Netns, Socket, Verdict, update};

/// A machine with an object loaded, and a listener to put into its maps.
struct World {
    collection: Collection,
    listener: Socket,
}

impl World {
    fn new(object: &Object) -> World {
        let machine = Machine::default();
        let netns = Netns::new_private(&machine);
        let listener = Socket::listener(&netns, "127.0.0.1:8080".parse().unwrap()).unwrap();
        let collection = Collection::load(&machine, object).unwrap_or_else(|error| panic!("{error}"));
        World { collection, listener }
    }

    fn map(&self, name: &str) -> &Map {
        self.collection.map(name).unwrap()
    }

    fn put(&self, map: &str, key: u32) {
        self.map(map).update_socket(&key.to_ne_bytes(), self.listener.id(), update::ANY).unwrap();
    }

    /// What a program does with a packet, and whether the listener gets it.
    fn run(&self, program: &str, packet: Context) -> (Verdict, bool) {
        let run = self.collection.program(program).unwrap().test_run(&packet, 1).unwrap();
        assert!(run.cookie.is_none_or(|cookie| cookie == self.listener.id().cookie()));
        (run.verdict, run.cookie.is_some())
    }
}

fn tcp_to(port: u16) -> Context {
    let destination = std::net::SocketAddr::from(([192, 0, 2, 7], port));
    Context { protocol: 6, source: "198.51.100.9:40000".parse().unwrap(), destination }
}

const SELECTED: (Verdict, bool) = (Verdict::Pass, true);
const PASSED: (Verdict, bool) = (Verdict::Pass, false);
const DROPPED: (Verdict, bool) = (Verdict::Drop, false);

#[test]
fn a_socket_in_the_map_of_an_object_is_selected() {
    of_every_build("assign", |object| {
        let world = World::new(&object);
        world.put("sockets", 1);
        assert_eq!(world.run("assign", tcp_to(7008)), SELECTED);
        assert_eq!(world.run("assign", tcp_to(7007)), DROPPED);
        assert_eq!(world.run("assign", tcp_to(7009)), PASSED);
    });
}

#[test]
fn maps_in_maps_are_filled_as_declared() {
    of_every_build("tenants", |object| {
        let world = World::new(&object);
        world.put("blue", 1);
        assert_eq!(world.run("tenant_of_port", tcp_to(7201)), SELECTED);
        assert_eq!(world.run("tenant_of_port", tcp_to(7001)), DROPPED, "red is empty");
        assert_eq!(world.run("tenant_of_port", tcp_to(7101)), PASSED, "no tenant");
    });
}

#[test]
fn maps_of_the_older_section_work() {
    of_every_build("legacy", |object| {
        let world = World::new(&object);
        world.put("sockets", 0);
        assert_eq!(world.run("legacy", tcp_to(80)), SELECTED);
        assert_eq!(world.map("packets").value().unwrap(), 1u64.to_ne_bytes());
    });
}
