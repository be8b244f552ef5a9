//! Random policies, and packets at the edges of their bindings.

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use sklookup_policy::{
    Binding, Entry, Interface, Origin, Outcome, Packet, Policy, PortRange, Ports, Protocol, WhenEmpty,
};

/// SplitMix64.
pub struct Random(u64);

/// What the bindings of one policy are drawn from: few of each, so that they overlap.
pub struct Pool {
    destinations: Vec<IpNet>,
    sources: Vec<IpNet>,
    ports: Vec<Ports>,
    interfaces: Vec<Interface>,
    labels: usize,
}

/// None of them is one that the kernel gives to sockets without a port: 32768 to 60999.
const PORTS: [u16; 12] = [1, 2, 53, 79, 80, 81, 443, 1000, 8000, 8999, 65534, 65535];

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// Another seed for each run.
    pub fn seed() -> u64 {
        RandomState::new().hash_one(0u8)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    fn address(&mut self, v6: bool) -> IpAddr {
        let bits = u128::from(self.next()) << 64 | u128::from(self.next());
        if v6 {
            // Not the v4-mapped ones, which are IPv4 to the kernel wherever a user names them.
            IpAddr::from(Ipv6Addr::from_bits(bits | 1 << 126))
        } else {
            IpAddr::from(Ipv4Addr::from_bits(bits as u32))
        }
    }

    /// A prefix somewhere, or inside or around one of `others`.
    fn prefix(&mut self, v6: bool, others: &[IpNet]) -> IpNet {
        let bits: u8 = if v6 { 128 } else { 32 };
        let related = others.iter().filter(|other| matches!(other, IpNet::V6(_)) == v6).collect::<Vec<_>>();
        let address = if related.is_empty() || self.one_in(3) {
            self.address(v6)
        } else {
            let other = **self.pick(&related);
            self.inside(other)
        };
        let length = match self.below(6) {
            0 => 0,
            1 => bits,
            2 if v6 => [48, 49, 63, 64, 65, 112, 113][self.below(7)],
            _ => self.below(usize::from(bits) + 1) as u8,
        };
        IpNet::new(address, length).unwrap().trunc()
    }

    /// An address of the prefix, often its first or last.
    fn inside(&mut self, prefix: IpNet) -> IpAddr {
        match self.below(4) {
            0 => prefix.network(),
            1 => prefix.broadcast(),
            _ => {
                let IpAddr::V6(random) = self.address(true) else { unreachable!("it was asked for") };
                let random = random.to_bits();
                match prefix {
                    IpNet::V4(net) => {
                        Ipv4Addr::from_bits(net.network().to_bits() | random as u32 & net.hostmask().to_bits()).into()
                    }
                    IpNet::V6(net) => {
                        Ipv6Addr::from_bits(net.network().to_bits() | random & net.hostmask().to_bits()).into()
                    }
                }
            }
        }
    }

    /// An address in the prefix or right beside it.
    fn near(&mut self, prefix: IpNet) -> IpAddr {
        let beside = |address: IpAddr, up: bool| match address {
            IpAddr::V4(address) if up => Ipv4Addr::from_bits(address.to_bits().wrapping_add(1)).into(),
            IpAddr::V4(address) => Ipv4Addr::from_bits(address.to_bits().wrapping_sub(1)).into(),
            IpAddr::V6(address) if up => Ipv6Addr::from_bits(address.to_bits().wrapping_add(1)).into(),
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits().wrapping_sub(1)).into(),
        };
        let address = match self.below(6) {
            0 => beside(prefix.network(), false),
            1 => beside(prefix.broadcast(), true),
            _ => self.inside(prefix),
        };
        match address {
            IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => self.address(true),
            address => address,
        }
    }

    fn port_near(&mut self, ports: Ports) -> u16 {
        match self.below(8) {
            0 => ports.first().wrapping_sub(1),
            1 => ports.last().wrapping_add(1),
            2 | 3 => ports.first(),
            4 | 5 => ports.last(),
            _ => *self.pick(&PORTS),
        }
    }
}

impl Pool {
    pub fn new(random: &mut Random, interfaces: &[&str]) -> Pool {
        let mut destinations = Vec::new();
        for _ in 0..random.below(12) + 2 {
            let v6 = random.one_in(2);
            let prefix = random.prefix(v6, &destinations);
            destinations.push(prefix);
        }
        let mut sources = Vec::new();
        for _ in 0..random.below(8) + 2 {
            let v6 = random.one_in(2);
            let prefix = random.prefix(v6, &sources);
            sources.push(prefix);
        }
        let ports = (0..random.below(8) + 2).map(|_| match random.below(4) {
            0 => Ports::Every,
            1 | 2 => Ports::Range(PortRange::single(*random.pick(&PORTS))),
            _ => {
                let ends = [*random.pick(&PORTS), *random.pick(&PORTS)];
                Ports::Range(PortRange { first: ends[0].min(ends[1]), last: ends[0].max(ends[1]) })
            }
        });
        let ports = ports.collect();
        let interfaces = interfaces.iter().map(|name| name.parse().unwrap()).collect();
        Pool { destinations, sources, ports, interfaces, labels: random.below(8) + 1 }
    }

    /// A policy of at most `size` bindings: of those in conflict only the first stays.
    pub fn policy(&self, random: &mut Random, size: usize) -> Policy {
        let mut entries: Vec<Entry> = Vec::new();
        let mut policy = Policy::default();
        for _ in 0..size {
            let binding = self.binding(random);
            entries.push(Entry { binding, origin: Origin::Command("random".into()), owner: None });
            match Policy::new(entries.clone()) {
                Ok(larger) => policy = larger,
                Err(_) => drop(entries.pop()),
            }
        }
        policy
    }

    fn binding(&self, random: &mut Random) -> Binding {
        let destination = *random.pick(&self.destinations);
        let v4 = destination.addr().is_ipv4();
        let sources: Vec<IpNet> = self.sources.iter().filter(|source| source.addr().is_ipv4() == v4).copied().collect();
        let source = if sources.is_empty() || random.one_in(2) { None } else { Some(*random.pick(&sources)) };
        let interface = if self.interfaces.is_empty() || random.one_in(2) {
            None
        } else {
            Some(random.pick(&self.interfaces).clone())
        };
        let outcome = match random.below(8) {
            0 => Outcome::Pass,
            1 => Outcome::Refuse,
            _ => Outcome::Steer {
                label: format!("l{}", random.below(self.labels)).parse().unwrap(),
                when_empty: if random.one_in(3) { WhenEmpty::Pass } else { WhenEmpty::Refuse },
            },
        };
        let protocol = if random.one_in(2) { Protocol::Tcp } else { Protocol::Udp };
        Binding { protocol, destination, ports: *random.pick(&self.ports), source, interface, outcome }
    }

    /// A packet at the edge of a binding.
    pub fn packet(&self, random: &mut Random, policy: &Policy) -> Packet {
        let binding = &random.pick(policy.entries()).binding;
        let v4 = binding.destination.addr().is_ipv4();
        let anyone = if v4 { IpNet::V4(Ipv4Net::default()) } else { IpNet::V6(Ipv6Net::default()) };
        let mut related: Vec<IpNet> =
            self.sources.iter().filter(|source| source.addr().is_ipv4() == v4).copied().collect();
        related.extend(binding.source);
        related.push(anyone);
        let source = match binding.source {
            Some(source) if !random.one_in(4) => source,
            _ => *random.pick(&related),
        };
        let interface = match &binding.interface {
            Some(interface) if !random.one_in(3) => Some(interface.clone()),
            _ if self.interfaces.is_empty() || random.one_in(3) => None,
            _ => Some(random.pick(&self.interfaces).clone()),
        };
        let protocol = if random.one_in(16) { other(binding.protocol) } else { binding.protocol };
        Packet {
            protocol,
            source: SocketAddr::new(random.near(source), random.next() as u16),
            destination: SocketAddr::new(random.near(binding.destination), random.port_near(binding.ports)),
            interface,
        }
    }
}

fn other(protocol: Protocol) -> Protocol {
    match protocol {
        Protocol::Tcp => Protocol::Udp,
        Protocol::Udp => Protocol::Tcp,
    }
}
