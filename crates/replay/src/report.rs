//! What came of a replay.

use std::collections::BTreeMap;

use sklookup_policy::Packet;

use crate::capture::{Damage, Format};
use crate::judge::Decided;

/// What came of a replay. Every packet of the capture is in one row, or in one count of those set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Which kind of file it was.
    pub format: Format,
    /// Packets by the number of their link layer.
    pub links: BTreeMap<u16, u64>,
    /// All packets that could be read.
    pub packets: u64,
    /// How many of them were kept in part.
    pub cut: u64,
    /// What of the file could not be read.
    pub damage: Damage,
    /// What was decided, in the order in which it first was.
    pub rows: Vec<Row>,
    /// Packets about which nothing was decided.
    pub aside: BTreeMap<Aside, u64>,
    /// TCP connections whose opening is not in the capture: the flows of [`Aside::NoOpening`].
    pub unopened: u64,
    /// What part of the rows is UDP: what the peer of a connected socket sends is among it, and never reaches the hook.
    pub udp: Traffic,
    /// What part of that answers datagrams that this host sent first.
    pub answers: Traffic,
    /// How it was known which way packets went.
    pub direction: Direction,
    /// Flows that were forgotten to bound the memory.
    pub forgotten: u64,
}

/// Traffic about which the same was decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// What the policy decides.
    pub by: Decided,
    /// What the other policy decides; `None` where there is none.
    pub against: Option<Decided>,
    /// How much it is.
    pub traffic: Traffic,
    /// The first packet of it.
    pub example: Packet,
}

/// An amount of traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// TCP connections, and pairs of addresses and ports that exchange datagrams.
    pub flows: u64,
    /// IP packets towards the host.
    pub packets: u64,
    /// Their bytes, from the IP header on, as long as they were on the wire.
    pub bytes: u64,
}

/// Why nothing was decided about a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Aside {
    /// Sent by the host.
    FromHost,
    /// TCP of connections that the host opened.
    HostOpened,
    /// TCP of connections whose opening is not in the capture.
    NoOpening,
    /// Which way it went is not known.
    NoDirection,
    /// To another host.
    ToOthers,
    /// Broadcast or multicast: no socket is looked up for those, every socket that wants them gets a copy.
    ToMany,
    /// A later fragment of a datagram whose first one was not seen before it.
    LoneFragment,
    /// IP with another protocol than TCP and UDP.
    OtherProtocol,
    /// Not IP.
    NotIp,
    /// Headers that are broken, or end before all that must be known of them.
    Headers,
    /// Of a link layer that is not read.
    Link,
}

/// How it was known which way packets went, counted in packets; only of those where it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Direction {
    /// By the prefixes that were said to be local.
    pub local: u64,
    /// By what the capture says of the packet.
    pub capture: u64,
    /// By the packet that opened the connection: towards where it goes.
    pub opening: u64,
}

impl Report {
    /// Of a capture of which nothing was read yet.
    pub(crate) fn new(format: Format) -> Report {
        Report {
            format,
            links: BTreeMap::new(),
            packets: 0,
            cut: 0,
            damage: Damage::default(),
            rows: Vec::new(),
            aside: BTreeMap::new(),
            unopened: 0,
            udp: Traffic::default(),
            answers: Traffic::default(),
            direction: Direction::default(),
            forgotten: 0,
        }
    }
}

impl Traffic {
    /// Adds some more.
    pub fn add(&mut self, more: Traffic) {
        self.flows = self.flows.saturating_add(more.flows);
        self.packets = self.packets.saturating_add(more.packets);
        self.bytes = self.bytes.saturating_add(more.bytes);
    }
}

impl Aside {
    /// All reasons.
    pub const ALL: [Aside; 11] = [
        Aside::FromHost,
        Aside::HostOpened,
        Aside::NoOpening,
        Aside::NoDirection,
        Aside::ToOthers,
        Aside::ToMany,
        Aside::LoneFragment,
        Aside::OtherProtocol,
        Aside::NotIp,
        Aside::Headers,
        Aside::Link,
    ];
}
