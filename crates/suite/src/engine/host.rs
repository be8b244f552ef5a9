//! The objects of a case in the engine, by name.

use std::collections::BTreeMap;

use sklookup_bpf::{MapSpec, MapType, ProgramSpec};
use sklookup_engine::{Config, Link, Lookup, Machine, Map, Netns, Program, Protocol, Trace, Verdict};

use super::sockets::Open;
use crate::case::{Operation, Packet, Send, Socket, World};
use crate::errno::Errno;
use crate::host::{Delivery, Host, LinkState, LoadRefusal, Outcome, Refusal, index, named};

/// CPUs of the machine: cases name 0 and 1.
const CPUS: u32 = 2;

/// The simulated machine of one case.
pub(super) struct Simulated {
    pub(super) machine: Machine,
    pub(super) own: Netns,
    /// Other namespaces, by name.
    pub(super) netns: BTreeMap<String, Netns>,
    pub(super) sockets: BTreeMap<String, Open>,
    pub(super) programs: BTreeMap<String, Program>,
    /// Ends of connections that closed first, by the name of the end that is still open.
    pub(super) half_closed: BTreeMap<String, Open>,
    /// Handshakes keep no state (`tcp_syncookies` 2).
    pub(super) syn_cookies: bool,
    /// The port of the next client that may have any.
    pub(super) next_port: u16,
    pub(super) trace: Option<Trace>,
    maps: BTreeMap<String, Map>,
    links: BTreeMap<String, Attached>,
}

struct Attached {
    link: Link,
    netns: Option<String>,
}

impl Simulated {
    /// A machine that runs so many instructions.
    pub(super) fn new(all_instructions: u64) -> Simulated {
        let machine = Machine::new(Config { cpus: CPUS, all_instructions, ..Config::default() });
        Simulated {
            own: Netns::new_private(&machine),
            machine,
            netns: BTreeMap::new(),
            sockets: BTreeMap::new(),
            programs: BTreeMap::new(),
            half_closed: BTreeMap::new(),
            syn_cookies: false,
            next_port: 50_000,
            trace: None,
            maps: BTreeMap::new(),
            links: BTreeMap::new(),
        }
    }

    /// The namespace of this name; the case's own for none.
    pub(super) fn netns(&self, name: Option<&str>) -> Outcome<&Netns> {
        match name {
            None => Ok(&self.own),
            Some(name) => named(&self.netns, "namespace", name, "is closed"),
        }
    }

    pub(super) fn socket(&self, name: &str) -> Outcome<&Open> {
        named(&self.sockets, "socket", name, "is not open")
    }

    pub(super) fn program(&self, name: &str) -> Outcome<&Program> {
        named(&self.programs, "program", name, "is not loaded")
    }

    fn map(&self, name: &str) -> Outcome<&Map> {
        named(&self.maps, "map", name, "was not made")
    }

    fn link(&self, name: &str) -> Outcome<&Attached> {
        named(&self.links, "link", name, "is not there (any more)")
    }

    /// What the program of this id is called here.
    fn program_name(&self, id: u32) -> String {
        let found = self.programs.iter().find(|(_, program)| program.id() == id);
        found.map_or_else(|| format!("program {id}, which is none of the case's"), |(name, _)| name.clone())
    }
}

impl Host for Simulated {
    fn verifies(&self) -> bool {
        false
    }

    fn furnish(&mut self, world: &World) -> Outcome {
        self.furnish_world(world)
    }

    fn interface(&self, name: &str) -> Option<u32> {
        self.own.index_of(name)
    }

    fn create(&mut self, map: &str, spec: &MapSpec) -> Outcome {
        let made = Map::create(&self.machine, spec)?;
        self.maps.insert(map.to_owned(), made);
        Ok(())
    }

    fn fill(&mut self, outer: &str, inner: &[String]) -> Outcome {
        let maps = inner.iter().map(|name| self.map(name)).collect::<Outcome<Vec<_>>>()?;
        let outer = self.map(outer)?;
        outer.fill_maps(&maps)?;
        Ok(outer.freeze()?)
    }

    fn lookup(&mut self, map: &str, key: &[u8], flags: u64) -> Outcome<Vec<u8>> {
        Ok(self.map(map)?.lookup(key, flags)?)
    }

    fn put(&mut self, map: &str, key: &[u8], value: &[u8], flags: u64) -> Outcome {
        let map = self.map(map)?;
        let kind = map.info().kind;
        if kind.holds_sockets() || kind.holds_maps() || kind == MapType::ProgArray {
            return Err(Refusal::Cannot("it has no file descriptors".to_owned()));
        }
        Ok(map.update(key, value, flags)?)
    }

    fn put_socket(&mut self, map: &str, key: &[u8], socket: &str, flags: u64) -> Outcome {
        let id = self.socket(socket)?.id();
        Ok(self.map(map)?.update_socket(key, id, flags)?)
    }

    fn put_program(&mut self, map: &str, key: &[u8], program: &str, flags: u64) -> Outcome {
        Ok(self.map(map)?.update_program(index(key)?, self.program(program)?, flags)?)
    }

    fn put_map(&mut self, map: &str, key: &[u8], inner: &str, flags: u64) -> Outcome {
        Ok(self.map(map)?.update_map(key, self.map(inner)?, flags)?)
    }

    fn take(&mut self, map: &str, key: &[u8]) -> Outcome<Vec<u8>> {
        Ok(self.map(map)?.lookup_and_delete(key, 0)?)
    }

    fn record(&mut self, map: &str) -> Outcome<Option<Vec<u8>>> {
        Ok(self.map(map)?.next_record()?)
    }

    fn freeze(&mut self, map: &str) -> Outcome {
        Ok(self.map(map)?.freeze()?)
    }

    fn delete(&mut self, map: &str, key: &[u8]) -> Outcome {
        Ok(self.map(map)?.delete(key)?)
    }

    fn next_key(&mut self, map: &str, key: Option<&[u8]>) -> Outcome<Vec<u8>> {
        Ok(self.map(map)?.next_key(key)?)
    }

    fn load(&mut self, program: &str, spec: &ProgramSpec) -> Result<(), LoadRefusal> {
        let maps: Outcome<Vec<&Map>> = spec.maps.iter().map(|name| self.map(name)).collect();
        let maps = maps.map_err(|refusal| LoadRefusal { refusal, log: String::new() })?;
        let loaded = Program::load(&self.machine, spec, &maps).map_err(|error| {
            let refusal = match error.log().contains("is not implemented") {
                true => Refusal::Cannot(format!("it has not everything: {}", error.log())),
                false => Refusal::Errno(Errno(error.errno().raw_os_error())),
            };
            LoadRefusal { refusal, log: error.log().to_owned() }
        })?;
        self.programs.insert(program.to_owned(), loaded);
        Ok(())
    }

    fn test_run(&mut self, program: &str, context: &[u8], output: &mut [u8], repeat: u32) -> Outcome<bool> {
        let run = self.program(program)?.test_run_bytes(context, output, repeat)?;
        Ok(run.verdict == Verdict::Pass)
    }

    fn attach(&mut self, link: &str, program: &str, netns: Option<&str>) -> Outcome {
        let attached = Link::attach(self.program(program)?, self.netns(netns)?)?;
        self.links.insert(link.to_owned(), Attached { link: attached, netns: netns.map(str::to_owned) });
        Ok(())
    }

    fn update(&mut self, link: &str, program: &str, replacing: Option<&str>) -> Outcome {
        let (link, program) = (&self.link(link)?.link, self.program(program)?);
        match replacing {
            Some(old) => Ok(link.update(program, self.program(old)?)?),
            None => Ok(link.update_any(program)?),
        }
    }

    fn detach(&mut self, link: &str) -> Outcome {
        Ok(self.link(link)?.link.detach()?)
    }

    fn info(&mut self, link: &str) -> Outcome<LinkState> {
        let attached = self.link(link)?;
        let info = attached.link.info()?;
        let alive = info.netns_inode != 0 && info.netns_inode == self.netns(attached.netns.as_deref())?.inode();
        Ok(LinkState { program: self.program_name(info.program_id), alive })
    }

    fn query(&mut self, netns: Option<&str>, room: Option<usize>) -> (Outcome, Vec<String>, usize) {
        // 64 is the most that can be attached.
        let mut ids = vec![0; room.unwrap_or(64)];
        let netns = match self.netns(netns) {
            Ok(netns) => netns,
            Err(refusal) => return (Err(refusal), Vec::new(), 0),
        };
        let (answer, attached) = Link::query_into(netns, &mut ids);
        ids.truncate(attached);
        (answer.map_err(Refusal::from), ids.into_iter().map(|id| self.program_name(id)).collect(), attached)
    }

    fn open(&mut self, name: &str, socket: &Socket) -> Outcome {
        let opened = self.open_socket(socket)?;
        self.sockets.insert(name.to_owned(), opened);
        Ok(())
    }

    fn operate(&mut self, socket: &str, operation: &Operation) -> Outcome {
        self.operate_socket(socket, operation)
    }

    fn cookie(&mut self, socket: &str) -> Outcome<u64> {
        Ok(self.socket(socket)?.id().cookie())
    }

    fn families(&mut self, socket: &str) -> Outcome<(bool, bool)> {
        let open = self.socket(socket)?;
        Ok((!open.ipv6 || !open.internet()?.v6only(), open.ipv6))
    }

    fn close(&mut self, name: &str) -> Outcome {
        if self.sockets.contains_key(name) {
            return self.close_socket(name);
        }
        match self.links.remove(name).is_some() || self.netns.remove(name).is_some() {
            true => Ok(()),
            false => Err(Refusal::Broken(format!("{name} is no open socket, link or namespace"))),
        }
    }

    fn send(&mut self, send: &Send) -> Outcome<Delivery> {
        self.trace = None;
        self.deliver(send)
    }

    fn ask(&mut self, packet: &Packet) -> Outcome<Option<u64>> {
        let interface = match &packet.interface {
            Some(name) => {
                self.interface(name).ok_or_else(|| Refusal::Broken(format!("there is no interface {name}")))?
            }
            None => 0,
        };
        let protocol = protocol(packet);
        let source = (packet.source, packet.source_port.unwrap_or(0)).into();
        let lookup = Lookup { protocol, source, destination: packet.destination, interface };
        let found = self.netns(packet.netns.as_deref())?.lookup(&lookup);
        let found = found.map_err(|fault| Refusal::Broken(format!("a program broke off: {fault}")))?;
        Ok(found.map(|socket| socket.cookie()))
    }

    fn trace(&self) -> Option<String> {
        self.trace.as_ref().map(ToString::to_string)
    }
}

/// The protocol of a packet, in the engine's words.
pub(super) fn protocol(packet: &Packet) -> Protocol {
    match packet.protocol {
        sklookup_policy::Protocol::Tcp => Protocol::Tcp,
        sklookup_policy::Protocol::Udp => Protocol::Udp,
    }
}

impl From<sklookup_engine::Error> for Refusal {
    fn from(error: sklookup_engine::Error) -> Refusal {
        Refusal::Errno(Errno(error.errno().raw_os_error()))
    }
}
