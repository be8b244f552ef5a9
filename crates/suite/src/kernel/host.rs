//! The objects of a case in the kernel, by name.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, sched_getcpu, sched_setaffinity};
use sklookup_bpf::{MapSpec, ProgramSpec};
use sklookup_kernel::sock_diag::{Lookup, SockDiag};
use sklookup_kernel::socket::Socket as Inspected;
use sklookup_kernel::{Link, Map, Netns, Program, Protocol, RingBuffer, Sandbox, Verdict, interface};

use super::sockets::Open;
use crate::case::{Operation, Packet, Send, Socket, World};
use crate::host::{Delivery, Host, LinkState, LoadRefusal, Outcome, Refusal, index, named};
use crate::play::Stop;

/// How long the kernel may take for what it does on its own, such as the end of a namespace.
const LONG: Duration = Duration::from_secs(20);

/// The sandbox of one case.
pub(super) struct Machine<'a> {
    pub(super) sandbox: &'a Sandbox,
    /// Other namespaces, by name.
    pub(super) netns: BTreeMap<String, Netns>,
    /// The namespaces at the other ends of interfaces, by interface.
    pub(super) outside: BTreeMap<String, Netns>,
    pub(super) sockets: BTreeMap<String, Open>,
    pub(super) programs: BTreeMap<String, Program>,
    maps: BTreeMap<String, Map>,
    links: BTreeMap<String, Attached>,
    /// Counts packets, so that each can be told from all others.
    pub(super) sent: u64,
}

struct Attached {
    link: Link,
    netns: Option<String>,
}

impl<'a> Machine<'a> {
    pub(super) fn new(sandbox: &'a Sandbox) -> Result<Machine<'a>, Stop> {
        // On one CPU, packets that this thread sends are processed in their order.
        let here = sched_getcpu();
        pin(here).map_err(|why| Stop::Failed { line: None, why })?;
        Ok(Machine {
            sandbox,
            netns: BTreeMap::new(),
            outside: BTreeMap::new(),
            sockets: BTreeMap::new(),
            programs: BTreeMap::new(),
            maps: BTreeMap::new(),
            links: BTreeMap::new(),
            sent: 0,
        })
    }

    /// The namespace of this name; the sandbox's own for none.
    pub(super) fn netns(&self, name: Option<&str>) -> Outcome<&Netns> {
        match name {
            None => Ok(&self.sandbox.netns),
            Some(name) => named(&self.netns, "namespace", name, "is closed"),
        }
    }

    /// Runs `f` in a namespace; on this thread, pinned as it is, if that is the sandbox's own.
    pub(super) fn inside<T: std::marker::Send>(
        netns: &Netns,
        f: impl FnOnce() -> Outcome<T> + std::marker::Send,
    ) -> Outcome<T> {
        netns.run(f).map_err(|error| Refusal::Broken(error.to_string()))?
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

    /// Gives back a namespace, and waits until its links show that it has ended.
    fn end_namespace(&mut self, name: &str) -> Outcome {
        self.netns.remove(name);
        let deadline = Instant::now() + LONG;
        for attached in self.links.values().filter(|attached| attached.netns.as_deref() == Some(name)) {
            while attached.link.info()?.netns_inode != 0 {
                if Instant::now() > deadline {
                    return Err(Refusal::Broken(format!("namespace {name} does not end: something still holds it")));
                }
                std::thread::yield_now();
            }
        }
        Ok(())
    }
}

impl Host for Machine<'_> {
    fn furnish(&mut self, world: &World) -> Outcome {
        self.furnish_world(world)
    }

    fn interface(&self, name: &str) -> Option<u32> {
        interface::index_of(name).ok().flatten()
    }

    fn create(&mut self, map: &str, spec: &MapSpec) -> Outcome {
        let made = Map::create(spec)?;
        self.maps.insert(map.to_owned(), made);
        Ok(())
    }

    fn fill(&mut self, outer: &str, inner: &[String]) -> Outcome {
        let maps = inner.iter().map(|name| self.map(name).map(AsFd::as_fd)).collect::<Outcome<Vec<_>>>()?;
        let outer = self.map(outer)?;
        outer.fill_maps(&maps)?;
        Ok(outer.freeze()?)
    }

    fn lookup(&mut self, map: &str, key: &[u8], flags: u64) -> Outcome<Vec<u8>> {
        Ok(self.map(map)?.lookup(key, flags)?)
    }

    fn put(&mut self, map: &str, key: &[u8], value: &[u8], flags: u64) -> Outcome {
        Ok(self.map(map)?.update(key, value, flags)?)
    }

    fn put_socket(&mut self, map: &str, key: &[u8], socket: &str, flags: u64) -> Outcome {
        let fd = self.socket(socket)?.fd.as_raw_fd();
        let map = self.map(map)?;
        let fd = u64::try_from(fd).expect("an open fd is not negative");
        // A map of sockets has values of 4 or 8 bytes; any other width is the kernel's to refuse.
        let value = crate::bytes::Bytes::Number(fd as i64).of_width(map.info().value_size as usize);
        Ok(map.update(key, &value, flags)?)
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
        // Where the last reader ended is in the buffer's own memory.
        Ok(RingBuffer::new(self.map(map)?)?.next_record())
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
        let maps: Outcome<Vec<BorrowedFd<'_>>> = spec.maps.iter().map(|name| self.map(name).map(AsFd::as_fd)).collect();
        let maps = maps.map_err(|refusal| LoadRefusal { refusal, log: String::new() })?;
        let loaded = Program::load(spec, &maps).map_err(|error| LoadRefusal {
            refusal: Refusal::Errno(error.errno().into()),
            log: error.log().to_owned(),
        })?;
        self.programs.insert(program.to_owned(), loaded);
        Ok(())
    }

    fn test_run(&mut self, program: &str, context: &[u8], output: &mut [u8], repeat: u32) -> Outcome<bool> {
        let run = self.program(program)?.test_run_bytes(context, output, repeat)?;
        Ok(run.verdict == Verdict::Pass)
    }

    fn attach(&mut self, link: &str, program: &str, netns: Option<&str>) -> Outcome {
        let attached = Link::attach(self.program(program)?, self.netns(netns)?.as_fd())?;
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
        // Which namespace a dead link was on can't be told, and its name may be closed.
        let alive = info.netns_inode != 0 && info.is_alive_on(self.netns(attached.netns.as_deref())?.inode());
        Ok(LinkState { program: self.program_name(info.program_id), alive })
    }

    fn query(&mut self, netns: Option<&str>, room: Option<usize>) -> (Outcome, Vec<String>, usize) {
        // 64 is the most that can be attached.
        let mut ids = vec![0; room.unwrap_or(64)];
        let netns = match self.netns(netns) {
            Ok(netns) => netns.as_fd(),
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
        let cookie = rustix::net::sockopt::socket_cookie(&self.socket(socket)?.fd);
        cookie.map_err(|errno| Refusal::Errno(errno.into()))
    }

    fn families(&mut self, socket: &str) -> Outcome<(bool, bool)> {
        let inspected = Inspected::inspect(&self.socket(socket)?.fd)?.expect("what was opened is a socket");
        match inspected.suitability() {
            Ok(suitable) => Ok((suitable.v4, suitable.v6)),
            Err(why) => Err(Refusal::Broken(format!("socket {socket} is {why}"))),
        }
    }

    fn close(&mut self, name: &str) -> Outcome {
        if self.sockets.remove(name).is_some() || self.links.remove(name).is_some() {
            return Ok(());
        }
        match self.netns.contains_key(name) {
            true => self.end_namespace(name),
            false => Err(Refusal::Broken(format!("{name} is no open socket, link or namespace"))),
        }
    }

    fn send(&mut self, send: &Send) -> Outcome<Delivery> {
        let Some(cpu) = send.cpu else { return self.deliver(send) };
        let before = sched_getcpu();
        pin(cpu as usize).map_err(|_| Refusal::Cannot(format!("CPU {cpu} is not to be had")))?;
        let delivery = self.deliver(send);
        pin(before).map_err(Refusal::Broken)?;
        delivery
    }

    fn ask(&mut self, packet: &Packet) -> Outcome<Option<u64>> {
        let interface = match &packet.interface {
            Some(name) => {
                self.interface(name).ok_or_else(|| Refusal::Broken(format!("there is no interface {name}")))?
            }
            None => 0,
        };
        let protocol = match packet.protocol {
            sklookup_policy::Protocol::Tcp => Protocol::Tcp,
            sklookup_policy::Protocol::Udp => Protocol::Udp,
        };
        let source = (packet.source, packet.source_port.unwrap_or(0)).into();
        let lookup = Lookup { protocol, source, destination: packet.destination, interface };
        Machine::inside(self.netns(packet.netns.as_deref())?, || {
            Ok(SockDiag::open()?.lookup(&lookup)?.map(|entry| entry.cookie))
        })
    }
}

/// Keeps this thread on one CPU.
fn pin(cpu: usize) -> Result<(), String> {
    let mut set = CpuSet::new();
    if cpu >= CpuSet::MAX_CPU {
        return Err(format!("CPU {cpu} is not to be had"));
    }
    set.set(cpu);
    sched_setaffinity(None, &set).map_err(|errno| format!("CPU {cpu}: {errno}"))
}
