//! A case as data: a world, and what is done in it step by step.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;
use sklookup_bpf::{MapSpec, ProgramSpec};
use sklookup_compiler::Strategy;
use sklookup_policy::Policy;

use crate::bytes::Bytes;
use crate::errno::Errno;

/// One case.
#[derive(Clone, Debug)]
pub struct Case {
    /// Unique in its file.
    pub name: String,
    /// The file it stands in, as it was named.
    pub file: Arc<str>,
    /// Its line there, from 1.
    pub line: u32,
    /// Where the rule that it shows is stated.
    pub source: Option<String>,
    /// The oldest kernel it holds for.
    pub kernel: Option<Version>,
    /// What there is to know about it, such as a finding and the kernel that showed it.
    pub note: Option<String>,
    /// What there is before the first step.
    pub world: World,
    /// What is done, in this order.
    pub steps: Vec<Step>,
    /// The most instructions that its programs may run on the engine, all runs together.
    pub instructions: u64,
}

/// A kernel version, as far as cases tell versions apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// The first number.
    pub major: u16,
    /// The second number.
    pub minor: u16,
}

/// What a case starts from.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// Other network namespaces by name.
    pub netns: Vec<String>,
    /// Settings of the namespace: name and value.
    pub sysctls: Vec<(String, String)>,
    /// Interfaces; `lo` is always there.
    pub interfaces: Vec<Interface>,
    /// Prefixes that are local although no interface has them as addresses.
    pub local: Vec<IpNet>,
    /// Maps, in the order of the file.
    pub maps: Vec<(String, Map)>,
    /// Programs, in the order of the file.
    pub programs: Vec<(String, Program)>,
    /// Sockets, in the order in which they are made.
    pub sockets: Vec<(String, Socket)>,
    /// Programs that are attached, in this order: the link's name and the program's.
    pub links: Vec<(String, String)>,
}

/// An interface of the namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Name.
    pub name: String,
    /// Its addresses.
    pub addresses: Vec<IpNet>,
    /// Addresses of the host at the other end of its wire.
    pub outside: Vec<IpNet>,
}

/// A map.
#[derive(Clone, Debug)]
pub struct Map {
    /// Its shape.
    pub spec: MapSpec,
    /// What is in it at the start.
    pub contents: Vec<(Bytes, Value)>,
}

/// What is put under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// These bytes.
    Bytes(Bytes),
    /// A socket by name.
    Socket(String),
    /// A map by name, in a map of maps.
    Map(String),
    /// A program by name, in a PROG_ARRAY.
    Program(String),
}

/// A program.
#[derive(Clone, Debug)]
pub enum Program {
    /// Written in the text form; its maps are the case's.
    Text(Arc<ProgramSpec>),
    /// Compiled from a policy.
    Policy(Arc<Compiled>),
    /// From an object file.
    Object(Box<FromObject>),
}

/// A program from an object file.
#[derive(Clone, Debug)]
pub struct FromObject {
    /// The file, as the case names it.
    pub file: Arc<str>,
    /// The program; its maps are the case's, where they have the names that the object gives them.
    pub spec: ProgramSpec,
    /// The globals of the object that get other values than it has for them.
    pub globals: Vec<(String, Bytes)>,
}

/// A program that is compiled from a policy.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// The policy.
    pub policy: Policy,
    /// How it is to be compiled; `None`: as the compiler sees fit.
    pub strategy: Option<Strategy>,
    /// Label and its sockets, in the order of members.
    pub sockets: Vec<(String, Vec<String>)>,
}

/// A socket, as it is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Socket {
    /// What it speaks.
    pub kind: Kind,
    /// Where it is bound; for one without an address of its own the family is all that counts.
    pub address: SocketAddr,
    /// What is done to it, in this order.
    pub setup: Setup,
}

/// What a socket speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Kind {
    Tcp,
    Udp,
    UdpLite,
    Mptcp,
    UnixStream,
    UnixDatagram,
    UnixSeqpacket,
}

/// How a socket is set up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Setup {
    /// The namespace it is made in, if not the case's own.
    pub netns: Option<String>,
    /// `SO_REUSEPORT` before it is bound.
    pub reuseport: bool,
    /// The program of its group, attached when it has its address.
    pub reuseport_program: Option<String>,
    /// `SO_REUSEPORT` when all else is done.
    pub late_reuseport: bool,
    /// `IPV6_V6ONLY`, if it is set.
    pub v6only: Option<bool>,
    /// The interface it is bound to.
    pub device: Option<String>,
    /// `SO_INCOMING_CPU`.
    pub cpu: Option<u32>,
    /// Told of errors though it is not connected (`IP_RECVERR`).
    pub recverr: bool,
    /// It is never bound.
    pub unbound: bool,
    /// A TCP socket that does not listen.
    pub silent: bool,
    /// Where it is connected to.
    pub connect: Option<SocketAddr>,
}

/// One thing that is done.
#[derive(Clone, Debug)]
pub struct Step {
    /// Its line in the file.
    pub line: u32,
    /// What.
    pub action: Action,
}

/// What a call is expected to answer: nothing, or an errno.
pub type Answer = Result<(), Errno>;

/// What can be done.
#[derive(Clone, Debug)]
pub enum Action {
    /// A packet arrives.
    Packet(Send),
    /// The lookup is asked who would get a packet.
    Ask {
        /// The packet.
        packet: Packet,
        /// Who: `None` is nobody.
        expect: Option<String>,
    },
    /// A program runs on a made-up packet.
    TestRun(TestRun),
    /// A program is loaded that was not loaded before.
    Load {
        /// Which.
        program: String,
        /// What comes of it.
        expect: Answer,
        /// What the verifier's log says.
        log: Option<String>,
    },
    /// A map is made that was not made before.
    Create {
        /// Which.
        map: String,
        /// What comes of it.
        expect: Answer,
    },
    /// A program is attached.
    Attach {
        /// Which.
        program: String,
        /// What the link is called from now on.
        link: String,
        /// Where, if not in the case's own namespace.
        netns: Option<String>,
        /// What comes of it.
        expect: Answer,
    },
    /// A link gets another program.
    Update {
        /// Which link.
        link: String,
        /// The new program.
        program: String,
        /// The program that it must run now.
        replacing: Option<String>,
        /// What comes of it.
        expect: Answer,
    },
    /// A link is detached.
    Detach {
        /// Which.
        link: String,
        /// What comes of it.
        expect: Answer,
    },
    /// The attached programs are listed.
    Query(Query),
    /// A link is asked about itself.
    Info {
        /// Which.
        link: String,
        /// The program it runs, or ran last.
        program: Option<String>,
        /// Whether it is attached.
        alive: Option<bool>,
    },
    /// A key is looked up.
    Lookup {
        /// In which map.
        map: String,
        /// The key.
        key: Bytes,
        /// `BPF_*` flags.
        flags: u64,
        /// What is found.
        expect: Found,
    },
    /// A value is put under a key.
    Put {
        /// Into which map.
        map: String,
        /// The key.
        key: Bytes,
        /// The value.
        value: Value,
        /// `BPF_*` flags.
        flags: u64,
        /// What comes of it.
        expect: Answer,
    },
    /// A key is deleted.
    Delete {
        /// From which map.
        map: String,
        /// The key.
        key: Bytes,
        /// What comes of it.
        expect: Answer,
    },
    /// The value under a key is read and removed.
    Take {
        /// From which map.
        map: String,
        /// The key.
        key: Bytes,
        /// The value, or an errno.
        expect: Result<Bytes, Errno>,
    },
    /// The owner reads the next record of a ring buffer.
    Record {
        /// The ring buffer.
        map: String,
        /// Its bytes; `None`: there is none.
        expect: Option<Bytes>,
    },
    /// The owner gives up writing.
    Freeze {
        /// Which map.
        map: String,
        /// What comes of it.
        expect: Answer,
    },
    /// The next key is asked for.
    NextKey {
        /// In which map.
        map: String,
        /// After this one; `None`: the first.
        key: Option<Bytes>,
        /// The key, or an errno.
        expect: Result<Bytes, Errno>,
    },
    /// A socket is made.
    Open {
        /// What it is called.
        name: String,
        /// How.
        socket: Socket,
        /// What comes of it.
        expect: Answer,
    },
    /// Something is done to a socket.
    Socket {
        /// Which.
        name: String,
        /// What.
        operation: Operation,
        /// What comes of it.
        expect: Answer,
    },
    /// A socket, a link or a namespace is closed: the last reference to it is given back.
    Close(String),
}

/// A packet and who gets it.
#[derive(Clone, Debug)]
pub struct Send {
    /// The packet.
    pub packet: Packet,
    /// Any of these.
    pub expect: Vec<Receiver>,
    /// The socket of the case that sends it, instead of one that is made for it.
    pub from: Option<String>,
    /// What the sending socket is told.
    pub sender: Option<Result<(), Errno>>,
    /// How often the same packet is sent again; the same must get it.
    pub again: u32,
    /// What the client's end of the connection is called from now on.
    pub client: Option<String>,
    /// What the server's end of the connection is called from now on.
    pub child: Option<String>,
    /// The local address of the server's end.
    pub local: Option<SocketAddr>,
    /// The CPU that the packet is processed on.
    pub cpu: Option<u32>,
}

/// A packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// The protocol.
    pub protocol: sklookup_policy::Protocol,
    /// Who sends it.
    pub source: IpAddr,
    /// From which port; `None`: any that is free.
    pub source_port: Option<u16>,
    /// Where it goes.
    pub destination: SocketAddr,
    /// The interface it arrives on; `None`: the host sends it to itself.
    pub interface: Option<String>,
    /// The flags of a TCP segment that stands alone; `None`: a client connects.
    pub flags: Option<Flags>,
    /// The namespace it arrives in, if not the case's own.
    pub netns: Option<String>,
}

/// TCP flags, as bits of the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags(pub u8);

/// Who gets a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Receiver {
    /// A socket of the case.
    Socket(String),
    /// Nobody; a TCP reset is sent.
    Reset,
    /// Nobody; an ICMP port unreachable is sent.
    Unreachable,
    /// A listener, which answers a TCP segment that stands alone with SYN and ACK.
    SynAck,
    /// Nobody that shows; nothing is sent.
    Dropped,
}

/// A program runs on the bytes of a context.
#[derive(Clone, Debug)]
pub struct TestRun {
    /// Which.
    pub program: String,
    /// The context.
    pub context: Vec<u8>,
    /// How much room there is for what comes back, in bytes.
    pub room: usize,
    /// How often.
    pub repeat: u32,
    /// What comes of it.
    pub expect: Ran,
}

/// What comes of a test run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ran {
    /// It passes, and this socket is selected.
    Socket(String),
    /// It passes, and none is.
    Pass,
    /// It drops.
    Drop,
    /// It is refused.
    Errno(Errno),
}

/// A list of attached programs.
#[derive(Clone, Debug)]
pub struct Query {
    /// Where, if not in the case's own namespace.
    pub netns: Option<String>,
    /// How many programs fit; `None`: as many as there are.
    pub room: Option<usize>,
    /// The programs in run order, as far as they fit.
    pub programs: Vec<String>,
    /// How many are attached; `None`: those listed.
    pub count: Option<usize>,
    /// What the call answers.
    pub answer: Answer,
}

/// What is found under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// These bytes.
    Bytes(Bytes),
    /// A socket: its cookie.
    Socket(String),
    /// Nothing, with this errno.
    Errno(Errno),
}

/// What can be done to a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// `bind`.
    Bind(SocketAddr),
    /// `listen`.
    Listen,
    /// `connect`.
    Connect(SocketAddr),
    /// `connect` to no family.
    Disconnect,
    /// `shutdown` of reading.
    ShutdownRead,
    /// `shutdown` of both.
    Shutdown,
    /// `SO_REUSEPORT`, on or off.
    Reuseport(bool),
    /// A program for its reuseport group.
    AttachReuseport(String),
    /// Its reuseport group's program is taken away.
    DetachReuseport,
    /// It sends a byte, which this socket, the other end of its connection, receives.
    Talk(String),
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl Version {
    /// Reads `6.18` out of `6.18.44-generic`.
    pub fn parse(text: &str) -> Option<Version> {
        let mut parts = text.split(['.', '-']);
        let major = parts.next()?.parse().ok()?;
        let digits = parts.next()?;
        let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
        Some(Version { major, minor: digits[..end].parse().ok()? })
    }
}

impl Flags {
    /// The flags by name, with their bits.
    pub const NAMES: [(&'static str, u8); 6] =
        [("fin", 0x01), ("syn", 0x02), ("rst", 0x04), ("psh", 0x08), ("ack", 0x10), ("urg", 0x20)];

    /// Whether all of these are set.
    pub fn has(self, bits: u8) -> bool {
        self.0 & bits == bits
    }
}

impl fmt::Display for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Receiver::Socket(name) => name,
            Receiver::Reset => "reset",
            Receiver::Unreachable => "unreachable",
            Receiver::SynAck => "syn-ack",
            Receiver::Dropped => "dropped",
        })
    }
}

impl fmt::Display for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ran::Socket(name) => f.write_str(name),
            Ran::Pass => f.write_str("pass"),
            Ran::Drop => f.write_str("drop"),
            Ran::Errno(errno) => errno.fmt(f),
        }
    }
}

impl fmt::Display for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let port = self.source_port.map_or("*".to_owned(), |port| port.to_string());
        match self.source {
            IpAddr::V4(source) => write!(f, "{} {source}:{port} > {}", self.protocol, self.destination)?,
            IpAddr::V6(source) => write!(f, "{} [{source}]:{port} > {}", self.protocol, self.destination)?,
        }
        if let Some(interface) = &self.interface {
            write!(f, " dev {interface}")?;
        }
        if let Some(netns) = &self.netns {
            write!(f, " netns {netns}")?;
        }
        if let Some(flags) = self.flags {
            let names: Vec<&str> =
                Flags::NAMES.iter().filter(|(_, bit)| flags.has(*bit)).map(|(name, _)| *name).collect();
            write!(f, " flags {}", if names.is_empty() { "none".to_owned() } else { names.join(",") })?;
        }
        Ok(())
    }
}
