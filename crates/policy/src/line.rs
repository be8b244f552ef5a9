//! The one-line form of a binding:
//! `LABEL|pass|refuse tcp|udp|tcp,udp DEST[,DEST] [PORTS|*] [from SRC[,SRC]] [dev IF] [when-empty pass|refuse]`.

use std::str::FromStr;

use crate::binding::{Outcome, WhenEmpty};
use crate::entry::{Entry, Origin};
use crate::expand::{Names, Shorthand};
use crate::names::Label;
use crate::policy::MAX_BINDINGS;
use crate::ports::Ports;
use crate::prefix::parse_prefix;
use crate::problem::{Problem, quote};
use crate::protocol::Protocol;

/// Reads the one-line form, such as `web tcp 192.0.2.0/24 80,443 from 198.51.100.0/24`, into its bindings.
///
/// What follows the ports may come in any order.
pub fn parse_binding(words: &str, origin: Origin) -> Result<Vec<Entry>, Problem> {
    parse_binding_up_to(MAX_BINDINGS, words, origin)
}

/// The same for readers that take fewer bindings than a policy can have: more than `most` of them are an error.
pub fn parse_binding_up_to(most: usize, words: &str, origin: Origin) -> Result<Vec<Entry>, Problem> {
    expand(read(words, &mut Names::default()), origin, most)
}

/// Reads the one-line form without its first word, such as `tcp 192.0.2.0/24 80`, into bindings that steer to `label`.
///
/// `when_empty` is what they do without a socket, unless the words say so themselves.
pub fn parse_match(words: &str, label: Label, when_empty: WhenEmpty, origin: Origin) -> Result<Vec<Entry>, Problem> {
    expand(read_match(words, label, when_empty), origin, MAX_BINDINGS)
}

/// Reads the one-line form.
pub(crate) fn read(text: &str, names: &mut Names) -> Result<Shorthand, Problem> {
    let mut words = text.split_whitespace();
    let outcome = match words.next() {
        None => {
            return Err(Problem::new("the binding is empty").help("write one as in \"web tcp 192.0.2.0/24 80\""));
        }
        Some("pass") => Outcome::Pass,
        Some("refuse") => Outcome::Refuse,
        Some(word) if starts_as_protocol(word) => {
            return Err(Problem::new(format!("{} stands where the label is expected", quote(word)))
                .help(format!("put a label, pass or refuse before it, as in \"web {word} 192.0.2.0/24 80\"")));
        }
        Some(word) => Outcome::Steer { label: names.label(word)?, when_empty: WhenEmpty::Refuse },
    };
    read_rest(words, outcome, names)
}

fn expand(shorthand: Result<Shorthand, Problem>, origin: Origin, most: usize) -> Result<Vec<Entry>, Problem> {
    let mut entries = Vec::new();
    match shorthand.and_then(|shorthand| Ok(shorthand.expand(&origin, &mut entries, most)?)) {
        Ok(()) => Ok(entries),
        Err(problem) => Err(problem.at(origin)),
    }
}

fn read_match(text: &str, label: Label, when_empty: WhenEmpty) -> Result<Shorthand, Problem> {
    let words = text.split_whitespace();
    let mut ahead = words.clone();
    if let (Some(first), Some(second)) = (ahead.next(), ahead.next())
        && !starts_as_protocol(first)
        && starts_as_protocol(second)
    {
        return Err(Problem::new(format!("{} stands where the protocol is expected", quote(first)))
            .help("no label or action is given here: start with tcp, udp or tcp,udp, as in \"tcp 192.0.2.0/24 80\""));
    }
    read_rest(words, Outcome::Steer { label, when_empty }, &mut Names::default())
}

fn read_rest<'a>(
    mut words: impl Iterator<Item = &'a str>,
    mut outcome: Outcome,
    names: &mut Names,
) -> Result<Shorthand, Problem> {
    let protocols = words.next().ok_or_else(|| {
        Problem::new("the binding names no protocol").help("tcp, udp or tcp,udp comes after the label or action")
    })?;
    let protocols = list(protocols, Protocol::from_str)?;
    let destinations = words.next().ok_or_else(|| {
        Problem::new("the binding names no destination")
            .help("an address or prefix comes after the protocol, as in \"web tcp 192.0.2.0/24 80\"")
    })?;
    let destinations = list(destinations, parse_prefix)?;

    let (mut ports, mut sources, mut interface, mut when_empty) = (None, None, None, None);
    while let Some(word) = words.next() {
        let mut value = |example: &str| {
            words.next().ok_or_else(|| {
                Problem::new(format!("nothing follows {word}")).help(format!("write it as in \"{word} {example}\""))
            })
        };
        let again = match word {
            "from" => sources.replace(list(value("198.51.100.0/24")?, parse_prefix)?).is_some(),
            "dev" => interface.replace(names.interface(value("eth0")?)?).is_some(),
            "when-empty" => when_empty.replace(value("pass")?.parse()?).is_some(),
            _ if ports.is_none() && sources.is_none() && interface.is_none() && when_empty.is_none() => {
                ports.replace(list(word, Ports::from_str)?).is_some()
            }
            _ => {
                return Err(Problem::new(format!("{} is not expected here", quote(word))).help(
                    "after the ports come from SOURCE, dev INTERFACE and when-empty pass|refuse; \
                     items of a list are separated by commas without blanks",
                ));
            }
        };
        if again {
            return Err(Problem::new(format!("{word} is given twice"))
                .help(format!("say it once: items of a list are separated by commas, and {word} comes before them")));
        }
    }

    if let Some(said) = when_empty {
        match &mut outcome {
            Outcome::Steer { when_empty, .. } => *when_empty = said,
            Outcome::Pass | Outcome::Refuse => {
                return Err(Problem::new(format!("when-empty can't go with {outcome}"))
                    .help("only a label can be without sockets: remove when-empty, or put a label first"));
            }
        }
    }
    let ports = ports.unwrap_or_else(|| vec![Ports::Every]);
    Ok(Shorthand { protocols, destinations, ports, sources: sources.unwrap_or_default(), interface, outcome })
}

impl FromStr for WhenEmpty {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        match text {
            "refuse" => Ok(Self::Refuse),
            "pass" => Ok(Self::Pass),
            _ => Err(Problem::new(format!("when-empty can't be {}", quote(text))).help("write pass or refuse")),
        }
    }
}

/// Reads items separated by commas.
fn list<T>(text: &str, item: impl Fn(&str) -> Result<T, Problem>) -> Result<Vec<T>, Problem> {
    text.split(',')
        .map(|part| match part {
            "" => Err(Problem::new(format!("{} has an empty item", quote(text)))
                .help("separate the items of a list by single commas without blanks")),
            _ => item(part),
        })
        .collect()
}

fn starts_as_protocol(word: &str) -> bool {
    matches!(word.split(',').next(), Some("tcp" | "udp"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin() -> Origin {
        Origin::Command("sklookup bind".into())
    }

    fn texts(entries: &[Entry]) -> Vec<String> {
        entries.iter().map(|entry| entry.binding.to_string()).collect()
    }

    #[test]
    fn each_combination_is_a_binding() {
        let entries = parse_binding("web tcp,udp 192.0.2.0/24,192.0.2.7 80,443 from 10.0.0.0/8,11.0.0.0/8", origin());
        assert_eq!(entries.as_ref().map(Vec::len), Ok(16));
        assert!(entries.unwrap().iter().all(|entry| entry.origin == origin() && entry.owner.is_none()));
    }

    #[test]
    fn what_is_written_twice_counts_once() {
        let entries = parse_binding("web tcp,tcp 192.0.2.7,192.0.2.7/32 80,80-80 from 10.0.0.1,10.0.0.1", origin());
        assert_eq!(texts(&entries.unwrap()), ["web tcp 192.0.2.7 80 from 10.0.0.1"]);
    }

    #[test]
    fn families_are_paired_even_where_the_source_is_everyone() {
        let entries = parse_binding("web tcp 192.0.2.7,2001:db8::7 from ::/0,10.0.0.0/8", origin());
        assert_eq!(texts(&entries.unwrap()), ["web tcp 192.0.2.7 from 10.0.0.0/8", "web tcp 2001:db8::7"]);
    }

    #[test]
    fn clauses_may_come_in_any_order() {
        let entries = parse_binding("web tcp 192.0.2.7 when-empty pass dev lo from 10.0.0.0/8", origin());
        assert_eq!(texts(&entries.unwrap()), ["web tcp 192.0.2.7 from 10.0.0.0/8 dev lo when-empty pass"]);
        assert!(parse_binding("web tcp 192.0.2.7 dev lo 80", origin()).is_err(), "ports are no clause");
    }

    #[test]
    fn a_match_steers_to_the_label_it_is_given() {
        let parse = |words| parse_match(words, "web".parse().unwrap(), WhenEmpty::Pass, origin());
        assert_eq!(texts(&parse("tcp 192.0.2.0/24 80").unwrap()), ["web tcp 192.0.2.0/24 80 when-empty pass"]);
        assert_eq!(texts(&parse("tcp 192.0.2.0/24 when-empty refuse").unwrap()), ["web tcp 192.0.2.0/24"]);
        for (words, word) in [("old tcp 192.0.2.0/24", "old"), ("pass tcp,udp 192.0.2.0/24", "pass")] {
            let problem = parse(words).unwrap_err();
            assert_eq!(problem.message, format!("\"{word}\" stands where the protocol is expected"));
            assert!(problem.help.unwrap().starts_with("no label or action is given here"));
        }
        assert!(parse("").unwrap_err().message.contains("names no protocol"));
    }

    #[test]
    fn too_many_combinations_are_refused_without_being_built() {
        let ports: Vec<String> = (1..=10_000).map(|port| port.to_string()).collect();
        let nets: Vec<String> = (0..10_000).map(|i| format!("10.0.{}.{}", i >> 8, i & 255)).collect();
        let (ports, nets) = (ports.join(","), nets.join(","));
        let problem = parse_binding(&format!("web tcp {nets} {ports} from {nets}"), origin()).unwrap_err();
        assert_eq!(problem.message, "1000000000000 bindings more than the 0 before");
        assert!(problem.help.unwrap().starts_with("at most 1000000 are possible"));
    }
}
