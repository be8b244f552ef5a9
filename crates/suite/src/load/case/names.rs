//! What a case names, and whether it is there.

use std::collections::HashSet;

use sklookup_policy::reading::quote;

use super::super::tree::{Read, Wrong};
use crate::case::{Action, Case, Found, Operation, Program, Ran, Receiver, Setup, Value};

/// What names stand for.
#[derive(Clone, Copy)]
enum Kind {
    Socket,
    Map,
    Program,
    Link,
    Netns,
    Interface,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Kind::Socket => "socket",
            Kind::Map => "map",
            Kind::Program => "program",
            Kind::Link => "link",
            Kind::Netns => "namespace",
            Kind::Interface => "interface",
        }
    }
}

/// Refuses a name that nothing in the case has.
pub(super) fn check(case: &Case) -> Read<()> {
    let known = Known::of(case);
    let mut wrong = None;
    visit(case, &mut |line, kind, name| {
        let names = known.names(kind);
        if wrong.is_none() && !names.contains(name) {
            let mut names: Vec<&str> = names.iter().copied().collect();
            names.sort_unstable();
            let help = match names.is_empty() {
                true => format!("the case has no {}", kind.word()),
                false => format!("the case has {}", names.join(", ")),
            };
            wrong = Some(Wrong::new(line, format!("there is no {} {}", kind.word(), quote(name)), help));
        }
    });
    wrong.map_or(Ok(()), Err)
}

/// The programs that a case names.
pub(super) fn programs(case: &Case) -> HashSet<String> {
    named(case, |kind| matches!(kind, Kind::Program))
}

/// The maps that a case and its programs name.
pub(super) fn maps(case: &Case) -> HashSet<String> {
    named(case, |kind| matches!(kind, Kind::Map))
}

fn named(case: &Case, wanted: impl Fn(Kind) -> bool) -> HashSet<String> {
    let mut names = HashSet::new();
    visit(case, &mut |_, kind, name| {
        if wanted(kind) {
            names.insert(name.to_owned());
        }
    });
    names
}

struct Known<'a> {
    sockets: HashSet<&'a str>,
    maps: HashSet<&'a str>,
    programs: HashSet<&'a str>,
    links: HashSet<&'a str>,
    netns: HashSet<&'a str>,
    interfaces: HashSet<&'a str>,
}

impl<'a> Known<'a> {
    fn of(case: &'a Case) -> Known<'a> {
        let world = &case.world;
        let mut sockets: HashSet<&str> = world.sockets.iter().map(|(name, _)| name.as_str()).collect();
        let mut links: HashSet<&str> = world.links.iter().map(|(name, _)| name.as_str()).collect();
        for step in &case.steps {
            match &step.action {
                Action::Open { name, .. } => drop(sockets.insert(name)),
                Action::Attach { link, .. } => drop(links.insert(link)),
                Action::Packet(send) => sockets.extend(send.client.iter().chain(&send.child).map(String::as_str)),
                _ => {}
            }
        }
        let mut interfaces: HashSet<&str> = world.interfaces.iter().map(|interface| interface.name.as_str()).collect();
        interfaces.insert("lo");
        Known {
            sockets,
            links,
            interfaces,
            maps: world.maps.iter().map(|(name, _)| name.as_str()).collect(),
            programs: world.programs.iter().map(|(name, _)| name.as_str()).collect(),
            netns: world.netns.iter().map(String::as_str).collect(),
        }
    }

    fn names(&self, kind: Kind) -> &HashSet<&'a str> {
        match kind {
            Kind::Socket => &self.sockets,
            Kind::Map => &self.maps,
            Kind::Program => &self.programs,
            Kind::Link => &self.links,
            Kind::Netns => &self.netns,
            Kind::Interface => &self.interfaces,
        }
    }
}

/// Calls `see` with everything that the case names, and the line where it does.
fn visit(case: &Case, see: &mut impl FnMut(u32, Kind, &str)) {
    let world = &case.world;
    for (_, map) in &world.maps {
        map.contents.iter().for_each(|(_, value)| of_value(case.line, value, see));
    }
    for (_, program) in &world.programs {
        match program {
            Program::Object(program) => program.spec.maps.iter().for_each(|name| see(case.line, Kind::Map, name)),
            Program::Text(spec) => spec.maps.iter().for_each(|name| see(case.line, Kind::Map, name)),
            Program::Policy(compiled) => {
                compiled
                    .sockets
                    .iter()
                    .flat_map(|(_, sockets)| sockets)
                    .for_each(|name| see(case.line, Kind::Socket, name));
                let bindings = compiled.policy.entries().iter();
                bindings
                    .filter_map(|entry| entry.binding.interface.as_ref())
                    .for_each(|name| see(case.line, Kind::Interface, name.as_str()));
            }
        }
    }
    world.sockets.iter().for_each(|(_, socket)| of_setup(case.line, &socket.setup, see));
    world.links.iter().for_each(|(_, program)| see(case.line, Kind::Program, program));
    for step in &case.steps {
        of_action(step.line, &step.action, see);
    }
}

fn of_value(line: u32, value: &Value, see: &mut impl FnMut(u32, Kind, &str)) {
    match value {
        Value::Bytes(_) => {}
        Value::Socket(name) => see(line, Kind::Socket, name),
        Value::Map(name) => see(line, Kind::Map, name),
        Value::Program(name) => see(line, Kind::Program, name),
    }
}

fn of_setup(line: u32, setup: &Setup, see: &mut impl FnMut(u32, Kind, &str)) {
    setup.netns.iter().for_each(|name| see(line, Kind::Netns, name));
    setup.reuseport_program.iter().for_each(|name| see(line, Kind::Program, name));
    setup.device.iter().for_each(|name| see(line, Kind::Interface, name));
}

fn of_action(line: u32, action: &Action, see: &mut impl FnMut(u32, Kind, &str)) {
    match action {
        Action::Packet(send) => {
            send.from.iter().for_each(|name| see(line, Kind::Socket, name));
            send.packet.interface.iter().for_each(|name| see(line, Kind::Interface, name));
            send.packet.netns.iter().for_each(|name| see(line, Kind::Netns, name));
            for receiver in &send.expect {
                if let Receiver::Socket(name) = receiver {
                    see(line, Kind::Socket, name);
                }
            }
        }
        Action::Ask { packet, expect } => {
            packet.interface.iter().for_each(|name| see(line, Kind::Interface, name));
            expect.iter().for_each(|name| see(line, Kind::Socket, name));
        }
        Action::TestRun(run) => {
            see(line, Kind::Program, &run.program);
            if let Ran::Socket(name) = &run.expect {
                see(line, Kind::Socket, name);
            }
        }
        Action::Load { program, .. } => see(line, Kind::Program, program),
        Action::Create { map, .. }
        | Action::Delete { map, .. }
        | Action::Take { map, .. }
        | Action::Record { map, .. }
        | Action::Freeze { map, .. }
        | Action::NextKey { map, .. } => see(line, Kind::Map, map),
        Action::Attach { program, netns, .. } => {
            see(line, Kind::Program, program);
            netns.iter().for_each(|name| see(line, Kind::Netns, name));
        }
        Action::Update { link, program, replacing, .. } => {
            see(line, Kind::Link, link);
            see(line, Kind::Program, program);
            replacing.iter().for_each(|name| see(line, Kind::Program, name));
        }
        Action::Detach { link, .. } => see(line, Kind::Link, link),
        Action::Query(query) => {
            query.netns.iter().for_each(|name| see(line, Kind::Netns, name));
            query.programs.iter().for_each(|name| see(line, Kind::Program, name));
        }
        Action::Info { link, program, .. } => {
            see(line, Kind::Link, link);
            program.iter().for_each(|name| see(line, Kind::Program, name));
        }
        Action::Lookup { map, expect, .. } => {
            see(line, Kind::Map, map);
            if let Found::Socket(name) = expect {
                see(line, Kind::Socket, name);
            }
        }
        Action::Put { map, value, .. } => {
            see(line, Kind::Map, map);
            of_value(line, value, see);
        }
        Action::Open { socket, .. } => of_setup(line, &socket.setup, see),
        Action::Socket { name, operation, .. } => {
            see(line, Kind::Socket, name);
            match operation {
                Operation::AttachReuseport(program) => see(line, Kind::Program, program),
                Operation::Talk(to) => see(line, Kind::Socket, to),
                _ => {}
            }
        }
        Action::Close(_) => {}
    }
}
