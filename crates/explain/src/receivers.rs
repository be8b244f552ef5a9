//! What receives in a namespace, and whom labels and the regular lookup choose among it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;
use sklookup_compiler::Family;
use sklookup_kernel::sock_diag::{Entry, SockDiag, State};
use sklookup_policy::{Binding, Entry as Line, Label, Origin, Outcome, Packet, Policy, Ports, Protocol, WhenEmpty};
use sklookup_steering::Slots;
use sklookup_steering::find::protocol;

use crate::account::{Account, is_connected};
use crate::census::Census;
use crate::error::Error;
use crate::replica::Steering;

/// The sockets that take packets from anyone.
#[derive(Default)]
pub(crate) struct Receivers {
    /// All that can be under a label, those with a peer too.
    all: Census,
    /// By protocol and port, in the order in which the kernel lists them.
    at: HashMap<(Protocol, u16), Census>,
}

impl Receivers {
    /// Looks at those of the namespace of this thread.
    pub(crate) fn take() -> sklookup_kernel::Result<Receivers> {
        let mut diag = SockDiag::open()?;
        let mut sockets = diag.dump(sklookup_kernel::Protocol::Tcp, &[State::Listening])?;
        sockets.extend(diag.dump(sklookup_kernel::Protocol::Udp, &[State::Connected, State::Unconnected])?);
        let mut at: HashMap<(Protocol, u16), Census> = HashMap::new();
        for entry in sockets.iter().filter(|entry| !is_connected(entry)) {
            at.entry((protocol(entry.protocol), entry.local.port())).or_default().sockets.push(entry.clone());
        }
        Ok(Receivers { all: Census { sockets }, at })
    }

    /// Every one of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.all.sockets.iter().filter(|entry| !is_connected(entry))
    }

    /// The socket of this cookie.
    pub(crate) fn socket(&self, cookie: u64) -> Option<&Entry> {
        self.all.socket(cookie)
    }

    /// Those of a protocol on a port.
    pub(crate) fn at(&self, protocol: Protocol, port: u16) -> &[Entry] {
        self.at.get(&(protocol, port)).map_or(&[], |census| &census.sockets)
    }

    /// The ports on which any of a protocol is, ascending.
    pub(crate) fn ports(&self, protocol: Protocol) -> BTreeSet<u16> {
        self.at.keys().filter(|(of, _)| *of == protocol).map(|(_, port)| *port).collect()
    }

    /// The interfaces that those on a port are bound to.
    pub(crate) fn devices(&self, protocol: Protocol, port: u16) -> BTreeSet<u32> {
        self.at(protocol, port).iter().map(|entry| entry.interface).filter(|index| *index != 0).collect()
    }

    /// Whom the regular lookup chooses among for packets that come in over an interface; 0 is one to which none is bound.
    ///
    /// # Errors
    /// [`Error::NoAccount`].
    pub(crate) fn regular(&self, of: Protocol, to: SocketAddr, interface: u32) -> Result<Vec<u64>, Error> {
        let Some(census) = self.at.get(&(of, to.port())) else { return Ok(Vec::new()) };
        let account = Account::give(census, None, &anyones(of, to), interface).map_err(Error::NoAccount)?;
        Ok(account.regular.matching)
    }

    /// The group of which one gets what is steered to a label; empty: none can be selected.
    ///
    /// # Errors
    /// [`Error::NoAccount`].
    pub(crate) fn selected(
        &self,
        of: Protocol,
        family: Family,
        label: &Label,
        registered: &[Slots],
    ) -> Result<Vec<u64>, Error> {
        let destination = match family {
            Family::V4 => IpAddr::V4(Ipv4Addr::LOCALHOST),
            Family::V6 => IpAddr::V6(Ipv6Addr::LOCALHOST),
        };
        let binding = Binding {
            protocol: of,
            destination: IpNet::from(destination),
            ports: Ports::Every,
            source: None,
            interface: None,
            outcome: Outcome::Steer { label: label.clone(), when_empty: WhenEmpty::Refuse },
        };
        let line = Line { binding, origin: Origin::Command("".into()), owner: None };
        let policy = Policy::new(vec![line]).expect("one binding is in conflict with none");
        let steering = Steering { policy: &policy, interfaces: &BTreeMap::new(), registered };
        // No socket is on port 0, so the label alone has a say.
        let packet = anyones(of, SocketAddr::new(destination, 0));
        let account = Account::give(&self.all, Some(&steering), &packet, 0).map_err(Error::NoAccount)?;
        Ok(account.expected)
    }
}

/// A packet from somebody with whom nobody is connected.
fn anyones(protocol: Protocol, destination: SocketAddr) -> Packet {
    let nobody = match destination {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    Packet { protocol, source: SocketAddr::new(nobody, 0), destination, interface: None }
}
