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
fn globals_are_set_before_loading_and_read_afterwards_and_records_come_out() {
    of_every_build("prefixes", |mut object| {
        object.set_global("last_port", &7100u16.to_ne_bytes()).unwrap();
        let world = World::new(&object);
        world.put("sockets", 3);
        // 192.0.2.0/24 is service 3.
        world.map("services").update(&[24, 0, 0, 0, 192, 0, 2, 0], &3u32.to_ne_bytes(), update::ANY).unwrap();
        assert_eq!(world.run("prefixes", tcp_to(7100)), SELECTED);
        assert_eq!(world.run("prefixes", Context { protocol: 17, ..tcp_to(7101) }), PASSED);
        let elsewhere = Context { destination: "203.0.113.7:80".parse().unwrap(), ..tcp_to(80) };
        assert_eq!(world.run("prefixes", elsewhere), DROPPED, "service 1 has no socket");

        let global = |name: &str| {
            let global = object.globals.iter().find(|global| global.name == name).unwrap();
            world.map(&global.map).value().unwrap()[global.offset as usize..][..8].to_vec()
        };
        assert_eq!(global("steered"), 1u64.to_ne_bytes());
        assert_eq!(global("left"), 0u64.to_ne_bytes(), "of TCP");
        let record = [3u32.to_ne_bytes(), 7100u32.to_ne_bytes()].concat();
        assert_eq!(world.map("records").next_record().unwrap(), Some(record));
        assert_eq!(world.map("records").next_record().unwrap(), None);
    });
}

#[test]
fn a_tail_call_goes_where_the_object_says_and_subprograms_are_called() {
    of_every_build("stages", |object| {
        let world = World::new(&object);
        world.put("sockets", 1);
        assert_eq!(world.run("entry", tcp_to(7001)), SELECTED, "the stage of TCP");
        assert_eq!(world.run("entry", Context { protocol: 17, ..tcp_to(7002) }), DROPPED, "the stage of UDP, slot 0");
        assert_eq!(world.run("entry", Context { protocol: 7, ..tcp_to(7001) }), DROPPED, "an empty stage");
        assert_eq!(world.run("refuse", tcp_to(7003)), DROPPED);
        assert_eq!(world.run("refuse", tcp_to(7004)), PASSED);
    });
}

#[test]
fn callbacks_are_called_back() {
    of_every_build("callbacks", |object| {
        let world = World::new(&object);
        world.put("members", 5);
        world.map("closed").update(&7010u32.to_ne_bytes(), &7019u32.to_ne_bytes(), update::ANY).unwrap();
        assert_eq!(world.run("first_member", tcp_to(7009)), SELECTED);
        assert_eq!(world.run("first_member", tcp_to(7010)), DROPPED);
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
