//! A unit test of an sk_lookup program of one's own: no root, no kernel, any OS. To copy: [`world`], and the tests below it.
//!
//! `cargo test -p sklookup-engine --example own_program` runs the tests, `cargo run -p sklookup-engine --example own_program`
//! shows the way of one packet, step by step.

use std::net::SocketAddr;

use sklookup_bpf::{ProgramSpec, ProgramType};
use sklookup_engine::{Link, Machine, Netns, Packet, Program, Socket, Sockmap};

/// The program under test, in the syntax of the verifier's log with labels and names of maps. TCP to 192.0.2.0/24 goes to the
/// proxy in slot 0, whatever the port, but for port 22.
const STEER: &str = "
        r6 = r1
        r2 = *(u32 *)(r6 +8)            ; the family: IPv4 alone
        if r2 != 2 goto pass
        r2 = *(u32 *)(r6 +12)           ; the protocol: TCP alone
        if r2 != 6 goto pass
        r2 = *(u32 *)(r6 +60)           ; the destination port, in host order
        if r2 == 22 goto pass
        r2 = *(u8 *)(r6 +40)            ; the destination address, byte by byte
        if r2 != 192 goto pass
        r2 = *(u8 *)(r6 +41)
        if r2 != 0 goto pass
        r2 = *(u8 *)(r6 +42)
        if r2 != 2 goto pass
        *(u32 *)(r10 -4) = 0
        r1 = map[proxy] ll
        r2 = r10
        r2 += -4
        call bpf_map_lookup_elem
        if r0 == 0 goto drop            ; nobody may get what is meant for the proxy
        r7 = r0
        r1 = r6
        r2 = r7
        r3 = 0
        call bpf_sk_assign
        r1 = r7
        call bpf_sk_release
    pass:
        r0 = 1
        exit
    drop:
        r0 = 0
        exit";

/// A host with the program on its hook. What is dropped goes away, as the last fd of it would: the link, too.
struct World {
    netns: Netns,
    proxy: Socket,
    ssh: Socket,
    _link: Link,
}

fn world() -> World {
    let machine = Machine::default();
    let netns = Netns::new_private(&machine);
    for prefix in ["192.0.2.0/24", "198.51.100.1/32"] {
        netns.add_local_route(prefix.parse().unwrap()).unwrap();
    }
    let proxy = Socket::listener(&netns, at("127.0.0.1:8080")).unwrap();
    let ssh = Socket::listener(&netns, at("0.0.0.0:22")).unwrap();

    let map = Sockmap::create(&machine, "proxy", 1).unwrap();
    map.put(0, &proxy).unwrap();
    let spec = ProgramSpec::from_text("steer", ProgramType::SkLookup, STEER).unwrap();
    let program = Program::load(&machine, &spec, &[map.map()]).unwrap();
    let link = Link::attach(&program, &netns).unwrap();
    World { netns, proxy, ssh, _link: link }
}

fn at(address: &str) -> SocketAddr {
    address.parse().unwrap()
}

/// The first packet of a connection.
fn syn_to(destination: &str) -> Packet {
    Packet::tcp(at("203.0.113.9:40000"), at(destination))
}

fn main() {
    let world = world();
    let (delivery, trace) = world.netns.receive_traced(&syn_to("192.0.2.7:443"));
    println!("The proxy is {}, ssh {}.\n\n{trace}\n{delivery:?}", world.proxy.id(), world.ssh.id());
}

#[cfg(test)]
mod tests {
    use sklookup_engine::Delivery;

    use super::*;

    #[test]
    fn every_port_of_the_prefix_goes_to_the_proxy() {
        let world = world();
        for destination in ["192.0.2.0:1", "192.0.2.7:443", "192.0.2.255:65535"] {
            let delivery = world.netns.receive(&syn_to(destination));
            assert_eq!(delivery, Ok(Delivery::Socket(world.proxy.id())), "{destination}");
        }
    }

    #[test]
    fn ssh_stays_with_the_host() {
        let world = world();
        let delivery = world.netns.receive(&syn_to("192.0.2.7:22"));
        assert_eq!(delivery, Ok(Delivery::Socket(world.ssh.id())));
    }

    #[test]
    fn other_addresses_and_protocols_are_left_alone() {
        let world = world();
        assert_eq!(world.netns.receive(&syn_to("198.51.100.1:443")), Ok(Delivery::Reset));
        let datagram = Packet::udp(at("203.0.113.9:40000"), at("192.0.2.7:443"));
        assert_eq!(world.netns.receive(&datagram), Ok(Delivery::Unreachable));
    }

    #[test]
    fn without_the_proxy_connections_are_refused() {
        let world = world();
        drop(world.proxy); // closed, which takes it out of the map, too
        assert_eq!(world.netns.receive(&syn_to("192.0.2.7:443")), Ok(Delivery::Reset));
    }

    #[test]
    fn a_connection_goes_on_whatever_becomes_of_the_proxy() {
        let world = world();
        let connection = world.proxy.accept(&syn_to("192.0.2.7:443")).unwrap();
        drop(world.proxy);
        let delivery = world.netns.receive(&syn_to("192.0.2.7:443"));
        assert_eq!(delivery, Ok(Delivery::Socket(connection.id())));
    }
}
