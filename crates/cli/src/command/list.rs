//! `list`: bindings, one a line; or what each socket gets, or what is taken of each address.

mod addresses;
mod order;
mod sockets;
mod table;
mod taken;

use std::collections::HashSet;

use ipnet::IpNet;
use serde_json::{Value, json};
use sklookup_compiler::{Counts, Family};
use sklookup_policy::{Entry, Label, Policy, Protocol, parse_prefix};
use sklookup_steering::Sum;
use sklookup_steering::status::{LabelStatus, SocketStatus, Unseen};

use self::table::Table;
use crate::args::{Global, List};
use crate::context::existing_state;
use crate::escape::printable;
use crate::output::{Answer, Failure, NO, Said, YES};
use crate::rows::Rows;
use crate::socket_match::SocketMatch;
use crate::{counts, render};

pub use order::Sort;

/// A binding with what it counted.
type Listed<'a> = (&'a Entry, &'a Counts);

pub fn list(global: &Global, args: &List) -> Result<Answer, Failure> {
    let to = args.to.as_deref().map(parse_prefix).transpose().map_err(|problem| {
        Failure::new(Said { message: format!("--to: {}", problem.message), help: problem.help, place: None })
    })?;
    let picked = Picked {
        label: args.label.as_ref(),
        protocol: args.protocol,
        to: to.as_ref(),
        port: args.port,
        pid: args.pid,
        matches: &args.matches,
    };
    let seen = look(global, args)?;
    let steered = seen.is_some();
    let seen = seen.unwrap_or_default();
    let held = picked.held(&seen.labels);
    let entries = seen.policy.entries().iter().zip(&seen.counts);
    let mut listed: Vec<Listed<'_>> = entries.filter(|(entry, _)| picked.takes(entry, held.as_ref())).collect();

    let nothing = Answer::yes("", json!({}));
    let (some, answer) = if args.sockets {
        let groups = sockets::groups(&seen.labels, &listed, &picked, args.sort);
        let answer = match global.json {
            true => nothing.with_rows("sockets", groups.iter().map(|group| group.json()).collect()),
            false => Answer { text: sockets::text(&groups), ..nothing },
        };
        (!groups.is_empty(), answer)
    } else if args.addresses {
        let answer = match global.json {
            true => nothing.with_rows("addresses", addresses::json(&listed, args.sort)),
            false => Answer { text: addresses::text(&listed, args.sort), ..nothing },
        };
        (!listed.is_empty(), answer)
    } else {
        if let Some(sort) = args.sort {
            sort.sort(&mut listed, |(entry, counts)| {
                let binding = &entry.binding;
                (Sum::of(binding, counts), binding.outcome.to_string(), (binding.destination, binding.ports.first()))
            });
        }
        let answer = match global.json {
            true => nothing.with_rows("bindings", bindings(&listed)),
            false => Answer { text: table(&listed), ..nothing },
        };
        (!listed.is_empty(), answer)
    };
    let nothing = (!steered).then(|| Said::new("nothing is steered here"));
    let unseen = seen.unseen.iter().map(|Unseen { what, why }| Said::new(format!("not seen: {what}: {why}")));
    Ok(answer.exit(if some { YES } else { NO }).saying(nothing.into_iter().chain(unseen)))
}

/// What each registered socket gets, for people: as `list --sockets` has it.
#[cfg(feature = "tui")]
pub fn sockets_text(state: &sklookup_steering::State) -> Result<String, sklookup_steering::Error> {
    let Some((in_effect, _)) = state.observe()? else { return Ok(String::new()) };
    let listed: Vec<Listed<'_>> = in_effect.record.policy.entries().iter().zip(&in_effect.counts).collect();
    let all = Picked { label: None, protocol: None, to: None, port: None, pid: None, matches: &[] };
    Ok(sockets::text(&sockets::groups(&in_effect.labels, &listed, &all, None)))
}

/// What is listed, and what it is picked by.
#[derive(Default)]
struct Seen {
    policy: Policy,
    counts: Vec<Counts>,
    /// Empty where nobody asks for sockets.
    labels: Vec<LabelStatus>,
    unseen: Vec<Unseen>,
}

/// What is in effect; who has which socket only if that is asked for: it means looking through every process.
fn look(global: &Global, args: &List) -> Result<Option<Seen>, Failure> {
    let Some(state) = existing_state(global)? else { return Ok(None) };
    if args.asks_for_sockets() {
        let observed = state.observe()?;
        return Ok(observed.map(|(in_effect, unseen)| Seen {
            policy: in_effect.record.policy,
            counts: in_effect.counts,
            labels: in_effect.labels,
            unseen,
        }));
    }
    let seen = |(generation, counts): (sklookup_steering::Generation, _)| Seen {
        policy: generation.record.policy,
        counts,
        ..Seen::default()
    };
    Ok(state.counted()?.map(seen))
}

/// The filters.
#[derive(Clone, Copy)]
struct Picked<'a> {
    label: Option<&'a Label>,
    protocol: Option<Protocol>,
    to: Option<&'a IpNet>,
    port: Option<u16>,
    pid: Option<u32>,
    matches: &'a [SocketMatch],
}

/// Which packets of which label sockets get.
type Held<'a> = HashSet<(&'a Label, Protocol, Family)>;

impl Picked<'_> {
    /// No filter.
    #[cfg(test)]
    const ALL: Picked<'static> = Picked { label: None, protocol: None, to: None, port: None, pid: None, matches: &[] };

    /// What the sockets get that are asked for; `None` if none is.
    fn held<'a>(&self, labels: &'a [LabelStatus]) -> Option<Held<'a>> {
        if self.pid.is_none() && self.matches.is_empty() {
            return None;
        }
        let sockets = labels.iter().flat_map(|label| label.sockets.iter().map(move |socket| (&label.label, socket)));
        let wanted = sockets.filter(|(_, socket)| self.takes_socket(socket));
        Some(wanted.map(|(label, socket)| (label, socket.slot.protocol, socket.slot.family)).collect())
    }

    fn takes(&self, entry: &Entry, held: Option<&Held<'_>>) -> bool {
        let binding = &entry.binding;
        self.takes_binding(entry)
            && held.is_none_or(|held| {
                let family = Family::from(&binding.destination);
                binding.label().is_some_and(|label| held.contains(&(label, binding.protocol, family)))
            })
    }

    fn takes_binding(&self, entry: &Entry) -> bool {
        let binding = &entry.binding;
        self.label.is_none_or(|label| binding.label() == Some(label))
            && self.protocol.is_none_or(|protocol| binding.protocol == protocol)
            && self.port.is_none_or(|port| binding.ports.contains(port))
            && self.to.is_none_or(|to| binding.destination.contains(to) || to.contains(&binding.destination))
    }

    fn takes_label(&self, label: &Label) -> bool {
        self.label.is_none_or(|wanted| wanted == label)
    }

    fn takes_socket(&self, socket: &SocketStatus) -> bool {
        let (protocol, local) = (socket.slot.protocol, socket.local);
        let described =
            || self.matches.iter().any(|wanted| local.is_some_and(|local| wanted.describes(protocol, local)));
        self.protocol.is_none_or(|wanted| wanted == protocol)
            && self.pid.is_none_or(|pid| socket.owners.iter().any(|owner| owner.pid == pid))
            && (self.matches.is_empty() || described())
    }

    /// Whether what a socket gets is asked about, and not only which socket it is.
    fn picks_bindings(&self) -> bool {
        self.to.is_some() || self.port.is_some()
    }
}

fn bindings(listed: &[Listed<'_>]) -> Rows {
    listed.iter().map(|(entry, counts)| described(entry, counts)).collect()
}

/// A binding with its counts, for machines.
pub fn described(entry: &Entry, counted: &Counts) -> Value {
    let mut fields = render::entry(entry);
    fields.insert("counts".to_owned(), counts::json(&Sum::of(&entry.binding, counted)));
    Value::Object(fields)
}

/// Lines of binding, counts and origin, aligned.
pub fn table(listed: &[Listed<'_>]) -> String {
    let mut table = Table::bare();
    for (entry, counted) in listed {
        let run = entry.owner.map(|owner| format!(", while pid {} runs", owner.pid)).unwrap_or_default();
        let binding = printable(&entry.binding.to_string());
        let counts = counts::text(&Sum::of(&entry.binding, counted));
        table.row([binding, counts, format!("# {}", printable(&format!("{}{run}", entry.origin)))]);
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use sklookup_policy::{Origin, parse_binding};

    pub fn policy(lines: &[&str]) -> Policy {
        let parse = |line: &&str| parse_binding(line, Origin::Command("x\u{1b}".into())).unwrap();
        Policy::new(lines.iter().flat_map(parse).collect()).unwrap()
    }

    /// Its bindings, which counted nothing.
    pub fn counted(policy: &Policy) -> Vec<Listed<'_>> {
        const NOTHING: &Counts =
            &Counts { hits: 0, no_socket: 0, unsupported: 0, wrong_protocol: 0, wrong_family: 0, already_selected: 0 };
        policy.entries().iter().map(|entry| (entry, NOTHING)).collect()
    }

    fn listed(picked: &Picked<'_>, lines: &[&str]) -> Vec<String> {
        let policy = policy(lines);
        let meant = policy.entries().iter().filter(|entry| picked.takes(entry, None));
        meant.map(|entry| entry.binding.to_string()).collect()
    }

    const LINES: [&str; 3] = ["web tcp 192.0.2.0/24 80-90", "web udp 192.0.2.7", "refuse tcp 2001:db8::/48 80"];

    #[test]
    fn a_prefix_finds_what_contains_it_and_what_it_contains() {
        let to = |prefix: &str| listed(&Picked { to: Some(&parse_prefix(prefix).unwrap()), ..Picked::ALL }, &LINES);
        assert_eq!(to("192.0.2.7"), [LINES[0], LINES[1]]);
        assert_eq!(to("192.0.0.0/16"), [LINES[0], LINES[1]]);
        assert_eq!(to("192.0.2.8/29"), [LINES[0]]);
        assert_eq!(to("::/0"), [LINES[2]]);
    }

    #[test]
    fn all_filters_must_hold() {
        assert_eq!(listed(&Picked::ALL, &LINES).len(), 3);
        assert_eq!(listed(&Picked { port: Some(80), ..Picked::ALL }, &LINES).len(), 3);
        let label = "web".parse().unwrap();
        let web = Picked { label: Some(&label), port: Some(85), ..Picked::ALL };
        assert_eq!(listed(&web, &LINES), [LINES[0], LINES[1]]);
        let tcp = Picked { protocol: Some(Protocol::Tcp), ..web };
        assert_eq!(listed(&tcp, &LINES), [LINES[0]]);
    }

    #[test]
    fn columns_are_aligned_and_names_are_printable() {
        let policy = policy(&["web tcp 192.0.2.0/24 80", "a udp ::/0"]);
        let counts = [Counts { hits: 1000, ..Counts::default() }, Counts::default()];
        let listed: Vec<_> = policy.entries().iter().zip(&counts).collect();
        assert_eq!(
            table(&listed),
            "web tcp 192.0.2.0/24 80  1000 hook runs  # `x\\u{1b}`\na udp ::/0               0 hook runs     # `x\\u{1b}`\n"
        );
    }
}
