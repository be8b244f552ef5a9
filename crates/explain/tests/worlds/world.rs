//! A world: a policy, sockets under its labels and beside them, programs of others.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;

use fastrand::Rng;
use sklookup_bpf::{ProgramSpec, ProgramType};
use sklookup_kernel::{Link, Netns, Program, Sandbox, Sockmap, interface, route};
use sklookup_policy::{Origin, Policy, Protocol, parse_binding};
use sklookup_steering::{Error, Placement, State};

use crate::sockets::{Server, member};

/// Addresses that packets go to: of loopback, of a prefix that a route makes local, of each end of the cable.
pub const DESTINATIONS: [&str; 8] =
    ["127.0.0.1", "192.0.2.7", "192.0.2.200", "10.1.0.1", "10.2.0.1", "::1", "2001:db8::7", "fd01::1"];
/// None of them is one that the kernel gives to sockets without a port.
pub const PORTS: [u16; 4] = [80, 81, 82, 443];
const LABELS: [&str; 3] = ["a", "b", "c"];
pub const INTERFACES: [&str; 3] = ["lo", "near", "more"];

/// What all worlds of a trial share.
pub struct Place {
    pub state: State,
    /// The other end of the cable `near`.
    pub far: Netns,
}

/// One world.
pub struct World {
    pub servers: Vec<Server>,
    bindings: Vec<String>,
    others: Vec<(String, Link)>,
}

impl Place {
    /// Interfaces and addresses; `near` (10.1.0.1, fd01::1) leads to another namespace, where 10.1.0.9 and fd01::9 are.
    pub fn furnish(sandbox: &Sandbox) -> Place {
        let far = Netns::new_private().unwrap();
        let (near, end) = interface::add_veth("near", "end").unwrap();
        let (more, rest) = interface::add_veth("more", "rest").unwrap();
        for (index, address) in [(near, "10.1.0.1/24"), (near, "fd01::1/64"), (more, "10.2.0.1/24")] {
            interface::add_address(index, address.parse().unwrap()).unwrap();
        }
        interface::move_to(end, &far).unwrap();
        [near, more, rest].into_iter().for_each(|index| interface::set_up(index).unwrap());
        far.run(|| {
            let end = interface::index_of("end").unwrap().unwrap();
            interface::set_up(end).unwrap();
            // Two more networks are neighbours to it: their packets come over the cable, too.
            for address in ["10.1.0.9/24", "fd01::9/64", "10.2.0.9/24", "192.0.2.99/24"] {
                interface::add_address(end, address.parse().unwrap()).unwrap();
            }
        })
        .unwrap();
        for prefix in ["192.0.2.0/24", "2001:db8::/48"] {
            route::add_local_route(prefix.parse().unwrap()).unwrap();
        }
        crate::packets::wait_until_routed(&far);
        Place { state: State::new(&sandbox.bpffs, Netns::current().unwrap()).unwrap(), far }
    }
}

impl World {
    /// A world with up to so many programs of others before ours, and as many behind it.
    pub fn random(place: &Place, rng: &mut Rng, others: usize) -> World {
        let mut world = World { servers: Vec::new(), bindings: Vec::new(), others: Vec::new() };
        world.open_servers(rng);
        for _ in 0..rng.usize(..=others) {
            world.add_other(rng);
        }
        world.steer(place, rng);
        for _ in 0..rng.usize(..=others) {
            world.add_other(rng);
        }
        world
    }

    /// A destination and port: mostly one that a server or a binding has.
    pub fn destination(&self, rng: &mut Rng, protocol: Protocol) -> SocketAddr {
        let at = SocketAddr::new(random_address(rng), *rng.choice(&PORTS).unwrap());
        match rng.choice(&self.servers) {
            Some(server) if server.protocol == protocol && rng.bool() => {
                let local = server.local;
                let ip = if local.ip().is_unspecified() { at.ip() } else { local.ip().to_canonical() };
                SocketAddr::new(ip, local.port())
            }
            _ => at,
        }
    }

    fn open_servers(&mut self, rng: &mut Rng) {
        for _ in 0..rng.usize(2..7) {
            let protocol = if rng.bool() { Protocol::Tcp } else { Protocol::Udp };
            let ip = match rng.u8(..3) {
                0 => "0.0.0.0".parse().unwrap(),
                1 => "::".parse().unwrap(),
                _ => random_address(rng),
            };
            let at = SocketAddr::new(ip, *rng.choice(&PORTS).unwrap());
            // A device that a listener is bound to is where its answers leave: only those of UDP are, which sends none.
            let device = (protocol == Protocol::Udp && rng.u8(..5) == 0).then(|| *rng.choice(&INTERFACES).unwrap());
            let group = if rng.u8(..3) == 0 { rng.usize(2..4) } else { 1 };
            let v6only = rng.u8(..4) == 0;
            for _ in 0..group {
                // What is in the way of another is not opened.
                self.servers.extend(Server::open(protocol, at, device, group > 1, v6only));
            }
        }
    }

    fn steer(&mut self, place: &Place, rng: &mut Rng) {
        for _ in 0..rng.usize(..6) {
            self.bindings.push(random_binding(rng));
        }
        let parse = |line: &String| parse_binding(line, Origin::Command("test".into())).unwrap();
        // One of two that conflict goes.
        let mut policy = Policy::default();
        self.bindings.retain(|line| match policy.with(parse(line)) {
            Ok(more) => {
                policy = more;
                true
            }
            Err(_) => false,
        });
        place.state.commit(&[], &mut |_| Ok::<_, Error>(policy.clone())).unwrap();
        for label in LABELS {
            let chosen = self.servers.iter().filter(|_| rng.u8(..3) == 0);
            let members: Vec<_> = chosen.take(8).filter_map(member).collect();
            place.state.unregister(&label.parse().unwrap(), &|_| true).ok();
            if !members.is_empty() && policy.labels().iter().any(|known| known.as_str() == label) {
                place.state.register(Placement { label: label.parse().unwrap(), members }).unwrap();
            }
        }
    }

    /// A program that passes, drops, or selects a socket, mostly only on one port.
    fn add_other(&mut self, rng: &mut Rng) {
        let selectable: Vec<&Server> = self.servers.iter().filter(|server| server.peer.is_none()).collect();
        let (flags, verdict) = (rng.u8(..2), rng.u8(..2));
        let map = Sockmap::create("others", 1).unwrap();
        let selects = rng.choice(&selectable).filter(|_| rng.bool());
        if let Some(server) = selects {
            map.put(0, server.fd.as_fd()).unwrap();
        }
        let port = Some(*rng.choice(&PORTS).unwrap()).filter(|_| selects.is_none() || rng.bool());
        let elsewhere = port.map(|port| format!("if r2 != {port} goto out")).unwrap_or_default();
        let text = format!(
            "r6 = r1
             r0 = 1
             r2 = *(u32 *)(r6 +60)
             {elsewhere}
             *(u32 *)(r10 -4) = 0
             r2 = r10
             r2 += -4
             r1 = map[others] ll
             call bpf_map_lookup_elem
             if r0 == 0 goto done
             r7 = r0
             r1 = r6
             r2 = r0
             r3 = {flags}
             call bpf_sk_assign
             r1 = r7
             call bpf_sk_release
         done:
             r0 = {verdict}
         out:
             exit"
        );
        let spec = ProgramSpec::from_text("other", ProgramType::SkLookup, &text).unwrap();
        let program = Program::load(&spec, &[map.map().as_fd()]).unwrap();
        let link = Link::attach(&program, Netns::current().unwrap().as_fd()).unwrap();
        let whom = selects.map_or("nobody".to_owned(), |server| server.to_string());
        let port = port.map_or("every port".to_owned(), |port| format!("port {port}"));
        self.others.push((format!("on {port} selects {whom} with flags {flags}, returns {verdict}"), link));
    }
}

/// Whatever goes wrong in a world: this is what it was like.
impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("in this world:\n{self}");
        }
    }
}

impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.servers.iter().try_for_each(|server| writeln!(f, "{server}"))?;
        self.bindings.iter().try_for_each(|binding| writeln!(f, "{binding}"))?;
        self.others.iter().try_for_each(|(other, _)| writeln!(f, "{other}"))
    }
}

pub fn random_address(rng: &mut Rng) -> IpAddr {
    rng.choice(&DESTINATIONS).unwrap().parse().unwrap()
}

fn random_binding(rng: &mut Rng) -> String {
    let is_v4 = rng.u8(..3) > 0;
    let choose =
        |rng: &mut Rng, v4: &[&str], v6: &[&str]| (*rng.choice(if is_v4 { v4 } else { v6 }).unwrap()).to_owned();
    let first = *rng.choice(&["a", "b", "c", "a", "b", "pass", "refuse"]).unwrap();
    let protocol = *rng.choice(&["tcp", "udp", "tcp,udp"]).unwrap();
    let destination = choose(
        rng,
        &["0.0.0.0/0", "192.0.2.0/24", "192.0.2.7", "10.0.0.0/8", "10.1.0.1", "127.0.0.0/8"],
        &["::/0", "2001:db8::/48", "fd01::1"],
    );
    let ports = *rng.choice(&["*", "80", "80-82", "443"]).unwrap();
    let mut binding = format!("{first} {protocol} {destination} {ports}");
    if rng.u8(..4) == 0 {
        binding +=
            &format!(" from {}", choose(rng, &["10.1.0.0/24", "10.0.0.0/8", "127.0.0.0/8"], &["fd01::/64", "::1"]));
    }
    if rng.u8(..4) == 0 {
        binding += &format!(" dev {}", rng.choice(&INTERFACES).unwrap());
    }
    if !["pass", "refuse"].contains(&first) && rng.bool() {
        binding += " when-empty pass";
    }
    binding
}
