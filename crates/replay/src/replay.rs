//! From a capture to a report, packet by packet.

use std::io::Read;
use std::net::IpAddr;

use ipnet::IpNet;
use sklookup_policy::{Packet, Policy, Protocol};

use crate::capture::{Capture, OpenError, Record, Way};
use crate::datagram::{Content, Datagram, Segment};
use crate::devices::{Devices, Told};
use crate::flows::{Flow, Flows, Key};
use crate::ip::Fragment;
use crate::judge::Judge;
use crate::link::{NoPacket, unframe};
use crate::recent::Recent;
use crate::report::{Aside, Report, Traffic};

/// How many flows are remembered at most, unless [`Options::flows`] says something else: some 80 MB.
pub const REMEMBERED_FLOWS: usize = 900_000;

/// How many fragmented datagrams are remembered at most.
const REMEMBERED_FRAGMENTS: usize = 16_384;

/// What is asked of a capture.
#[derive(Debug, Clone)]
pub struct Options<'p> {
    /// The policy that decides.
    pub policy: &'p Policy,
    /// Another, whose decisions stand beside its own.
    pub against: Option<&'p Policy>,
    /// The addresses of the host. Empty: the capture has to tell which way packets went.
    pub local: Vec<IpNet>,
    /// What is known of interfaces besides what the capture says.
    pub devices: Devices,
    /// How many flows are remembered at most.
    pub flows: usize,
}

impl<'p> Options<'p> {
    /// One policy, and nothing known besides the capture.
    pub fn new(policy: &'p Policy) -> Options<'p> {
        Options { policy, against: None, local: Vec::new(), devices: Devices::default(), flows: REMEMBERED_FLOWS }
    }
}

/// Reads a capture to its end, or as far as it can be read: [`Report::damage`] tells.
///
/// # Errors
/// It is no capture, or its beginning can't be read.
pub fn replay(input: impl Read, options: &Options<'_>) -> Result<Report, OpenError> {
    let mut capture = Capture::open(input)?;
    let mut replay = Replay {
        options,
        judge: Judge::new(options.policy, options.against),
        flows: Flows::new(options.flows),
        fragments: Recent::new(REMEMBERED_FRAGMENTS),
        report: Report::new(capture.format()),
    };
    while let Some(record) = capture.next() {
        replay.take(&record);
    }
    let Replay { judge, flows, report, .. } = replay;
    Ok(Report { damage: capture.damage().clone(), rows: judge.into_rows(), forgotten: flows.forgotten(), ..report })
}

struct Replay<'o, 'p> {
    options: &'o Options<'p>,
    judge: Judge<'p>,
    flows: Flows,
    /// Where the first fragment of a datagram went: the others go there too.
    fragments: Recent<(IpAddr, IpAddr, Fragment), Place>,
    report: Report,
}

/// Where a packet is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Aside(Aside),
    Row {
        row: u32,
        /// Whether it begins a flow.
        begins: bool,
        /// Whether it is part of [`Report::udp`].
        udp: bool,
        /// Whether it is part of [`Report::answers`].
        answers: bool,
    },
}

impl Replay<'_, '_> {
    fn take(&mut self, record: &Record<'_>) {
        self.report.packets += 1;
        self.report.cut += u64::from(record.bytes.len() < record.original as usize);
        *self.report.links.entry(record.link).or_default() += 1;
        let (place, bytes) = self.place(record);
        match place {
            Place::Aside(why) => *self.report.aside.entry(why).or_default() += 1,
            Place::Row { row, begins, udp, answers } => {
                let traffic = Traffic { flows: begins.into(), packets: 1, bytes };
                self.judge.add(row, traffic);
                if udp {
                    self.report.udp.add(traffic);
                }
                if answers {
                    self.report.answers.add(traffic);
                }
            }
        }
    }

    /// Where it is counted, and as how many bytes.
    fn place(&mut self, record: &Record<'_>) -> (Place, u64) {
        let frame = match unframe(record.link, record.bytes) {
            Ok(frame) => frame,
            Err(NoPacket::Unread) => return (Place::Aside(Aside::Link), 0),
            Err(NoPacket::CutOff) => return (Place::Aside(Aside::Headers), 0),
            Err(NoPacket::NotIp) => return (Place::Aside(Aside::NotIp), 0),
        };
        let Some(datagram) = Datagram::read(frame.packet) else { return (Place::Aside(Aside::Headers), 0) };
        let bytes = match datagram.length {
            0 => u64::from(record.original).saturating_sub((record.bytes.len() - frame.packet.len()) as u64),
            length => length,
        };
        let way = frame.way.or(record.way);
        let place = match datagram.content {
            _ if to_many(way, datagram.destination) => Place::Aside(Aside::ToMany),
            Content::Other => Place::Aside(Aside::OtherProtocol),
            Content::CutOff => Place::Aside(Aside::Headers),
            Content::LaterFragment => return (self.later(&datagram), bytes),
            Content::Segment(segment) => {
                let told = Told { name: record.interface, index: frame.index, tagged: frame.tagged };
                match (self.way(way, &datagram), segment.protocol) {
                    (Some(Way::ToOthers), _) => Place::Aside(Aside::ToOthers),
                    (way, Protocol::Tcp) => self.tcp(way, &segment, told),
                    (way, Protocol::Udp) => self.udp(way, &segment, told),
                }
            }
        };
        if let Some(fragment) = datagram.fragment {
            self.fragments.insert((datagram.source, datagram.destination, fragment), place);
        }
        (place, bytes)
    }

    /// A fragment without ports goes with the first of its datagram.
    fn later(&mut self, datagram: &Datagram) -> Place {
        let first = datagram
            .fragment
            .and_then(|fragment| self.fragments.get(&(datagram.source, datagram.destination, fragment)).copied());
        match first {
            Some(Place::Row { row, udp, answers, .. }) => Place::Row { row, begins: false, udp, answers },
            Some(aside) => aside,
            None => Place::Aside(Aside::LoneFragment),
        }
    }

    /// Which way a packet went, as far as that is known before its flow is looked at.
    fn way(&mut self, said: Option<Way>, datagram: &Datagram) -> Option<Way> {
        let is_local = |address: IpAddr| self.options.local.iter().any(|local| local.contains(&address));
        if !self.options.local.is_empty() {
            self.report.direction.local += 1;
            return Some(match (is_local(datagram.destination), is_local(datagram.source)) {
                (true, _) => Way::ToHost,
                (false, true) => Way::FromHost,
                (false, false) => Way::ToOthers,
            });
        }
        self.report.direction.capture += u64::from(said.is_some());
        said
    }

    fn tcp(&mut self, way: Option<Way>, segment: &Segment, told: Told<'_>) -> Place {
        let key = Key::of(segment);
        let (flow, other) = (self.flows.get(&key).copied(), self.flows.get(&key.reverse()).copied());
        let place = match (way, flow, other) {
            (Some(Way::FromHost), _, other) => {
                if segment.opens() && other.is_none() {
                    self.flows.insert(key.reverse(), Flow::HostOpened);
                }
                Place::Aside(Aside::FromHost)
            }
            (_, Some(Flow::Opened { row, sequence }), _) if !segment.opens() || segment.sequence == sequence => {
                Place::Row { row, begins: false, udp: false, answers: false }
            }
            _ if segment.opens() => {
                let row = self.decide(segment, told);
                self.flows.insert(key, Flow::Opened { row, sequence: segment.sequence });
                Place::Row { row, begins: true, udp: false, answers: false }
            }
            (_, _, Some(Flow::Opened { .. })) => Place::Aside(Aside::FromHost),
            (_, Some(Flow::HostOpened), _) => Place::Aside(Aside::HostOpened),
            (Some(_), None, None) if segment.accepts() => {
                self.flows.insert(key, Flow::HostOpened);
                Place::Aside(Aside::HostOpened)
            }
            _ => {
                if flow.is_none() && other.is_none() {
                    self.flows.insert(key, Flow::Unopened);
                    self.report.unopened += 1;
                }
                Place::Aside(Aside::NoOpening)
            }
        };
        let by_opening = way.is_none() && place != Place::Aside(Aside::NoOpening);
        self.report.direction.opening += u64::from(by_opening);
        place
    }

    fn udp(&mut self, way: Option<Way>, segment: &Segment, told: Told<'_>) -> Place {
        let key = Key::of(segment);
        match way {
            None => return Place::Aside(Aside::NoDirection),
            Some(Way::FromHost) => {
                if self.flows.get(&key.reverse()).is_none() {
                    self.flows.insert(key.reverse(), Flow::Asked);
                }
                return Place::Aside(Aside::FromHost);
            }
            Some(_) => {}
        }
        let answers = match self.flows.get(&key) {
            Some(&mut Flow::Datagrams { row, answers }) => {
                return Place::Row { row, begins: false, udp: true, answers };
            }
            Some(_) => true,
            // On its way from one socket of this host to another.
            None => matches!(self.flows.get(&key.reverse()), Some(Flow::Datagrams { .. })),
        };
        let row = self.decide(segment, told);
        self.flows.insert(key, Flow::Datagrams { row, answers });
        Place::Row { row, begins: true, udp: true, answers }
    }

    /// The row for what a packet begins.
    fn decide(&mut self, segment: &Segment, told: Told<'_>) -> u32 {
        let interface = match self.judge.asks_for_interfaces() {
            true => self.options.devices.of(told, segment.destination.ip()),
            false => None,
        };
        let &Segment { protocol, source, destination, .. } = segment;
        self.judge.row(&Packet { protocol, source, destination, interface })
    }
}

/// Whether every socket that wants it gets a copy: then none is looked up.
fn to_many(way: Option<Way>, destination: IpAddr) -> bool {
    way == Some(Way::ToMany)
        || destination.is_multicast()
        || matches!(destination, IpAddr::V4(address) if address.is_broadcast())
}
