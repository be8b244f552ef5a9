//! One `[[case]]`.

use std::collections::HashSet;
use std::sync::Arc;

use ipnet::IpNet;
use sklookup_policy::reading::quote;

use super::tree::{Keys, Node, Read, Value, Wrong};
use super::{map, program, socket, step};
use crate::case::{Case, Interface, Map, Program, Version, World};

/// What a case may set, and to what range of values it belongs: settings of a network namespace that change nothing
/// outside of it.
const SYSCTLS: [&str; 7] = [
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_migrate_req",
    "net.ipv4.tcp_tw_reuse",
    "net.ipv4.tcp_l3mdev_accept",
    "net.ipv4.udp_l3mdev_accept",
    "net.ipv4.ip_early_demux",
    "net.ipv6.bindv6only",
];

/// The most of anything a case may have: a case is something a person reads.
const MAX_ITEMS: usize = 1000;

/// Definitions at the top of a file: a case uses them by name.
#[derive(Default)]
pub(super) struct Shared {
    maps: Vec<(String, Map)>,
    programs: Vec<(String, Program)>,
}

impl Shared {
    pub(super) fn read(&mut self, keys: &mut Keys) -> Read<()> {
        self.maps = maps(keys)?;
        self.programs = programs(keys)?;
        Ok(())
    }

    /// Gives a case what it names and does not define itself: programs, then the maps that these use too.
    fn lend(&self, case: &mut Case) {
        let lent = missing(&self.programs, &case.world.programs, &names::programs(case));
        case.world.programs.splice(..0, lent);
        let lent = missing(&self.maps, &case.world.maps, &names::maps(case));
        case.world.maps.splice(..0, lent);
    }
}

/// Those that are named and not there yet.
fn missing<T: Clone>(all: &[(String, T)], own: &[(String, T)], named: &HashSet<String>) -> Vec<(String, T)> {
    let is_missing = |name: &String| named.contains(name) && own.iter().all(|(known, _)| known != name);
    all.iter().filter(|(name, _)| is_missing(name)).cloned().collect()
}

pub(super) fn read(node: Node, shared: &Shared, path: &Arc<str>) -> Read<Case> {
    let mut keys = node.keys("a case", "[[case]] and its keys below")?;
    let line = keys.line;
    let node = keys.required("name", "\"a-name\"")?;
    let name = node.text("name", "\"a-name\"")?.to_owned();
    if name.is_empty() || name.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(node.not("name", "a name without blanks, such as \"a-selection-beats-a-drop\""));
    }
    let source = keys.text("source", "where the rule is stated")?;
    let note = keys.text("note", "a sentence")?;
    let kernel = keys.take("kernel").map(|node| version(&node)).transpose()?;
    let world = world(&mut keys)?;
    let steps = step::read(&mut keys)?;
    keys.end()?;
    let mut case = Case { name, file: path.clone(), line, source, kernel, note, world, steps };
    shared.lend(&mut case);
    names::check(&case)?;
    Ok(case)
}

fn version(node: &Node) -> Read<Version> {
    let text = node.text("kernel", "\"5.9\"")?;
    let plain = Version::parse(text).filter(|version| version.to_string() == text);
    plain.ok_or_else(|| node.not("kernel", "the oldest version that it holds for, such as \"5.9\""))
}

fn world(keys: &mut Keys) -> Read<World> {
    let netns =
        keys.take("netns").map(|node| node.texts("netns", "netns = [\"other\"]")).transpose()?.unwrap_or_default();
    let sysctls =
        keys.named("sysctl", "sysctl.\"net.ipv4.tcp_syncookies\" = 2")?.into_iter().map(sysctl).collect::<Read<_>>()?;
    let interfaces = keys.named("interface", "interface.v0 = [\"192.0.2.1/24\"]")?;
    let interfaces = interfaces.into_iter().map(interface).collect::<Read<_>>()?;
    let local = keys.take("local").map(|node| prefixes(&node, "local")).transpose()?.unwrap_or_default();
    let (maps, programs) = (maps(keys)?, programs(keys)?);
    let sockets = keys.named("socket", "socket.A = \"tcp 127.0.0.1:80\"")?;
    let sockets = bounded(sockets, "socket")?.into_iter().map(|(name, node)| {
        let socket = socket::socket(&node, &format!("socket {name}"))?;
        Ok((name, socket))
    });
    let sockets = sockets.collect::<Read<_>>()?;
    let attached = keys.take("link").map(|node| node.texts("link", "link = [\"program\"]")).transpose()?;
    let links = links(attached.unwrap_or_default());
    Ok(World { netns, sysctls, interfaces, local, maps, programs, sockets, links })
}

/// The first link of a program bears its name, the second `program#2`.
fn links(programs: Vec<String>) -> Vec<(String, String)> {
    let mut links: Vec<(String, String)> = Vec::new();
    for program in programs {
        let name = match links.iter().filter(|(_, known)| *known == program).count() {
            0 => program.clone(),
            before => format!("{program}#{}", before + 1),
        };
        links.push((name, program));
    }
    links
}

fn maps(keys: &mut Keys) -> Read<Vec<(String, Map)>> {
    let maps = keys.named("map", "map.redir = { type = \"sockmap\", entries = 2 }")?;
    bounded(maps, "map")?.into_iter().map(|(name, node)| Ok((name.clone(), map::map(&name, node)?))).collect()
}

fn programs(keys: &mut Keys) -> Read<Vec<(String, Program)>> {
    let programs = keys.named("program", "program.drop = \"r0 = 0; exit\"")?;
    bounded(programs, "program")?
        .into_iter()
        .map(|(name, node)| Ok((name.clone(), program::program(&name, node)?)))
        .collect()
}

fn bounded(items: Vec<(String, Node)>, what: &str) -> Read<Vec<(String, Node)>> {
    match items.get(MAX_ITEMS) {
        None => Ok(items),
        Some((_, node)) => Err(Wrong::new(
            node.line,
            format!("{} of {what} are too many", items.len()),
            format!("write at most {MAX_ITEMS}"),
        )),
    }
}

fn sysctl((name, node): (String, Node)) -> Read<(String, String)> {
    let Some(known) = SYSCTLS.iter().find(|known| **known == name) else {
        return Err(Wrong::new(
            node.line,
            format!("sysctl {} is none that a case may set", quote(&name)),
            format!("these may be set: {}", SYSCTLS.join(", ")),
        ));
    };
    let value: u8 = node.number(known, "a small number")?;
    Ok((name, value.to_string()))
}

fn interface((name, node): (String, Node)) -> Read<Interface> {
    const FORM: &str = "[\"192.0.2.1/24\"], or { addresses = [\"192.0.2.1/24\"], outside = [\"192.0.2.9/24\"] }";
    let line = node.line;
    if name.is_empty() || name.len() > 12 || !name.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err(Wrong::new(
            line,
            format!("{} can't be an interface here", quote(&name)),
            "write up to 12 letters and digits",
        ));
    }
    if let Value::List(_) = node.value {
        return Ok(Interface { addresses: prefixes(&node, "interface")?, outside: Vec::new(), name });
    }
    let mut keys = node.keys("interface", FORM)?;
    let mut list = |key| keys.take(key).map(|node| prefixes(&node, key)).transpose();
    let (addresses, outside) = (list("addresses")?.unwrap_or_default(), list("outside")?.unwrap_or_default());
    keys.end()?;
    if name == "lo" && !outside.is_empty() {
        return Err(Wrong::new(line, "nothing is outside of lo", "leave outside out"));
    }
    Ok(Interface { name, addresses, outside })
}

fn prefixes(node: &Node, what: &str) -> Read<Vec<IpNet>> {
    let Value::List(items) = &node.value else { return Err(node.not(what, "an array such as [\"192.0.2.1/24\"]")) };
    items
        .iter()
        .map(|item| {
            item.text(what, "\"192.0.2.1/24\"")?
                .parse()
                .map_err(|_| item.not(what, "an address and a prefix length, such as \"192.0.2.1/24\""))
        })
        .collect()
}

mod names;
