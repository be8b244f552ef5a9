//! One `[[binding]]` table of a policy file.

use std::ops::Range;
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

use crate::binding::{Outcome, WhenEmpty};
use crate::expand::{Names, Shorthand};
use crate::ports::{self, Ports};
use crate::prefix::parse_prefix;
use crate::problem::{Problem, quote};
use crate::protocol::Protocol;

const KEYS: [&str; 8] = ["label", "action", "protocol", "destination", "ports", "source", "interface", "when-empty"];

/// A problem and the bytes of the file it is about.
pub(crate) type Found = (Range<usize>, Problem);

type Value<'a, 'i> = Option<&'a Spanned<DeValue<'i>>>;

/// Reads the keys of a binding, or tells everything that is wrong with them; `header` is where the table starts.
pub(crate) fn read(table: &DeTable<'_>, header: Range<usize>, names: &mut Names) -> Result<Shorthand, Vec<Found>> {
    let mut reader = Reader { header, found: Vec::new() };
    for key in table.keys().filter(|key| !KEYS.contains(&key.get_ref().as_ref())) {
        reader.found.push((key.span(), unknown_key(key.get_ref(), &KEYS)));
    }

    let outcome = reader.outcome(table, names);
    let protocols =
        reader.required(table, "protocol", "\"tcp\", \"udp\" or [\"tcp\", \"udp\"]", text(Protocol::from_str));
    let destinations =
        reader.required(table, "destination", "\"192.0.2.0/24\" or an array of such strings", text(parse_prefix));
    let ports = reader.list(table.get("ports"), "ports", "80, \"8000-8999\", \"*\" or an array of these", port);
    let sources = reader.list(
        table.get("source"),
        "source",
        "\"198.51.100.0/24\" or an array of such strings",
        text(parse_prefix),
    );
    let interface = reader.text(table.get("interface"), "interface", "\"eth0\"", |name| names.interface(name));

    match outcome {
        Some(outcome) if reader.found.is_empty() => Ok(Shorthand {
            protocols,
            destinations,
            ports: if ports.is_empty() { vec![Ports::Every] } else { ports },
            sources,
            interface,
            outcome,
        }),
        _ => {
            reader.found.sort_by_key(|(span, _)| span.start);
            Err(reader.found)
        }
    }
}

/// Why `key` can't stand here, with the nearest of the keys that can.
pub fn unknown_key(key: &str, known: &[&str]) -> Problem {
    let begins = known.iter().copied().find(|candidate| key.len() >= 3 && candidate.starts_with(key));
    let alike = || known.iter().copied().min_by_key(|candidate| distance(key, candidate));
    let help = match begins.or_else(|| alike().filter(|alike| distance(key, alike) <= 2)) {
        Some(meant) => format!("did you mean {meant}?"),
        None => format!("the keys here are {}", known.join(", ")),
    };
    Problem::new(format!("unknown key {}", quote(key))).help(help)
}

/// What a value is, where something else is expected.
pub fn wrong_type(what: &str, value: &DeValue<'_>) -> Problem {
    let kind = match value.type_str() {
        kind @ ("array" | "integer") => format!("an {kind}"),
        kind => format!("a {kind}"),
    };
    Problem::new(format!("{what} is {kind}"))
}

struct Reader {
    header: Range<usize>,
    found: Vec<Found>,
}

impl Reader {
    /// Puts together `action`, `label` and `when-empty`. `None` only with a problem found.
    fn outcome(&mut self, table: &DeTable<'_>, names: &mut Names) -> Option<Outcome> {
        let label = table.get("label");
        let when_empty = table.get("when-empty");
        let said = self.text(when_empty, "when-empty", "\"refuse\" or \"pass\"", WhenEmpty::from_str);
        let action =
            self.text(table.get("action"), "action", "\"steer\", \"pass\" or \"refuse\"", |action| match action {
                "steer" | "pass" | "refuse" => Ok(String::from(action)),
                _ => Err(Problem::new(format!("{} is not an action", quote(action)))
                    .help("write \"steer\", \"pass\" or \"refuse\"")),
            });
        let outcome = match action.as_deref() {
            Some("pass") => Outcome::Pass,
            Some("refuse") => Outcome::Refuse,
            _ => {
                if label.is_none() {
                    let problem = Problem::new("the binding has no label")
                        .help("add label = \"NAME\", or action = \"pass\" or \"refuse\"");
                    self.found.push((self.header.clone(), problem));
                }
                let label = self.text(label, "label", "\"web\"", |label| names.label(label))?;
                return Some(Outcome::Steer { label, when_empty: said.unwrap_or(WhenEmpty::Refuse) });
            }
        };
        for (key, value) in [("label", label), ("when-empty", when_empty)] {
            if let Some(value) = value {
                let problem = Problem::new(format!("{key} can't go with action = \"{outcome}\""))
                    .help(format!("remove {key}, or make the action \"steer\""));
                self.found.push((value.span(), problem));
            }
        }
        Some(outcome)
    }

    fn required<T>(
        &mut self,
        table: &DeTable<'_>,
        key: &str,
        form: &str,
        item: impl FnMut(&DeValue<'_>) -> Option<Result<T, Problem>>,
    ) -> Vec<T> {
        let value = table.get(key);
        if value.is_none() {
            let problem = Problem::new(format!("the binding has no {key}")).help(format!("add {key} = {form}"));
            self.found.push((self.header.clone(), problem));
        }
        self.list(value, key, form, item)
    }

    /// Reads one item or an array of them; `item` has no answer for a value of the wrong type.
    fn list<T>(
        &mut self,
        value: Value<'_, '_>,
        key: &str,
        form: &str,
        mut item: impl FnMut(&DeValue<'_>) -> Option<Result<T, Problem>>,
    ) -> Vec<T> {
        let Some(value) = value else { return Vec::new() };
        let items = match value.get_ref() {
            DeValue::Array(items) => &items[..],
            _ => std::slice::from_ref(value),
        };
        if items.is_empty() {
            let problem = Problem::new(format!("{key} is an empty array")).help(format!("write {key} = {form}"));
            self.found.push((value.span(), problem));
        }
        let mut read = Vec::with_capacity(items.len());
        for value in items {
            let wrong = match item(value.get_ref()) {
                Some(Ok(item)) => {
                    read.push(item);
                    continue;
                }
                Some(Err(problem)) => match value.get_ref().as_str() {
                    Some(text) if text.contains(',') => {
                        problem.help(format!("write {key} = [...], with one item between commas"))
                    }
                    _ => problem,
                },
                None => wrong_type(key, value.get_ref()).help(format!("write {key} = {form}")),
            };
            self.found.push((value.span(), wrong));
        }
        read
    }

    fn text<T>(
        &mut self,
        value: Value<'_, '_>,
        key: &str,
        form: &str,
        read: impl FnOnce(&str) -> Result<T, Problem>,
    ) -> Option<T> {
        let value = value?;
        let problem = match value.get_ref().as_str().map(read) {
            Some(Ok(read)) => return Some(read),
            Some(Err(problem)) => problem,
            None => wrong_type(key, value.get_ref()).help(format!("write {key} = {form}")),
        };
        self.found.push((value.span(), problem));
        None
    }
}

/// Makes a reader of strings one of values.
fn text<T>(read: impl Fn(&str) -> Result<T, Problem>) -> impl Fn(&DeValue<'_>) -> Option<Result<T, Problem>> {
    move |value| value.as_str().map(&read)
}

fn port(value: &DeValue<'_>) -> Option<Result<Ports, Problem>> {
    match value {
        DeValue::Integer(number) => Some(port_number(number)),
        _ => value.as_str().map(Ports::from_str),
    }
}

fn port_number(number: &DeInteger<'_>) -> Result<Ports, Problem> {
    match i64::from_str_radix(number.as_str(), number.radix()) {
        Ok(0) => Err(ports::port_zero()),
        Ok(port @ 1..=0xffff) => Ok(Ports::Range(ports::PortRange::single(port as u16))),
        Ok(below @ ..0) => Err(Problem::new(format!("port {below} is below 1"))
            .help("ports are 1 to 65535; for every port write \"*\" or leave the key out")),
        _ => Err(ports::port_too_high(&number.to_string())),
    }
}

/// How many characters must be changed, added or removed to get from one word to the other, as far as words of the
/// language are long.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().take(32).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &to) in b.iter().enumerate() {
            let change = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
