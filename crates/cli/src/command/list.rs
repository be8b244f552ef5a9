//! `list`: bindings with what they counted, one a line.

use std::fmt::Write;

use ipnet::IpNet;
use serde_json::{Value, json};
use sklookup_compiler::Counts;
use sklookup_policy::{Entry, parse_prefix};
use sklookup_steering::Sum;

use crate::args::{Global, List};
use crate::context::existing_state;
use crate::escape::printable;
use crate::output::{Answer, Failure, NO, Said, YES};
use crate::{counts, render};

pub fn list(global: &Global, args: &List) -> Result<Answer, Failure> {
    let to = args.to.as_deref().map(parse_prefix).transpose().map_err(|problem| {
        Failure::new(Said { message: format!("--to: {}", problem.message), help: problem.help, place: None })
    })?;
    let counted = match existing_state(global)? {
        Some(state) => state.counted()?,
        None => None,
    };
    let steered = counted.is_some();
    let (entries, counts) = match &counted {
        Some((generation, counts)) => (generation.record.policy.entries(), counts.as_slice()),
        None => (&[][..], &[][..]),
    };
    let listed: Vec<(&Entry, &Counts)> =
        entries.iter().zip(counts).filter(|(entry, _)| is_meant(entry, args, to.as_ref())).collect();
    let bindings: Vec<Value> =
        if global.json { listed.iter().map(|(entry, counts)| described(entry, counts)).collect() } else { Vec::new() };
    let exit = if listed.is_empty() { NO } else { YES };
    let nothing = (!steered).then(|| Said::new("nothing is steered here"));
    let text = if global.json { String::new() } else { table(&listed) };
    Ok(Answer::yes(text, json!({ "bindings": bindings })).exit(exit).saying(nothing))
}

fn is_meant(entry: &Entry, args: &List, to: Option<&IpNet>) -> bool {
    let binding = &entry.binding;
    args.label.as_ref().is_none_or(|label| binding.label() == Some(label))
        && args.protocol.is_none_or(|protocol| binding.protocol == protocol)
        && args.port.is_none_or(|port| binding.ports.contains(port))
        && to.is_none_or(|to| binding.destination.contains(to) || to.contains(&binding.destination))
}

/// A binding with its counts, for machines.
pub fn described(entry: &Entry, counted: &Counts) -> Value {
    let mut fields = render::entry(entry);
    fields.insert("counts".to_owned(), counts::json(&Sum::of(&entry.binding, counted)));
    Value::Object(fields)
}

/// Lines of binding, counts and origin, aligned.
pub fn table(listed: &[(&Entry, &Counts)]) -> String {
    /// Beyond this a long line is on its own: it should not push all others to the right.
    const WIDEST: usize = 72;
    let rows: Vec<[String; 3]> = listed
        .iter()
        .map(|(entry, counted)| {
            let run = entry.owner.map(|owner| format!(", while pid {} runs", owner.pid)).unwrap_or_default();
            let binding = printable(&entry.binding.to_string());
            [binding, counts::text(&Sum::of(&entry.binding, counted)), printable(&format!("{}{run}", entry.origin))]
        })
        .collect();
    let width = |column: usize| {
        rows.iter().map(|row| row[column].chars().count()).filter(|&width| width <= WIDEST).max().unwrap_or(0)
    };
    let (first, second) = (width(0), width(1));
    let mut text = String::with_capacity(rows.len() * (first + second + 32));
    for [binding, counts, origin] in &rows {
        writeln!(text, "{binding:first$}  {counts:second$}  # {origin}").expect("a String takes all");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use sklookup_policy::{Origin, Policy, parse_binding};

    fn policy(lines: &[&str]) -> Policy {
        let parse = |line: &&str| parse_binding(line, Origin::Command("x\u{1b}".into())).unwrap();
        Policy::new(lines.iter().flat_map(parse).collect()).unwrap()
    }

    fn listed(args: &List, lines: &[&str]) -> Vec<String> {
        let to = args.to.as_deref().map(|to| parse_prefix(to).unwrap());
        let policy = policy(lines);
        let meant = policy.entries().iter().filter(|entry| is_meant(entry, args, to.as_ref()));
        meant.map(|entry| entry.binding.to_string()).collect()
    }

    const ALL: List = List { label: None, protocol: None, to: None, port: None };
    const LINES: [&str; 3] = ["web tcp 192.0.2.0/24 80-90", "web udp 192.0.2.7", "refuse tcp 2001:db8::/48 80"];

    #[test]
    fn a_prefix_finds_what_contains_it_and_what_it_contains() {
        let to = |prefix: &str| listed(&List { to: Some(prefix.to_owned()), ..ALL }, &LINES);
        assert_eq!(to("192.0.2.7"), [LINES[0], LINES[1]]);
        assert_eq!(to("192.0.0.0/16"), [LINES[0], LINES[1]]);
        assert_eq!(to("192.0.2.8/29"), [LINES[0]]);
        assert_eq!(to("::/0"), [LINES[2]]);
    }

    #[test]
    fn all_filters_must_hold() {
        assert_eq!(listed(&ALL, &LINES).len(), 3);
        assert_eq!(listed(&List { port: Some(80), ..ALL }, &LINES).len(), 3);
        let web = List { label: Some("web".parse().unwrap()), port: Some(85), ..ALL };
        assert_eq!(listed(&web, &LINES), [LINES[0], LINES[1]]);
        let tcp = List { protocol: Some(sklookup_policy::Protocol::Tcp), ..web };
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
