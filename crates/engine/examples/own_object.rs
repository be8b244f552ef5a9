//! A unit test of an object file of one's own: no root, no kernel, any OS. To copy: [`world`], and the tests below it.
//!
//! `examples/objects/steer.c` is the program: every TCP port of 192.0.2.0/24 goes to one server, but for port 22. docs/objects.md
//! says how it is compiled. `cargo test -p sklookup-engine --example own_object` runs the tests, `cargo run -p sklookup-engine
//! --example own_object` shows the way of one packet, step by step.

use std::net::SocketAddr;

use sklookup_bpf::object::Object;
use sklookup_engine::{Collection, Link, Machine, Netns, Packet, Socket, update};

/// The object under test. In a crate of one's own `build.rs` may run clang, and this be `concat!(env!("OUT_DIR"), "/steer.o")`.
const STEER: &[u8] = include_bytes!("../../../examples/objects/steer.o");

/// A host with the program on its hook.
struct World {
    netns: Netns,
    server: Socket,
    object: Object,
    loaded: Collection,
    _link: Link,
}

/// `set` may change the object before it is loaded.
fn world(set: impl FnOnce(&mut Object)) -> World {
    let mut object = Object::parse(STEER).unwrap();
    set(&mut object);
    let machine = Machine::default();
    let netns = Netns::new_private(&machine);
    for prefix in ["192.0.2.0/24", "198.51.100.0/24"] {
        netns.add_local_route(prefix.parse().unwrap()).unwrap();
    }
    let server = Socket::listener(&netns, at("127.0.0.1:8080")).unwrap();

    let loaded = Collection::load(&machine, &object).unwrap();
    loaded.map("server").unwrap().update_socket(&0u32.to_ne_bytes(), server.id(), update::ANY).unwrap();
    let link = Link::attach(loaded.program("steer").unwrap(), &netns).unwrap();
    World { netns, server, object, loaded, _link: link }
}

fn at(address: &str) -> SocketAddr {
    address.parse().unwrap()
}

/// The first packet of a connection.
fn syn_to(destination: &str) -> Packet {
    Packet::tcp(at("203.0.113.9:40000"), at(destination))
}

impl World {
    /// The global of this name, as 8 bytes.
    fn counter(&self, name: &str) -> u64 {
        let global = self.object.globals.iter().find(|global| global.name == name).unwrap();
        let value = self.loaded.map(&global.map).unwrap().value().unwrap();
        u64::from_ne_bytes(*value[global.offset as usize..].first_chunk().unwrap())
    }
}

fn main() {
    let world = world(|_| {});
    let (delivery, trace) = world.netns.receive_traced(&syn_to("192.0.2.7:443"));
    println!("The server is {}.\n\n{trace}\n{delivery:?}", world.server.id());
    println!("refused: {}", world.counter("refused"));
}

#[cfg(test)]
mod tests {
    use sklookup_engine::Delivery;

    use super::*;

    #[test]
    fn every_port_of_the_prefix_goes_to_the_server() {
        let world = world(|_| {});
        for destination in ["192.0.2.0:1", "192.0.2.7:443", "192.0.2.255:65535"] {
            let delivery = world.netns.receive(&syn_to(destination));
            assert_eq!(delivery, Ok(Delivery::Socket(world.server.id())), "{destination}");
        }
        assert_eq!(world.netns.receive(&syn_to("192.0.2.7:22")), Ok(Delivery::Reset), "nobody serves ssh");
        assert_eq!(world.netns.receive(&syn_to("198.51.100.7:443")), Ok(Delivery::Reset));
    }

    #[test]
    fn the_prefix_is_set_before_loading() {
        let world = world(|object| object.set_global("prefix", &0xc633_6400_u32.to_ne_bytes()).unwrap());
        let delivery = world.netns.receive(&syn_to("198.51.100.7:443"));
        assert_eq!(delivery, Ok(Delivery::Socket(world.server.id())));
    }

    #[test]
    fn without_the_server_connections_are_refused_and_counted() {
        let World { netns, server, object, loaded, _link } = world(|_| {});
        drop(server); // closed, which takes it out of the map, too
        assert_eq!(netns.receive(&syn_to("192.0.2.7:443")), Ok(Delivery::Reset));
        let other = Socket::listener(&netns, at("0.0.0.0:443")).unwrap();
        assert_eq!(netns.receive(&syn_to("192.0.2.7:443")), Ok(Delivery::Reset), "{} gets nothing", other.id());
        let world = World { netns, server: other, object, loaded, _link };
        assert_eq!(world.counter("refused"), 2);
    }
}
