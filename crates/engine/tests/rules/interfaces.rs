//! Which interface a program sees.

use sklookup_bpf::{MapSpec, MapType};
use sklookup_engine::{Link, Map, Packet, Protocol};

use crate::programs::returning;
use crate::world::{World, at, packet};

const NOTING: &str = "r2 = *(u32 *)(r1 +64)
    r1 = map[answer][0]+0 ll
    *(u32 *)(r1 +0) = r2
";

struct Noting {
    world: World,
    noted: Map,
    _link: Link,
}

impl Noting {
    fn new() -> Noting {
        let world = World::new();
        let noted = Map::create(&world.machine, &MapSpec::new("answer", MapType::Array, 4, 4, 1)).unwrap();
        let program = world.program(&[NOTING, &returning(1)].concat(), &[&noted]);
        let link = Link::attach(&program, &world.netns).unwrap();
        Noting { world, noted, _link: link }
    }

    fn seen(&self) -> u32 {
        u32::from_ne_bytes(self.noted.value().unwrap().try_into().unwrap())
    }

    fn seen_by(&self, packet: &Packet) -> u32 {
        self.noted.set_value(&[0xff; 4]).unwrap();
        self.world.receive(packet);
        self.seen()
    }
}

#[test]
fn what_this_host_sends_itself_arrives_where_the_address_belongs() {
    let noting = Noting::new();
    let netns = &noting.world.netns;
    let device = netns.add_interface("v0").unwrap();
    for address in ["192.0.2.1/24", "2001:db8::1/64"] {
        netns.add_address(device, address.parse().unwrap()).unwrap();
    }
    netns.add_local_route("198.51.100.0/24".parse().unwrap()).unwrap();
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        for (to, expected) in [
            ("192.0.2.1:80", device),
            ("[2001:db8::1]:80", device),
            ("127.0.0.3:80", 1),
            ("[::1]:80", 1),
            ("198.51.100.7:80", 1),
        ] {
            assert_eq!(noting.seen_by(&packet(protocol, to)), expected, "{protocol} {to}");
        }
        assert_eq!(noting.seen_by(&packet(protocol, "192.0.2.1:80").on_interface(1)), 1);
    }
}

#[test]
fn a_vrf_is_seen_in_the_place_of_its_member() {
    let noting = Noting::new();
    let netns = &noting.world.netns;
    let vrf = netns.add_interface("red").unwrap();
    let device = netns.add_interface("v0").unwrap();
    netns.set_vrf(device, vrf).unwrap();
    netns.add_address(device, "192.0.2.1/24".parse().unwrap()).unwrap();
    assert_eq!(noting.seen_by(&packet(Protocol::Udp, "192.0.2.1:80").on_interface(device)), vrf);
}

#[test]
fn an_ipv4_error_of_this_host_arrives_on_loopback() {
    let noting = Noting::new();
    let netns = &noting.world.netns;
    let device = netns.add_interface("v0").unwrap();
    for address in ["192.0.2.1/24", "2001:db8::1/64"] {
        netns.add_address(device, address.parse().unwrap()).unwrap();
    }
    for (from, to, expected) in [("192.0.2.1:1", "127.0.0.1:2", 1), ("[2001:db8::1]:1", "[::1]:2", device)] {
        netns.receive_error(&Packet::udp(at(from), at(to))).unwrap();
        assert_eq!(noting.seen(), expected, "{from}");
    }
}
