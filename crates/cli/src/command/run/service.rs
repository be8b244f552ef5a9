//! Which of a server's sockets is meant, at first and when it has opened others.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use sklookup_compiler::Family;
use sklookup_compiler::label_map::MEMBERS;
use sklookup_policy::Protocol;

use crate::command::run::asked::Kind;

/// A socket that could be meant, seen from outside: nobody holds it but its server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seen {
    /// Its protocol.
    pub protocol: Protocol,
    /// Its local address.
    pub local: SocketAddr,
    /// Its cookie.
    pub cookie: u64,
    /// The packets it could get.
    pub kinds: Vec<Kind>,
    /// Who has it.
    pub pid: u32,
}

/// The sockets of one service: for each kind of packets those bound to one address, which make a group if they are
/// several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    serving: BTreeMap<Kind, Group>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Group {
    local: SocketAddr,
    cookies: BTreeSet<u64>,
}

impl Group {
    /// Those that get a slot: always the same ones of the same sockets.
    fn placed(&self) -> impl Iterator<Item = u64> {
        self.cookies.iter().copied().take(MEMBERS as usize)
    }
}

/// What there is to choose from, where only the user can choose.
pub type Several = BTreeSet<(Protocol, SocketAddr)>;

impl Service {
    /// Chooses among what was seen, given what was chosen before.
    ///
    /// Of a kind that is served already, the group at that address goes on serving, with whoever joined it, whatever else
    /// has been opened; if it has closed, a new one at the same address takes over, or else the only one there is.
    pub fn choose(seen: &[Seen], before: &Service) -> (Service, Several) {
        let mut groups: BTreeMap<Kind, BTreeMap<SocketAddr, BTreeSet<u64>>> = BTreeMap::new();
        for socket in seen {
            for &kind in &socket.kinds {
                groups.entry(kind).or_default().entry(socket.local).or_default().insert(socket.cookie);
            }
        }
        let mut service = Service::default();
        let mut several = Several::new();
        for (kind, mut at) in groups {
            let known = before.serving.get(&kind).map(|group| group.local).filter(|local| at.contains_key(local));
            match known.or_else(|| (at.len() == 1).then(|| *at.keys().next().expect("there is one"))) {
                Some(local) => {
                    let cookies = at.remove(&local).expect("chosen from its keys");
                    service.serving.insert(kind, Group { local, cookies });
                }
                None => several.extend(at.into_keys().map(|local| (kind.0, local))),
            }
        }
        (service, several)
    }

    /// Whether it serves nothing.
    pub fn is_empty(&self) -> bool {
        self.serving.is_empty()
    }

    /// The cookies of its sockets, as far as a label has slots for them.
    pub fn cookies(&self) -> BTreeSet<u64> {
        self.serving.values().flat_map(Group::placed).collect()
    }

    /// How many sockets of a group have no slot, at most.
    pub fn left_out(&self) -> usize {
        self.serving.values().map(|group| group.cookies.len() - group.placed().count()).max().unwrap_or(0)
    }

    /// The families of packets that a socket gets here.
    pub fn families(&self, cookie: u64) -> Vec<Family> {
        let of = |(kind, group): (&Kind, &Group)| group.placed().any(|placed| placed == cookie).then_some(kind.1);
        self.serving.iter().filter_map(of).collect()
    }

    /// Whether it serves packets of a kind.
    pub fn serves(&self, kind: &Kind) -> bool {
        self.serving.contains_key(kind)
    }

    /// The same with what `other` serves besides.
    pub fn or(mut self, other: &Service) -> Service {
        for (kind, group) in &other.serving {
            self.serving.entry(*kind).or_insert_with(|| group.clone());
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TCP4: Kind = (Protocol::Tcp, Family::V4);
    const TCP6: Kind = (Protocol::Tcp, Family::V6);

    fn seen(local: &str, cookie: u64, kinds: &[Kind]) -> Seen {
        Seen { protocol: Protocol::Tcp, local: local.parse().unwrap(), cookie, kinds: kinds.to_vec(), pid: 7 }
    }

    fn cookies(seen: &[Seen], before: &Service) -> Vec<u64> {
        Service::choose(seen, before).0.cookies().into_iter().collect()
    }

    #[test]
    fn one_address_is_one_service_whatever_the_number_of_sockets() {
        let group = [seen("127.0.0.1:80", 1, &[TCP4]), seen("127.0.0.1:80", 2, &[TCP4]), seen("[::1]:81", 3, &[TCP6])];
        let (service, several) = Service::choose(&group, &Service::default());
        assert!(several.is_empty());
        assert_eq!(service.cookies(), BTreeSet::from([1, 2, 3]));
        assert_eq!(service.families(2), [Family::V4]);
        assert_eq!(service.families(3), [Family::V6]);
    }

    #[test]
    fn a_group_larger_than_a_label_fills_its_slots_and_no_more() {
        let group: Vec<Seen> = (1..=20).map(|cookie| seen("127.0.0.1:80", cookie, &[TCP4])).collect();
        let (service, _) = Service::choose(&group, &Service::default());
        assert_eq!(service.cookies(), (1..=16).collect());
        assert_eq!(service.left_out(), 4);
        assert_eq!((service.families(16), service.families(17)), (vec![Family::V4], vec![]));
        assert_eq!(cookies(&group[1..], &service), (2..=17).collect::<Vec<_>>(), "the next one gets the slot");
    }

    #[test]
    fn two_addresses_that_could_serve_the_same_packets_are_the_users_choice() {
        let two = [seen("127.0.0.1:80", 1, &[TCP4]), seen("[::]:81", 2, &[TCP4, TCP6])];
        let (service, several) = Service::choose(&two, &Service::default());
        assert_eq!(several.len(), 2);
        assert_eq!(service.families(2), [Family::V6]);
    }

    #[test]
    fn what_serves_goes_on_serving_though_more_is_opened() {
        let first = [seen("127.0.0.1:80", 1, &[TCP4])];
        let (before, _) = Service::choose(&first, &Service::default());
        let more = [first[0].clone(), seen("127.0.0.1:9000", 2, &[TCP4]), seen("127.0.0.1:80", 3, &[TCP4])];
        assert_eq!(cookies(&more, &before), [1, 3]);
    }

    #[test]
    fn a_socket_opened_again_takes_over_at_its_address_or_as_the_only_one() {
        let (before, _) = Service::choose(&[seen("127.0.0.1:80", 1, &[TCP4])], &Service::default());
        let elsewhere = seen("127.0.0.1:8080", 4, &[TCP4]);
        assert_eq!(cookies(&[seen("127.0.0.1:80", 3, &[TCP4]), elsewhere.clone()], &before), [3]);
        assert_eq!(cookies(std::slice::from_ref(&elsewhere), &before), [4]);
        let (none, several) = Service::choose(&[elsewhere, seen("127.0.0.1:81", 5, &[TCP4])], &before);
        assert!(none.is_empty());
        assert_eq!(several.len(), 2);
    }
}
