//! Who sends to a label or a socket.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;
use sklookup_compiler::Family;
use sklookup_kernel::sock_diag::Entry as Socket;
use sklookup_kernel::{Netns, interface};
use sklookup_policy::{
    Deciders, Interface, Label, Outcome, Policy, PortRange, Ports, Protocol, Traffic, WhenEmpty, deciding,
};
use sklookup_steering::status::{Attached, Unseen};
use sklookup_steering::{Error as SteeringError, Generation, Record, Slots, State, find};

use crate::around::Around;
use crate::census::{describe, same_place};
use crate::error::Error;
use crate::receivers::Receivers;
use crate::steered::Steered;

/// What a binding has of what it matches. Indices count the entries of its policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// The binding.
    pub binding: usize,
    /// It decides about some packets.
    pub decides: bool,
    /// The bindings that take some of its packets elsewhere.
    pub taken_by: Vec<usize>,
}

impl Share {
    /// The share of one binding.
    pub fn of(policy: &Policy, binding: usize) -> Share {
        let entries = policy.entries();
        let deciders = deciding(policy, &Traffic::from(&entries[binding].binding)).bindings;
        let label = entries[binding].binding.label();
        let elsewhere = |other: &usize| label.is_none() || entries[*other].binding.label() != label;
        Share {
            binding,
            decides: deciders.contains(&binding),
            taken_by: deciders.into_iter().filter(|other| *other != binding).filter(elsewhere).collect(),
        }
    }
}

/// Who sends to a label.
#[derive(Clone, Debug)]
pub struct ToLabel {
    /// The label.
    pub label: Label,
    /// Its bindings, in the order of the policy.
    pub bindings: Vec<usize>,
    /// Who gets what they steer; only what is steered is named.
    pub serving: Vec<Serving>,
    /// What is known beside.
    pub around: Around,
}

/// Who gets what a label is sent, of one protocol and family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Serving {
    /// The protocol.
    pub protocol: Protocol,
    /// The family.
    pub family: Family,
    /// The socket; of several in one place one, by hash. Empty: none can be selected.
    pub selected: Vec<u64>,
    /// Sockets of the label that wait until those before them have closed, or that can't be selected.
    pub waiting: Vec<u64>,
}

/// Who sends to sockets.
#[derive(Clone, Debug)]
pub struct ToSockets {
    /// The sockets.
    pub sockets: Vec<ToSocket>,
    /// What is known beside.
    pub around: Around,
}

/// Who sends to a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToSocket {
    /// Its cookie.
    pub cookie: u64,
    /// By which labels.
    pub labels: Vec<ByLabel>,
    /// What its own bind gets, for each family that it takes.
    pub binds: Vec<OwnBind>,
}

/// What a label sends to a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ByLabel {
    /// The label.
    pub label: Label,
    /// Family of the packets.
    pub family: Family,
    /// Among whom the hash chooses; without the socket itself it only waits.
    pub selected: Vec<u64>,
    /// The label's bindings of this protocol and family.
    pub bindings: Vec<usize>,
}

/// What a socket gets by the regular lookup, for what it is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnBind {
    /// The destinations that its bind covers: one address, or all of a family.
    pub destination: IpNet,
    /// Where it is not found alone; what is not said of an interface holds on all, and of an address for all.
    pub rivals: Vec<Rival>,
    /// Bindings that divert a part to elsewhere.
    pub diverted_by: Vec<usize>,
    /// Whether anything is left.
    pub gets: bool,
}

/// Who is found on the port of a socket where that is not the socket alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rival {
    /// For packets to this address; `None`: to all others.
    pub to: Option<IpAddr>,
    /// On this interface; `None`: on all others.
    pub interface: Option<u32>,
    /// Among these the regular lookup chooses, by score, order and hash; the socket itself may be one of them.
    pub matching: Vec<u64>,
}

/// Says who sends to a label.
///
/// # Errors
/// [`SteeringError::NoLabel`], [`SteeringError::NotLoaded`]; the namespace could not be entered, its sockets could not be
/// asked about, or what is applied could not be read; [`Error::NoAccount`].
pub fn to_label(netns: &Netns, state: Option<&State>, label: &Label) -> Result<ToLabel, Error> {
    let not_loaded = || SteeringError::NotLoaded { netns: netns.describe().to_owned() };
    let state = state.ok_or_else(not_loaded)?;
    let scene = Scene::look(netns, Some(state), |_| vec![label.clone()])?;
    if !scene.readable {
        // Nothing can be said without it; the reason is an error of its own.
        state.generation()?;
    }
    if !scene.applied {
        return Err(not_loaded().into());
    }
    if !scene.labels.contains(label) {
        return Err(SteeringError::NoLabel { label: label.clone() }.into());
    }
    let entries = scene.policy.entries();
    let bindings: Vec<usize> =
        (0..entries.len()).filter(|&index| entries[index].binding.label() == Some(label)).collect();
    let served: BTreeSet<(Protocol, Family)> = bindings
        .iter()
        .map(|&index| (entries[index].binding.protocol, Family::from(&entries[index].binding.destination)))
        .collect();
    let mut serving = Vec::new();
    for (protocol, family) in served {
        let selected = scene.selected(protocol, family, label)?;
        let slots = scene.registered.iter().filter(|(of, _)| of == label).flat_map(|(_, slots)| slots);
        let meant = slots.filter(|slot| (slot.protocol, slot.family) == (protocol, family)).map(|slot| slot.cookie);
        let waiting = meant.filter(|cookie| !selected.contains(cookie)).collect();
        serving.push(Serving { protocol, family, selected, waiting });
    }
    let named = serving.iter().flat_map(|serving| serving.selected.iter().chain(&serving.waiting)).copied().collect();
    Ok(ToLabel { label: label.clone(), bindings, serving, around: scene.around(&named) })
}

/// Says who sends to those receiving sockets of a namespace that are meant.
///
/// # Errors
/// The namespace could not be entered, or its sockets could not be asked about; [`Error::NoAccount`].
pub fn to_sockets(
    netns: &Netns,
    state: Option<&State>,
    is_meant: impl Fn(&Socket) -> bool,
) -> Result<ToSockets, Error> {
    let scene = Scene::look(netns, state, |record| record.labels.iter().cloned().collect())?;
    let meant: Vec<&Socket> = scene.receivers.iter().filter(|entry| is_meant(entry)).collect();
    let sockets = meant.iter().map(|entry| scene.to_socket(entry)).collect::<Result<Vec<_>, Error>>()?;
    let mut named = BTreeSet::new();
    for socket in &sockets {
        named.insert(socket.cookie);
        named.extend(socket.labels.iter().flat_map(|by| &by.selected));
        named.extend(socket.binds.iter().flat_map(|bind| &bind.rivals).flat_map(|rival| &rival.matching));
    }
    Ok(ToSockets { sockets, around: scene.around(&named) })
}

/// Everything there is.
struct Scene {
    receivers: Receivers,
    policy: Policy,
    /// What the names of interfaces mean in the policy.
    meant: BTreeMap<Interface, u32>,
    labels: BTreeSet<Label>,
    registered: Vec<Slots>,
    applied: bool,
    readable: bool,
    interfaces: BTreeMap<u32, String>,
    programs: Option<Vec<Attached>>,
    unseen: Vec<Unseen>,
}

impl Scene {
    fn look(netns: &Netns, state: Option<&State>, labels: impl Fn(&Record) -> Vec<Label>) -> Result<Scene, Error> {
        let Steered { applied, hook } = Steered::look(netns, state, labels);
        let look = || -> Result<_, Error> { Ok((Receivers::take()?, interface::list()?)) };
        let (receivers, interfaces) = netns.run(look)??;
        let readable = applied.is_ok();
        let applied = applied.ok().flatten();
        let is_applied = applied.is_some();
        let (policy, meant, labels, registered) = match applied {
            Some((Generation { record, .. }, registered)) => {
                (record.policy, record.interfaces, record.labels, registered)
            }
            None => Default::default(),
        };
        Ok(Scene {
            receivers,
            policy,
            meant,
            labels,
            registered,
            applied: is_applied,
            readable,
            interfaces: interfaces.into_iter().map(|interface| (interface.index, interface.name)).collect(),
            programs: hook.programs,
            unseen: hook.unseen,
        })
    }

    fn around(self, named: &BTreeSet<u64>) -> Around {
        let mut unseen = self.unseen;
        let named = named.iter().filter_map(|&cookie| self.receivers.socket(cookie).cloned()).collect();
        let sockets = describe(named, &mut unseen);
        let Scene { policy, readable, interfaces, programs, .. } = self;
        Around { policy, readable, sockets, interfaces, programs, unseen }
    }

    fn selected(&self, protocol: Protocol, family: Family, label: &Label) -> Result<Vec<u64>, Error> {
        self.receivers.selected(protocol, family, label, &self.registered)
    }

    fn to_socket(&self, socket: &Socket) -> Result<ToSocket, Error> {
        let labels = self.labels_of(socket)?;
        let binds = covered(socket).into_iter().map(|destination| self.own_bind(socket, destination, &labels));
        let binds = binds.collect::<Result<_, Error>>()?;
        Ok(ToSocket { cookie: socket.cookie, labels, binds })
    }

    /// The labels under which a socket is, or another of its place.
    fn labels_of(&self, socket: &Socket) -> Result<Vec<ByLabel>, Error> {
        let protocol = find::protocol(socket.protocol);
        let is_of_its_place = |cookie| self.receivers.socket(cookie).is_some_and(|other| same_place(socket, other));
        let mut found = Vec::new();
        for (label, slots) in &self.registered {
            let slots = slots.iter().filter(|slot| slot.protocol == protocol && is_of_its_place(slot.cookie));
            let families: BTreeSet<Family> = slots.map(|slot| slot.family).collect();
            for family in families {
                let selected = self.selected(protocol, family, label)?;
                let is_meant = |index: &usize| {
                    let binding = &self.policy.entries()[*index].binding;
                    binding.label() == Some(label)
                        && binding.protocol == protocol
                        && Family::from(&binding.destination) == family
                };
                let bindings = (0..self.policy.len()).filter(is_meant).collect();
                found.push(ByLabel { label: label.clone(), family, selected, bindings });
            }
        }
        Ok(found)
    }

    /// What a socket gets of what goes to one of the destinations that its bind covers.
    fn own_bind(&self, socket: &Socket, destination: IpNet, labels: &[ByLabel]) -> Result<OwnBind, Error> {
        let (protocol, port) = (find::protocol(socket.protocol), socket.local.port());
        let (rivals, is_found) = self.rivals(socket, destination)?;
        // A binding that names an interface means that of its index.
        let interface = self.meant.iter().find(|(_, index)| **index == socket.interface).map(|(name, _)| name.clone());
        let traffic = Traffic {
            protocol,
            destination,
            ports: Ports::Range(PortRange::single(port)),
            source: None,
            interface: interface.clone(),
        };
        // Bound to one that no binding names it gets nothing that those with one match.
        let policy = match (socket.interface, &interface) {
            (0, _) | (_, Some(_)) => self.policy.clone(),
            (_, None) => self.policy.filtered(|entry| entry.binding.interface.is_none()),
        };
        let Deciders { bindings, regular } = deciding(&policy, &traffic);
        let mut gets = is_found && regular;
        let mut diverted_by = Vec::new();
        let family = Family::from(&destination);
        for index in bindings {
            let entry = &policy.entries()[index];
            let passes = match &entry.binding.outcome {
                Outcome::Pass => true,
                Outcome::Refuse => false,
                Outcome::Steer { label, when_empty } => {
                    let own = labels.iter().find(|by| (&by.label, by.family) == (label, family));
                    if own.is_some_and(|own| own.selected.contains(&socket.cookie)) {
                        continue;
                    }
                    let is_empty = || self.selected(protocol, family, label).map(|selected| selected.is_empty());
                    *when_empty == WhenEmpty::Pass && is_empty()?
                }
            };
            if passes {
                gets |= is_found;
            } else {
                let place = self.policy.entries().binary_search_by(|other| other.binding.cmp(&entry.binding));
                diverted_by.push(place.expect("a part of the policy is in it"));
            }
        }
        Ok(OwnBind { destination, rivals, diverted_by, gets })
    }

    /// Where others are found too, or instead; and whether the socket itself is found anywhere.
    fn rivals(&self, socket: &Socket, destination: IpNet) -> Result<(Vec<Rival>, bool), Error> {
        let (protocol, port) = (find::protocol(socket.protocol), socket.local.port());
        let others = self.receivers.at(protocol, port);
        let is_one = destination.prefix_len() == destination.max_prefix_len();
        let mut addresses: Vec<Option<IpAddr>> = Vec::new();
        if !is_one {
            let bound = others.iter().map(|other| other.local.ip().to_canonical());
            let bound = bound.filter(|ip| !ip.is_unspecified() && destination.contains(ip));
            addresses.extend(bound.collect::<BTreeSet<_>>().into_iter().map(Some));
        }
        let elsewhere = match is_one {
            true => destination.addr(),
            false => free_address(destination, &addresses),
        };
        // On all other interfaces first: what is no different on one of these is not said again.
        let devices: Vec<u32> = match socket.interface {
            0 => [0].into_iter().chain(self.receivers.devices(protocol, port)).collect(),
            device => vec![device],
        };
        let mut rivals = Vec::new();
        let mut is_found = false;
        let mut of_all_others: Vec<Vec<u64>> = Vec::new();
        for to in [None].into_iter().chain(addresses) {
            let packet = SocketAddr::new(to.unwrap_or(elsewhere), port);
            let found = devices.iter().map(|&device| self.receivers.regular(protocol, packet, device));
            let found = found.collect::<Result<Vec<_>, Error>>()?;
            is_found |= found.iter().any(|matching| matching.contains(&socket.cookie));
            let is_usual = match to {
                None => found[0] == [socket.cookie],
                Some(_) if found == of_all_others => continue,
                Some(_) => false,
            };
            for (place, matching) in found.iter().enumerate() {
                let is_said = if place == 0 { is_usual } else { *matching == found[0] };
                if !is_said {
                    let interface = (place > 0).then_some(devices[place]);
                    rivals.push(Rival { to, interface, matching: matching.clone() });
                }
            }
            if to.is_none() {
                of_all_others = found;
            }
        }
        Ok((rivals, is_found))
    }
}

/// The destinations that the bind of a socket covers.
fn covered(socket: &Socket) -> Vec<IpNet> {
    let all_v4 = || IpNet::new_assert(Ipv4Addr::UNSPECIFIED.into(), 0);
    match socket.local.ip().to_canonical() {
        IpAddr::V4(address) if address.is_unspecified() => vec![all_v4()],
        IpAddr::V6(address) if address.is_unspecified() => {
            let all_v6 = IpNet::new_assert(address.into(), 0);
            if socket.v6only { vec![all_v6] } else { vec![all_v4(), all_v6] }
        }
        address => vec![IpNet::from(address)],
    }
}

/// An address that is none of these, to stand for all others of its family.
fn free_address(all: IpNet, taken: &[Option<IpAddr>]) -> IpAddr {
    let candidate = |number: u32| -> IpAddr {
        match all {
            IpNet::V4(_) => Ipv4Addr::from_bits(0x0a00_0000 | number).into(),
            IpNet::V6(_) => Ipv6Addr::from_bits(0xfd00 << 112 | u128::from(number)).into(),
        }
    };
    (1..).map(candidate).find(|ip| !taken.contains(&Some(*ip))).expect("fewer sockets than addresses are on a port")
}
