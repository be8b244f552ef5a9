//! What a case needs of whoever runs it: the calls of a kernel, by the names that cases use.

use std::collections::BTreeMap;

use sklookup_bpf::{MapSpec, ProgramSpec};

use crate::case::{Operation, Packet, Receiver, Send, Socket, World};
use crate::errno::Errno;

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The call's own answer: what cases are about.
    Errno(Errno),
    /// Not something this executor has: the case is skipped.
    Cannot(String),
    /// Something else went wrong: the case fails, whatever it expects.
    Broken(String),
}

/// What comes of a call.
pub type Outcome<T = ()> = Result<T, Refusal>;

/// A program that was not loaded.
#[derive(Clone, Debug)]
pub struct LoadRefusal {
    /// Why.
    pub refusal: Refusal,
    /// What the verifier wrote.
    pub log: String,
}

/// Who got a packet, and what showed of it.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Who got it.
    pub receiver: Receiver,
    /// The local address of the server's end.
    pub local: Option<std::net::SocketAddr>,
    /// What the sender was told.
    pub sender: Option<Errno>,
}

/// What a link says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkState {
    /// The program that it runs, or ran last.
    pub program: String,
    /// Whether it is attached.
    pub alive: bool,
}

/// Something that implements sk_lookup, with the objects of one case in it. Every object has the name that the case gives
/// it.
pub trait Host {
    /// Whether it refuses what the verifier refuses.
    fn verifies(&self) -> bool {
        true
    }

    /// Makes namespaces, interfaces and local routes.
    fn furnish(&mut self, world: &World) -> Outcome;
    /// The index of an interface.
    fn interface(&self, name: &str) -> Option<u32>;

    /// Makes a map.
    fn create(&mut self, map: &str, spec: &MapSpec) -> Outcome;
    /// Puts maps into a map of maps, from index 0, and freezes it.
    fn fill(&mut self, outer: &str, inner: &[String]) -> Outcome;
    /// The value under a key.
    fn lookup(&mut self, map: &str, key: &[u8], flags: u64) -> Outcome<Vec<u8>>;
    /// Puts a value under a key.
    fn put(&mut self, map: &str, key: &[u8], value: &[u8], flags: u64) -> Outcome;
    /// Puts a socket under a key.
    fn put_socket(&mut self, map: &str, key: &[u8], socket: &str, flags: u64) -> Outcome;
    /// Puts a program under a key.
    fn put_program(&mut self, map: &str, key: &[u8], program: &str, flags: u64) -> Outcome;
    /// Puts a map under a key.
    fn put_map(&mut self, map: &str, key: &[u8], inner: &str, flags: u64) -> Outcome;
    /// Reads the value under a key and removes it.
    fn take(&mut self, map: &str, key: &[u8]) -> Outcome<Vec<u8>>;
    /// Reads the next record of a ring buffer, if there is one.
    fn record(&mut self, map: &str) -> Outcome<Option<Vec<u8>>>;
    /// Ends all writing by the owner.
    fn freeze(&mut self, map: &str) -> Outcome;
    /// Deletes a key.
    fn delete(&mut self, map: &str, key: &[u8]) -> Outcome;
    /// The key after this one.
    fn next_key(&mut self, map: &str, key: Option<&[u8]>) -> Outcome<Vec<u8>>;

    /// Loads a program; `spec.maps` are the names of its maps.
    fn load(&mut self, program: &str, spec: &ProgramSpec) -> Result<(), LoadRefusal>;
    /// Runs a program on the bytes of a context; answers the verdict (pass is true), and fills `output`.
    fn test_run(&mut self, program: &str, context: &[u8], output: &mut [u8], repeat: u32) -> Outcome<bool>;

    /// Attaches a program.
    fn attach(&mut self, link: &str, program: &str, netns: Option<&str>) -> Outcome;
    /// Gives a link another program.
    fn update(&mut self, link: &str, program: &str, replacing: Option<&str>) -> Outcome;
    /// Detaches a link.
    fn detach(&mut self, link: &str) -> Outcome;
    /// Asks a link about itself.
    fn info(&mut self, link: &str) -> Outcome<LinkState>;
    /// Lists the attached programs, as many as there is room for, and their number, whatever the call answers.
    fn query(&mut self, netns: Option<&str>, room: Option<usize>) -> (Outcome, Vec<String>, usize);

    /// Makes a socket.
    fn open(&mut self, name: &str, socket: &Socket) -> Outcome;
    /// Does something to a socket.
    fn operate(&mut self, socket: &str, operation: &Operation) -> Outcome;
    /// The cookie of a socket.
    fn cookie(&mut self, socket: &str) -> Outcome<u64>;
    /// For which families a program may select a socket: IPv4, IPv6.
    fn families(&mut self, socket: &str) -> Outcome<(bool, bool)>;
    /// Gives back the last reference to a socket, a link or a namespace.
    fn close(&mut self, name: &str) -> Outcome;

    /// Sends a packet and says who got it.
    fn send(&mut self, send: &Send) -> Outcome<Delivery>;
    /// Asks the lookup, without a packet, for the cookie of who would get it.
    fn ask(&mut self, packet: &Packet) -> Outcome<Option<u64>>;

    /// What happened inside during the last packet, for who has to find out why it went wrong.
    fn trace(&self) -> Option<String> {
        None
    }
}

impl From<sklookup_kernel::Error> for Refusal {
    fn from(error: sklookup_kernel::Error) -> Refusal {
        Refusal::Errno(error.errno().into())
    }
}

/// The object of this name in a table of a case; `missing` says why there may be none.
pub(crate) fn named<'a, T>(table: &'a BTreeMap<String, T>, kind: &str, name: &str, missing: &str) -> Outcome<&'a T> {
    table.get(name).ok_or_else(|| Refusal::Broken(format!("{kind} {name} {missing}")))
}

/// The index that a key of 4 bytes is.
pub(crate) fn index(key: &[u8]) -> Outcome<u32> {
    let bytes = key.try_into().map_err(|_| Refusal::Broken("an index has 4 bytes".to_owned()))?;
    Ok(u32::from_ne_bytes(bytes))
}
