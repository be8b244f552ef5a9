//! What a case starts from.

use ipnet::IpNet;
use sklookup_policy::reading::quote;

use super::map::{Contents, Said};
use super::object::Objects;
use super::tree::{Keys, Node, Read, Value, Wrong};
use super::{map, program, socket};
use crate::case::{Interface, Map, Program, World};

/// Maps by name, and what is in maps of objects.
pub(super) type Maps = (Vec<(String, Map)>, Vec<(String, Contents)>);

/// What a case may set: settings of a network namespace that change nothing outside of it.
const SYSCTLS: [&str; 7] = [
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_migrate_req",
    "net.ipv4.tcp_tw_reuse",
    "net.ipv4.tcp_l3mdev_accept",
    "net.ipv4.udp_l3mdev_accept",
    "net.ipv4.ip_early_demux",
    "net.ipv6.bindv6only",
];

/// The most of each that a case may have: a case is something a person reads.
const MAX_MAPS: usize = 64;
const MAX_PROGRAMS: usize = 100;
const MAX_SOCKETS: usize = 500;
const MAX_NAMESPACES: usize = 16;
const MAX_LINKS: usize = 500;

/// The world of a case, and what it says of maps that are none of its own.
pub(super) fn read(keys: &mut Keys, objects: &Objects<'_>) -> Read<(World, Vec<(String, Contents)>)> {
    let line = keys.line;
    let netns: Vec<String> = texts(keys, "netns", "netns = [\"other\"]")?;
    few(netns.len(), "netns", MAX_NAMESPACES, line)?;
    let sysctls =
        keys.named("sysctl", "sysctl.\"net.ipv4.tcp_syncookies\" = 2")?.into_iter().map(sysctl).collect::<Read<_>>()?;
    let interfaces = keys.named("interface", "interface.v0 = [\"192.0.2.1/24\"]")?;
    let interfaces =
        bounded(interfaces, "interface", MAX_NAMESPACES)?.into_iter().map(interface).collect::<Read<_>>()?;
    let local = keys.take("local").map(|node| prefixes(&node, "local")).transpose()?.unwrap_or_default();
    let ((maps, filled), programs) = (maps(keys)?, programs(keys, objects)?);
    let sockets = keys.named("socket", "socket.A = \"tcp 127.0.0.1:80\"")?;
    let sockets = bounded(sockets, "socket", MAX_SOCKETS)?.into_iter().map(|(name, node)| {
        let socket = socket::socket(&node, &format!("socket {name}"))?;
        Ok((name, socket))
    });
    let sockets = sockets.collect::<Read<_>>()?;
    let attached = texts(keys, "link", "link = [\"program\"]")?;
    few(attached.len(), "link", MAX_LINKS, line)?;
    let links = links(attached);
    Ok((World { netns, sysctls, interfaces, local, maps, programs, sockets, links }, filled))
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

/// The maps, and what is said of maps that objects have.
pub(super) fn maps(keys: &mut Keys) -> Read<Maps> {
    let said = keys.named("map", "map.redir = { type = \"sockmap\", entries = 2 }")?;
    let (mut maps, mut filled) = (Vec::new(), Vec::new());
    for (name, node) in bounded(said, "map", MAX_MAPS)? {
        match map::map(&name, node)? {
            Said::Map(map) => maps.push((name, map)),
            Said::Contents(contents) => filled.push((name, contents)),
        }
    }
    Ok((maps, filled))
}

pub(super) fn programs(keys: &mut Keys, objects: &Objects<'_>) -> Read<Vec<(String, Program)>> {
    let programs = keys.named("program", "program.drop = \"r0 = 0; exit\"")?;
    bounded(programs, "program", MAX_PROGRAMS)?
        .into_iter()
        .map(|(name, node)| Ok((name.clone(), program::program(&name, node, objects)?)))
        .collect()
}

fn bounded(items: Vec<(String, Node)>, what: &str, most: usize) -> Read<Vec<(String, Node)>> {
    let line = items.get(most).map_or(0, |(_, node)| node.line);
    few(items.len(), what, most, line)?;
    Ok(items)
}

fn few(count: usize, what: &str, most: usize, line: u32) -> Read<()> {
    if count <= most {
        return Ok(());
    }
    Err(Wrong::new(line, format!("{count} of {what} are too many"), format!("write at most {most}")))
}

/// The strings of an array; none if the key is not there.
fn texts(keys: &mut Keys, key: &'static str, form: &str) -> Read<Vec<String>> {
    keys.take(key).map_or(Ok(Vec::new()), |node| node.texts(key, form))
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
