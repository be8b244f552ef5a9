//! `list --sockets`: per registered socket who has it, and what it gets beyond its bind.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt::Write;
use std::net::SocketAddr;

use ipnet::IpNet;
use serde_json::{Value, json};
use sklookup_compiler::Family;
use sklookup_policy::{Binding, Label, Ports, Protocol};
use sklookup_steering::Sum;
use sklookup_steering::status::{Health, LabelStatus, SocketOwner, SocketStatus};

use super::order::Sort;
use super::table::Table;
use super::taken::{Alike, alike, by_destination, some};
use super::{Listed, Picked};
use crate::command::status::{family, holder, owners};
use crate::counts::{self, many};
use crate::escape::printable;

/// Sockets of one label that are bound alike: one socket, or a reuseport group.
pub struct Group<'a> {
    label: &'a Label,
    protocol: Protocol,
    local: Option<SocketAddr>,
    /// Each once, though a dual-stack socket stands in two slots.
    members: Vec<&'a SocketStatus>,
    families: BTreeSet<Family>,
    gets: Vec<Alike<'a>>,
    /// What its bindings counted.
    sum: Sum,
    /// How many of its bindings ask for what it is bound to.
    bound: usize,
}

/// The sockets that get what is listed. Those that no binding names are among them if bindings were not picked.
pub fn groups<'a>(
    labels: &'a [LabelStatus],
    listed: &[Listed<'a>],
    picked: &Picked<'_>,
    sort: Option<Sort>,
) -> Vec<Group<'a>> {
    let mut bindings: HashMap<(&Label, Protocol), Vec<Listed<'a>>> = HashMap::new();
    for &(entry, counts) in listed {
        if let Some(label) = entry.binding.label() {
            bindings.entry((label, entry.binding.protocol)).or_default().push((entry, counts));
        }
    }
    let mut groups: Vec<Group<'a>> = Vec::new();
    for label in labels.iter().filter(|label| picked.takes_label(&label.label)) {
        let of_label = groups.len();
        for socket in label.sockets.iter().filter(|socket| picked.takes_socket(socket)) {
            let alike = |group: &&mut Group<'_>| {
                group.protocol == socket.slot.protocol
                    && group.local == socket.local
                    && (socket.local.is_some() || group.members[0].slot.cookie == socket.slot.cookie)
            };
            let group = match groups[of_label..].iter_mut().find(alike) {
                Some(group) => group,
                None => {
                    groups.push(Group::new(&label.label, socket));
                    groups.last_mut().expect("it was pushed above")
                }
            };
            group.families.insert(socket.slot.family);
            if group.members.iter().all(|member| member.slot.cookie != socket.slot.cookie) {
                group.members.push(socket);
            }
        }
    }
    for group in &mut groups {
        group.fill(bindings.get(&(group.label, group.protocol)).map_or(&[][..], Vec::as_slice));
    }
    groups.retain(|group| group.sum.bindings > 0 || !picked.picks_bindings());
    if let Some(sort) = sort {
        sort.sort(&mut groups, |group| (group.sum, group.label.to_string(), group.local));
    }
    groups
}

impl<'a> Group<'a> {
    fn new(label: &'a Label, socket: &SocketStatus) -> Group<'a> {
        Group {
            label,
            protocol: socket.slot.protocol,
            local: socket.local,
            members: Vec::new(),
            families: BTreeSet::new(),
            gets: Vec::new(),
            sum: Sum::default(),
            bound: 0,
        }
    }

    /// Takes what is for it of the bindings of its label and protocol.
    fn fill(&mut self, bindings: &[Listed<'a>]) {
        let families = &self.families;
        let own = bindings.iter().filter(|(entry, _)| families.contains(&Family::from(&entry.binding.destination)));
        let own: Vec<Listed<'a>> = own.copied().collect();
        for (entry, counts) in &own {
            self.sum.add(&Sum::of(&entry.binding, counts));
        }
        self.bound = own.iter().filter(|(entry, _)| self.is_bound_to(&entry.binding)).count();
        self.gets = alike(by_destination(&own));
    }

    /// Whether the regular lookup would give it what the binding takes.
    fn is_bound_to(&self, binding: &Binding) -> bool {
        let Some(local) = self.local else { return false };
        let address = local.ip().is_unspecified() || binding.destination == IpNet::from(local.ip());
        let port = matches!(binding.ports, Ports::Range(range) if range.width() == 1 && range.first == local.port());
        address && port
    }

    fn families(&self) -> Vec<&'static str> {
        self.families.iter().copied().map(family).collect()
    }

    /// The processes that hold its members, each once.
    fn owners(&self) -> Vec<SocketOwner> {
        let mut seen = HashSet::new();
        let all = self.members.iter().flat_map(|member| &member.owners);
        all.filter(|owner| seen.insert(owner.pid)).cloned().collect()
    }

    /// For machines.
    pub fn json(&self) -> Value {
        let gets = self.gets.iter().map(|alike| {
            let mut fields = alike.line.what.json(&alike.line.sum);
            // The group says which label.
            fields.remove("label");
            let prefixes: Vec<String> = alike.prefixes.iter().map(IpNet::to_string).collect();
            fields.insert("prefixes".to_owned(), json!(prefixes));
            fields.insert("count".to_owned(), json!(alike.count));
            Value::Object(fields)
        });
        json!({
            "label": self.label.to_string(),
            "protocol": self.protocol.to_string(),
            "local": self.local.map(|local| local.to_string()),
            "families": self.families(),
            "members": self.members.iter().map(|member| Value::Object(holder(member))).collect::<Vec<Value>>(),
            "bindings": self.sum.bindings,
            "bound": self.bound,
            "counts": counts::json(&self.sum),
            "gets": gets.collect::<Vec<Value>>(),
        })
    }

    /// For people: a line, and below it what it gets.
    fn write(&self, text: &mut String) -> std::fmt::Result {
        /// How many lines of what it gets.
        const SHOWN: usize = 10;
        /// How many prefixes that are not next to each other in such a line.
        const NAMED: usize = 4;
        let local = self.local.map_or_else(|| "-".to_owned(), |local| local.to_string());
        let several = if self.members.len() > 1 { format!(" ({} sockets)", self.members.len()) } else { String::new() };
        writeln!(
            text,
            "{} {local}{several}  {}  {}  {}",
            self.protocol,
            self.families().join("+"),
            self.label,
            owners(&self.owners())
        )?;
        for member in &self.members {
            if let Health::Dead(why) = &member.health {
                writeln!(text, "    DEAD: {}", printable(why))?;
            }
        }
        if self.sum.bindings == 0 {
            return writeln!(text, "    no binding names {} for it", self.label);
        }
        let bound = match self.bound {
            0 => String::new(),
            bound => format!(" ({bound} for what it is bound to)"),
        };
        writeln!(text, "    {}{bound}, {}", many(self.sum.bindings, "binding"), counts::text(&self.sum))?;
        let mut table = Table::bare();
        for Alike { prefixes, count, line } in self.gets.iter().take(SHOWN) {
            let of = if *count > prefixes.len() { format!(" ({count} prefixes)") } else { String::new() };
            let runs = if self.gets.len() > 1 { counts::text(&line.sum) } else { String::new() };
            table.row([format!("{}{of}", some(prefixes, NAMED)), printable(&line.what.to_string()), runs]);
        }
        for line in table.to_string().lines() {
            writeln!(text, "    {line}")?;
        }
        if self.gets.len() > SHOWN {
            let more = self.gets.len() - SHOWN;
            writeln!(text, "    and {more} more: `sklookup list --addresses --label {}` has them all", self.label)?;
        }
        Ok(())
    }
}

/// For people.
pub fn text(groups: &[Group<'_>]) -> String {
    let mut text = String::new();
    for (number, group) in groups.iter().enumerate() {
        if number > 0 {
            text.push('\n');
        }
        group.write(&mut text).expect("a String takes all");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::tests::{counted, policy};
    use super::*;
    use sklookup_steering::Registered;
    use sklookup_steering::status::Health;

    fn socket(family: Family, member: u32, cookie: u64, local: &str) -> SocketStatus {
        let owner = SocketOwner { pid: 40 + cookie as u32, name: "nginx\u{1b}".to_owned(), unit: None };
        SocketStatus {
            slot: Registered { family, protocol: Protocol::Tcp, member, cookie },
            local: Some(local.parse().unwrap()),
            owners: vec![owner],
            health: Health::Selectable,
        }
    }

    fn label(name: &str, sockets: Vec<SocketStatus>) -> LabelStatus {
        LabelStatus { label: name.parse().unwrap(), sum: Sum::default(), sockets, missing: Vec::new() }
    }

    fn shown(labels: &[LabelStatus], lines: &[&str], picked: &Picked<'_>) -> String {
        let policy = policy(lines);
        text(&groups(labels, &counted(&policy), picked, None))
    }

    #[test]
    fn a_dual_stack_socket_is_one_and_gets_both_families() {
        let sockets = vec![socket(Family::V4, 0, 1, "[::]:8080"), socket(Family::V6, 0, 1, "[::]:8080")];
        let text = shown(
            &[label("web", sockets)],
            &["web tcp 192.0.2.0/24 80,443", "web tcp ::1 8080", "web udp ::1 53", "other tcp ::1 81"],
            &Picked::ALL,
        );
        assert_eq!(
            text,
            "\
tcp [::]:8080  ipv4+ipv6  web  nginx\\u{1b} (pid 41)
    3 bindings (1 for what it is bound to), 0 hook runs
    192.0.2.0/24  tcp 80,443  0 hook runs
    ::1           tcp 8080    0 hook runs
"
        );
    }

    #[test]
    fn a_reuseport_group_is_shown_once_with_all_who_hold_it() {
        let sockets = (0..4).map(|n| socket(Family::V4, n, 1 + u64::from(n), "0.0.0.0:80")).collect();
        let text = shown(&[label("web", sockets)], &["web tcp 192.0.2.0/24"], &Picked::ALL);
        assert!(text.starts_with("tcp 0.0.0.0:80 (4 sockets)  ipv4  web  nginx\\u{1b} (pid 41), "), "{text}");
        assert!(text.lines().next().unwrap().ends_with(", 1 more"), "{text}");
    }

    #[test]
    fn thousands_of_bindings_of_one_label_are_a_line() {
        let lines: Vec<String> = (0..4096).map(|n| format!("web tcp 10.0.{}.{} 80", n >> 8, n & 255)).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let text = shown(&[label("web", vec![socket(Family::V4, 0, 1, "127.0.0.1:80")])], &lines, &Picked::ALL);
        assert!(text.ends_with("    4096 bindings, 0 hook runs\n    10.0.0.0/20 (4096 prefixes)  tcp 80\n"), "{text}");
    }

    #[test]
    fn a_socket_that_no_binding_names_is_shown_unless_bindings_are_picked() {
        let labels = [label("spare", vec![socket(Family::V4, 0, 1, "127.0.0.1:80")])];
        assert!(shown(&labels, &[], &Picked::ALL).contains("no binding names spare"));
        assert_eq!(shown(&labels, &[], &Picked { port: Some(80), ..Picked::ALL }), "");
    }
}
