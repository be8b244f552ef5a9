//! `explain --ports`: what every port of an address does.

use std::fmt::Write;
use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::{Value, json};
use sklookup_explain::{Found, Gets, PortMap, Span};
use sklookup_policy::{
    Entry, Interface, Outcome, Policy, PortSpan, Problem, Protocol, ToAddress, by_port, parse_prefix,
};

use super::{document, policy_of, sentences, sockets};
use crate::args::{Explain, Global};
use crate::context::{existing_state, netns};
use crate::escape::printable;
use crate::output::{Answer, COULD_NOT, Failure, NO, Said, YES};
use crate::render;

pub fn ports(global: &Global, args: &Explain) -> Result<Answer, Failure> {
    let asked = questions(&args.ports).map_err(|problem| Failure::new(Said::from(&problem)))?;
    match &args.policy {
        Some(file) => Ok(by_policy(&policy_of(file)?, &asked)),
        None => live(global, &asked),
    }
}

/// What is asked: for one protocol, or for both.
fn questions(words: &[String]) -> Result<Vec<ToAddress>, Problem> {
    const FORM: &str =
        "write ADDRESS [tcp|udp] [from SRC] [dev IF], as in: 192.0.2.7 tcp from 198.51.100.0/24 dev eth0";
    let words: Vec<&str> = words.iter().flat_map(|word| word.split_whitespace()).collect();
    let (mut protocol, mut source, mut interface): (Option<Protocol>, Option<IpNet>, Option<Interface>) =
        Default::default();
    let (address, mut rest) = words.split_first().ok_or_else(|| Problem::new("an address is missing").help(FORM))?;
    let destination = parse_prefix(address)?;
    if destination.prefix_len() != destination.max_prefix_len() {
        let one = destination.hosts().next().unwrap_or(destination.addr());
        return Err(Problem::new(format!("{destination} is many addresses")).help(format!("write one of them: {one}")));
    }
    loop {
        rest = match rest {
            [] => break,
            ["from", from, rest @ ..] if source.is_none() => {
                source = Some(parse_prefix(from)?);
                rest
            }
            ["dev", name, rest @ ..] if interface.is_none() => {
                interface = Some(name.parse()?);
                rest
            }
            [word, rest @ ..] if protocol.is_none() && !matches!(*word, "from" | "dev") => {
                protocol = Some(word.parse().map_err(|problem: Problem| problem.help(FORM))?);
                rest
            }
            [word, ..] => return Err(Problem::new(format!("{word:?} can't stand here")).help(FORM)),
        };
    }
    let destination: IpAddr = destination.addr();
    if source.is_some_and(|source| source.addr().is_ipv4() != destination.is_ipv4()) {
        return Err(Problem::new(format!("no packet goes to {destination} from there: one is IPv4, the other IPv6")));
    }
    let protocols = protocol.map_or(vec![Protocol::Tcp, Protocol::Udp], |protocol| vec![protocol]);
    let question = |protocol| ToAddress { protocol, destination, source, interface: interface.clone() };
    Ok(protocols.into_iter().map(question).collect())
}

/// What happens in the namespace.
fn live(global: &Global, asked: &[ToAddress]) -> Result<Answer, Failure> {
    let state = existing_state(global)?;
    let own = state.is_none().then(|| netns(global)).transpose()?;
    let netns = state.as_ref().map(|state| state.netns()).or(own.as_ref()).expect("one of the two");
    let maps = asked.iter().map(|asked| sklookup_explain::ports(netns, state.as_ref(), asked));
    let maps = maps.collect::<Result<Vec<PortMap>, _>>()?;
    let exit = match () {
        () if !maps.iter().all(|map| map.astray.is_some() || map.around.is_whole()) => COULD_NOT,
        () if maps.iter().flat_map(|map| &map.spans).any(Span::reaches) => YES,
        () => NO,
    };
    let mut text = String::new();
    let mut documents = Vec::new();
    for map in &maps {
        if global.json {
            documents.push(map_document(map));
        } else {
            write_map(&mut text, map).expect("a String takes all");
        }
    }
    Ok(Answer::yes(text, json!({ "ports": documents })).exit(exit))
}

/// What a policy decides, applied or not.
fn by_policy(policy: &Policy, asked: &[ToAddress]) -> Answer {
    let mut text = String::new();
    let mut documents = Vec::new();
    let mut is_steered = false;
    for asked in asked {
        let spans = by_port(policy, asked);
        writeln!(text, "{}{}", if text.is_empty() { "" } else { "\n" }, question(asked)).expect("a String takes all");
        let mut shown = Vec::new();
        for PortSpan { ports, some, rest } in &spans {
            let entries = some.iter().copied().chain(*rest).map(|index| Some(&policy.entries()[index]));
            let entries: Vec<Option<&Entry>> = entries.chain(rest.is_none().then_some(None)).collect();
            let lines = entries.iter().map(|entry| (*entry, entry.map_or("regular lookup".to_owned(), decides)));
            write_span(&mut text, &ports.to_string(), &lines.collect::<Vec<_>>()).expect("a String takes all");
            is_steered |= entries.iter().flatten().any(|entry| entry.binding.label().is_some());
            let choices: Vec<Value> = entries
                .iter()
                .map(|entry| json!({ "binding": entry.map(render::entry), "answer": decided(*entry) }))
                .collect();
            shown.push(json!({ "ports": numbers(*ports), "choices": choices }));
        }
        documents.push(asked_document(asked, Value::Null, shown));
    }
    Answer::yes(text, json!({ "ports": documents })).exit(if is_steered { YES } else { NO })
}

/// A map for people.
fn write_map(text: &mut String, map: &PortMap) -> std::fmt::Result {
    let PortMap { asked, astray, spans, around } = map;
    writeln!(text, "{}{}", if text.is_empty() { "" } else { "\n" }, question(asked))?;
    if let Some(astray) = astray {
        return writeln!(text, "=> nobody: {}", sentences::astray_to(*astray, asked.destination));
    }
    sentences::reservation(text, around)?;
    for span in spans {
        let entry = |index: usize| &around.policy.entries()[index];
        let mut lines: Vec<(Option<&Entry>, String)> = Vec::new();
        let choices = span.some.iter().map(|(index, gets)| (Some(*index), gets)).chain([(span.rest, &span.rest_gets)]);
        for (index, gets) in choices {
            lines.push((index.map(entry), who(map, index.map(entry), gets)));
        }
        write_span(text, &span.ports.to_string(), &lines)?;
    }
    sentences::unseen(text, around)
}

/// The lines of a span: who gets what, and by which binding.
fn write_span(text: &mut String, ports: &str, lines: &[(Option<&Entry>, String)]) -> std::fmt::Result {
    for (number, (entry, who)) in lines.iter().enumerate() {
        let ports = if number == 0 { ports } else { "" };
        let is_last = number + 1 == lines.len();
        let condition = match entry {
            Some(entry) if !is_last => format!("{}: ", condition(entry)),
            _ if number > 0 => "else: ".to_owned(),
            _ => String::new(),
        };
        let origin = entry.map(|entry| format!("  # {}  ({})", entry.binding, entry.origin)).unwrap_or_default();
        writeln!(text, "{ports:>11}  {}", printable(&format!("{condition}{who}{origin}")))?;
    }
    Ok(())
}

/// What a binding asks of a packet besides where it goes.
fn condition(entry: &Entry) -> String {
    let source = entry.binding.source.map(|source| format!("from {source}"));
    let interface = entry.binding.interface.as_ref().map(|interface| format!("dev {interface}"));
    source.into_iter().chain(interface).collect::<Vec<_>>().join(" ")
}

fn question(asked: &ToAddress) -> String {
    let source = asked.source.map(|source| format!(" from {source}")).unwrap_or_default();
    let interface = asked.interface.as_ref().map(|interface| format!(" dev {interface}")).unwrap_or_default();
    printable(&format!("{} to {}{source}{interface}", asked.protocol, asked.destination))
}

/// What a binding does, in a word.
fn decides(entry: &Entry) -> String {
    match &entry.binding.outcome {
        Outcome::Pass => "regular lookup".to_owned(),
        outcome => outcome.to_string(),
    }
}

fn who(map: &PortMap, entry: Option<&Entry>, gets: &Gets) -> String {
    let label = entry.and_then(|entry| entry.binding.label()).map(|label| format!("{label}: ")).unwrap_or_default();
    match gets {
        Gets::Socket(cookies) => format!("{label}{}", sockets::one_of(&map.around.sockets, cookies)),
        Gets::Refused => "refuse".to_owned(),
        Gets::Empty => format!("{label}refuse, for no socket of it can be selected"),
        Gets::Regular(found) => {
            let empty = if label.is_empty() { String::new() } else { format!("{label}no socket, ") };
            format!("{empty}regular lookup: {}", regular(map, found))
        }
    }
}

/// What the regular lookup finds, on each interface that makes a difference.
fn regular(map: &PortMap, found: &[Found]) -> String {
    let describe = |Found { interface, matching }: &Found| {
        let who = sockets::one_of(&map.around.sockets, matching);
        match interface {
            Some(index) => format!("on {} {who}", sentences::interface(&map.around, *index)),
            None if found.len() > 1 => format!("else {who}"),
            None => who,
        }
    };
    found.iter().map(describe).collect::<Vec<_>>().join("; ")
}

/// A map for machines.
fn map_document(map: &PortMap) -> Value {
    let span = |span: &Span| {
        let some = span.some.iter().map(|(index, gets)| choice(map, Some(*index), gets));
        let choices: Vec<Value> = some.chain([choice(map, span.rest, &span.rest_gets)]).collect();
        json!({ "ports": numbers(span.ports), "choices": choices })
    };
    let astray = map.astray.map(|astray| sentences::astray_to(astray, map.asked.destination));
    let mut document = asked_document(&map.asked, json!(astray), map.spans.iter().map(span).collect());
    document::around(&map.around).into_iter().for_each(|(key, value)| document[key] = value);
    document
}

fn asked_document(asked: &ToAddress, astray: Value, spans: Vec<Value>) -> Value {
    json!({
        "protocol": asked.protocol.to_string(),
        "destination": asked.destination.to_string(),
        "source": asked.source.map(|source| source.to_string()),
        "interface": asked.interface.as_ref().map(Interface::to_string),
        "why": astray,
        "spans": spans,
    })
}

fn choice(map: &PortMap, index: Option<usize>, gets: &Gets) -> Value {
    let (answer, selected) = match gets {
        Gets::Socket(cookies) => ("socket", sockets::cookies(cookies)),
        Gets::Refused => ("refused", Vec::new()),
        Gets::Empty => ("empty", Vec::new()),
        Gets::Regular(_) => ("regular", Vec::new()),
    };
    let regular: Vec<Value> = match gets {
        Gets::Regular(found) => found
            .iter()
            .map(|Found { interface, matching }| {
                let interface = interface.map(|index| sentences::interface(&map.around, index));
                json!({ "interface": interface, "matching": sockets::cookies(matching) })
            })
            .collect(),
        _ => Vec::new(),
    };
    let binding = index.map(|index| render::entry(&map.around.policy.entries()[index]));
    json!({ "binding": binding, "answer": answer, "selected-of": selected, "regular": regular })
}

/// What a policy decides, in a word.
fn decided(entry: Option<&Entry>) -> &'static str {
    match entry.map(|entry| &entry.binding.outcome) {
        Some(Outcome::Steer { .. }) => "label",
        Some(Outcome::Refuse) => "refused",
        Some(Outcome::Pass) | None => "regular",
    }
}

/// Ports as bindings have them in documents.
fn numbers(ports: sklookup_policy::PortRange) -> Value {
    if ports.first == ports.last { json!(ports.first) } else { json!(ports.to_string()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(words: &[&str]) -> Result<Vec<String>, String> {
        let words: Vec<String> = words.iter().map(ToString::to_string).collect();
        questions(&words).map(|asked| asked.iter().map(question).collect()).map_err(|problem| problem.to_string())
    }

    #[test]
    fn what_is_not_said_is_left_open() {
        assert_eq!(asked(&["192.0.2.7"]).unwrap(), ["tcp to 192.0.2.7", "udp to 192.0.2.7"]);
        assert_eq!(
            asked(&["2001:db8::7 dev eth0", "from", "2001:db8::/48", "udp"]).unwrap(),
            ["udp to 2001:db8::7 from 2001:db8::/48 dev eth0"]
        );
    }

    #[test]
    fn what_is_no_address_or_question_says_what_one_looks_like() {
        for (words, what) in [
            ("192.0.2.0/24", "write one of them: 192.0.2.1"),
            ("::ffff:192.0.2.7", "IPv4 packets match IPv4"),
            ("192.0.2.7 sctp", "tcp"),
            ("192.0.2.7 tcp tcp", "can't stand here"),
            ("192.0.2.7 from", "can't stand here"),
            ("192.0.2.7 from ::/0", "one is IPv4"),
        ] {
            let error = asked(&[words]).unwrap_err();
            assert!(error.contains(what), "{words}: {error}");
        }
    }
}
