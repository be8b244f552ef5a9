//! What every port of an address does.

use std::collections::hash_map::Entry as Slot;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;

use ipnet::IpNet;
use sklookup_compiler::Family;
use sklookup_kernel::sock_diag::Entry as Socket;
use sklookup_kernel::{Netns, interface};
use sklookup_policy::{Label, Outcome, Policy, PortRange, PortSpan, ToAddress, WhenEmpty, by_port};
use sklookup_steering::{Record, Slots, State};

use crate::around::Around;
use crate::arrival::{self, Astray};
use crate::census::describe;
use crate::error::Error;
use crate::receivers::Receivers;
use crate::steered::Steered;

/// What every port of an address does, by our account.
#[derive(Clone, Debug)]
pub struct PortMap {
    /// Which packets.
    pub asked: ToAddress,
    /// Why none of them is looked up; then there are no spans.
    pub astray: Option<Astray>,
    /// From port 0 to port 65535, each as long as it can be.
    pub spans: Vec<Span>,
    /// What is known beside: where what is applied could not be read, spans have the regular lookup alone.
    pub around: Around,
}

/// Neighbouring ports that do the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The ports.
    pub ports: PortRange,
    /// What becomes of packets from the source and on the interface of a binding, by its index in the policy; the first that
    /// matches decides.
    pub some: Vec<(usize, Gets)>,
    /// The binding for all others, if there is one.
    pub rest: Option<usize>,
    /// What becomes of them.
    pub rest_gets: Gets,
}

/// Who gets packets. Sockets are named by their cookies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gets {
    /// The socket that is selected; of several in one place one, by hash.
    Socket(Vec<u64>),
    /// Nobody: the binding refuses.
    Refused,
    /// Nobody: no socket of the label can be selected, and the binding refuses then.
    Empty,
    /// Whom the regular lookup finds.
    Regular(Vec<Found>),
}

/// What the regular lookup finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// For packets on the interface of this index; `None`: on all others.
    pub interface: Option<u32>,
    /// Among these it chooses, by score, order and hash; empty: it finds nobody.
    pub matching: Vec<u64>,
}

/// Says what every port of an address does. Connections aside: their packets belong to them. `state` is where ours would
/// be, if it can be looked at.
///
/// # Errors
/// An interface that is not there; the namespace could not be entered, or its sockets and routes could not be asked about;
/// [`Error::NoAccount`].
pub fn ports(netns: &Netns, state: Option<&State>, asked: &ToAddress) -> Result<PortMap, Error> {
    let look = || -> Result<_, Error> {
        let all = interface::list()?;
        let named = asked.interface.as_ref().map(|name| arrival::by_name(&all, name, netns)).transpose()?;
        let named = named.map(|interface| interface.index);
        let astray = arrival::destination_of(asked.protocol, asked.destination)?.err();
        let names: BTreeMap<u32, String> = all.into_iter().map(|interface| (interface.index, interface.name)).collect();
        Ok((named, astray, names))
    };
    let (interface, astray, names) = netns.run(look)??;
    let Steered { applied, hook } = Steered::look(netns, state, |record| {
        let (policy, asked) = as_applied(record, asked, interface);
        let spans = by_port(&policy, &asked);
        let named = spans.iter().flat_map(|span| span.some.iter().chain(&span.rest));
        let labels: BTreeSet<&Label> = named.filter_map(|&index| policy.entries()[index].binding.label()).collect();
        labels.into_iter().cloned().collect()
    });
    let receivers = netns.run(Receivers::take)??;
    let readable = applied.is_ok();
    let (policy, spans, registered) = match applied {
        Ok(Some((generation, registered))) => {
            let (policy, asked) = as_applied(&generation.record, asked, interface);
            let spans = by_port(&policy, &asked);
            (policy, spans, registered)
        }
        Ok(None) | Err(_) => (Policy::default(), by_port(&Policy::default(), asked), Vec::new()),
    };
    let spans = match astray {
        Some(_) => Vec::new(),
        None => {
            Judge { asked, interface, receivers: &receivers, policy: &policy, registered: &registered }.spans(spans)?
        }
    };
    let mut unseen = hook.unseen;
    let named: BTreeSet<u64> = spans.iter().flat_map(Span::sockets).collect();
    let named: Vec<Socket> = named.into_iter().filter_map(|cookie| receivers.socket(cookie).cloned()).collect();
    let sockets = describe(named, &mut unseen);
    let around = Around { policy, readable, sockets, interfaces: names, programs: hook.programs, unseen };
    Ok(PortMap { asked: asked.clone(), astray, spans, around })
}

/// Those bindings of a generation that can match what comes in on an interface, and the question with the interface as
/// they call it: they mean the one that had its name when they were applied.
fn as_applied(record: &Record, asked: &ToAddress, interface: Option<u32>) -> (Policy, ToAddress) {
    let Some(interface) = interface else { return (record.policy.clone(), asked.clone()) };
    let name = record.interfaces.iter().find(|(_, index)| **index == interface).map(|(name, _)| name.clone());
    let policy = record.policy.filtered(|entry| entry.binding.interface.is_none() || entry.binding.interface == name);
    // One that nobody names is as good as any other that nobody names.
    (policy, ToAddress { interface: name.or_else(|| asked.interface.clone()), ..asked.clone() })
}

impl Span {
    fn gets(&self) -> impl Iterator<Item = &Gets> {
        self.some.iter().map(|(_, gets)| gets).chain([&self.rest_gets])
    }

    fn sockets(&self) -> impl Iterator<Item = u64> {
        self.gets().flat_map(Gets::sockets)
    }

    /// Whether a socket gets any of it.
    pub fn reaches(&self) -> bool {
        self.sockets().next().is_some()
    }
}

impl Gets {
    fn sockets(&self) -> impl Iterator<Item = u64> {
        let (one, many) = match self {
            Gets::Socket(cookies) => (&cookies[..], &[][..]),
            Gets::Regular(found) => (&[][..], &found[..]),
            Gets::Refused | Gets::Empty => (&[][..], &[][..]),
        };
        one.iter().copied().chain(many.iter().flat_map(|found| found.matching.iter().copied()))
    }
}

/// What is needed to say who gets what is decided.
struct Judge<'a> {
    asked: &'a ToAddress,
    interface: Option<u32>,
    receivers: &'a Receivers,
    policy: &'a Policy,
    registered: &'a [Slots],
}

impl Judge<'_> {
    /// The spans of the policy, cut at the ports of sockets where the regular lookup has a say.
    fn spans(&self, decided: Vec<PortSpan>) -> Result<Vec<Span>, Error> {
        let taken: Vec<u16> = self.receivers.ports(self.asked.protocol).into_iter().collect();
        let mut labels: HashMap<&Label, Vec<u64>> = HashMap::new();
        let mut spans: Vec<Span> = Vec::new();
        for PortSpan { ports: PortRange { first, last }, some, rest } in decided {
            let from = taken.partition_point(|port| *port < first);
            let to = taken.partition_point(|port| *port <= last);
            let mut next = u32::from(first);
            let mut add = |first: u32, last: u32| -> Result<(), Error> {
                if first <= last {
                    let ports = PortRange {
                        first: u16::try_from(first).expect("a port"),
                        last: u16::try_from(last).expect("a port"),
                    };
                    self.add(&mut spans, ports, &some, rest, &mut labels)?;
                }
                Ok(())
            };
            for &port in &taken[from..to] {
                let port = u32::from(port);
                if next < port {
                    add(next, port - 1)?;
                }
                add(port, port)?;
                next = port + 1;
            }
            add(next, u32::from(last))?;
        }
        Ok(spans)
    }

    /// Adds a span, or makes the last one longer if it does the same.
    fn add<'a>(
        &'a self,
        spans: &mut Vec<Span>,
        ports: PortRange,
        some: &[usize],
        rest: Option<usize>,
        labels: &mut HashMap<&'a Label, Vec<u64>>,
    ) -> Result<(), Error> {
        let mut regular = None;
        let mut gets = |index: Option<usize>| self.gets(index, ports.first, labels, &mut regular);
        let some = some.iter().map(|&index| Ok((index, gets(Some(index))?))).collect::<Result<Vec<_>, Error>>()?;
        let rest_gets = gets(rest)?;
        match spans.last_mut() {
            Some(span) if span.some == some && span.rest == rest && span.rest_gets == rest_gets => {
                span.ports.last = ports.last;
            }
            _ => spans.push(Span { ports, some, rest, rest_gets }),
        }
        Ok(())
    }

    /// Who gets what a binding decides about, or none does, on a port.
    fn gets<'a>(
        &'a self,
        index: Option<usize>,
        port: u16,
        labels: &mut HashMap<&'a Label, Vec<u64>>,
        regular: &mut Option<Gets>,
    ) -> Result<Gets, Error> {
        match index.map(|index| &self.policy.entries()[index].binding.outcome) {
            Some(Outcome::Refuse) => return Ok(Gets::Refused),
            Some(Outcome::Steer { label, when_empty }) => {
                let selected = match labels.entry(label) {
                    Slot::Occupied(known) => known.into_mut(),
                    Slot::Vacant(unknown) => {
                        let family = Family::from(&IpNet::from(self.asked.destination));
                        let selected = self.receivers.selected(self.asked.protocol, family, label, self.registered)?;
                        unknown.insert(selected)
                    }
                };
                if !selected.is_empty() {
                    return Ok(Gets::Socket(selected.clone()));
                }
                if *when_empty == WhenEmpty::Refuse {
                    return Ok(Gets::Empty);
                }
            }
            Some(Outcome::Pass) | None => {}
        }
        Ok(match regular {
            Some(known) => known.clone(),
            None => regular.insert(Gets::Regular(self.regular(port)?)).clone(),
        })
    }

    /// Whom the regular lookup finds on a port, on each interface that makes a difference.
    fn regular(&self, port: u16) -> Result<Vec<Found>, Error> {
        let to = SocketAddr::new(self.asked.destination, port);
        let protocol = self.asked.protocol;
        if let Some(interface) = self.interface {
            let matching = self.receivers.regular(protocol, to, interface)?;
            return Ok(vec![Found { interface: None, matching }]);
        }
        let elsewhere = self.receivers.regular(protocol, to, 0)?;
        let mut found = Vec::new();
        for device in self.receivers.devices(protocol, port) {
            let matching = self.receivers.regular(protocol, to, device)?;
            if matching != elsewhere {
                found.push(Found { interface: Some(device), matching });
            }
        }
        found.push(Found { interface: None, matching: elsewhere });
        Ok(found)
    }
}
