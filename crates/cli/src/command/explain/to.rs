//! `explain --to`: who sends to a label, or to sockets.

use std::collections::HashSet;
use std::fmt::Write;

use serde_json::{Map, Value, json};
use sklookup_compiler::Family;
use sklookup_explain::{ByLabel, OwnBind, Rival, Serving, Share, ToLabel, ToSocket, ToSockets, to_label, to_sockets};
use sklookup_kernel::process::Process;
use sklookup_policy::{Entry, Label, Policy};
use sklookup_steering::{Error, find};

use super::sockets::Sockets;
use super::{document, policy_of, sentences, sockets};
use crate::args::{Explain, Global, Target};
use crate::context::{existing_state, netns};
use crate::counts::many;
use crate::escape::printable;
use crate::output::{Answer, COULD_NOT, Failure, NO, Said, YES};
use crate::render;

/// How many bindings people are told of; documents have all.
const SHOWN: usize = 20;
/// How many of those that take something from one of them.
const TAKERS: usize = 5;

pub fn to(global: &Global, args: &Explain) -> Result<Answer, Failure> {
    let target: Target = args.to.join(" ").parse().map_err(|why| Failure::new(Said::new(format!("--to: {why}"))))?;
    match (&args.policy, &target) {
        (Some(file), Target::Label(label)) => by_policy(global, &policy_of(file)?, label),
        (Some(_), Target::Pid(_) | Target::Sockets(_)) => Err(Failure::new(Said::with_help(
            "--policy: a file knows labels, and no sockets",
            "write --to LABEL, or leave --policy out",
        ))),
        (None, _) => live(global, &target),
    }
}

/// Who sends there, in the namespace.
fn live(global: &Global, target: &Target) -> Result<Answer, Failure> {
    let state = existing_state(global)?;
    let own = state.is_none().then(|| netns(global)).transpose()?;
    let netns = state.as_ref().map(|state| state.netns()).or(own.as_ref()).expect("one of the two");
    let found = match target {
        Target::Label(label) => {
            return match to_label(netns, state.as_ref(), label) {
                Ok(found) => Ok(label_answer(global, &found)),
                Err(sklookup_explain::Error::Look(error @ (Error::NoLabel { .. } | Error::NotLoaded { .. }))) => {
                    Err(Failure { exit: NO, ..Failure::from(error) })
                }
                Err(error) => Err(error.into()),
            };
        }
        Target::Sockets(wanted) => {
            to_sockets(netns, state.as_ref(), |entry| wanted.describes(find::protocol(entry.protocol), entry.local))?
        }
        Target::Pid(pid) => {
            let process = Process::open(*pid).map_err(Error::from)?;
            let held = process.sockets().map_err(Error::from)?;
            let held: HashSet<u64> = held.into_iter().map(|socket| socket.inode).collect();
            to_sockets(netns, state.as_ref(), |entry| held.contains(&entry.inode))?
        }
    };
    if found.sockets.is_empty() {
        let (what, help) = match target {
            Target::Pid(pid) => (format!("pid {pid} has no"), "it may be in another network namespace: --netns"),
            _ => ("there is no such".to_owned(), "`ss -lntu` lists those there are; for another namespace: --netns"),
        };
        let said = Said::with_help(format!("{what} TCP listener or unconnected UDP socket"), help);
        return Err(Failure { exit: NO, said: vec![said] });
    }
    Ok(sockets_answer(global, &found))
}

/// What a label gets by a policy, applied or not.
fn by_policy(global: &Global, policy: &Policy, label: &Label) -> Result<Answer, Failure> {
    let bindings: Vec<usize> = named_by(policy, label);
    if bindings.is_empty() {
        return Err(Failure { exit: NO, said: vec![Said::new(format!("label {label}: no binding names it"))] });
    }
    let mut text = format!("{label}: {}\n", many(bindings.len(), "binding"));
    write_shares(&mut text, policy, &bindings).expect("a String takes all");
    let shares = if global.json { share_documents(policy, &bindings) } else { Vec::new() };
    let reached = bindings.iter().any(|&binding| Share::of(policy, binding).decides);
    let json = json!({ "label": label.as_str(), "reached": reached, "bindings": shares });
    Ok(Answer::yes(text, json).exit(if reached { YES } else { NO }))
}

fn label_answer(global: &Global, found: &ToLabel) -> Answer {
    let ToLabel { label, bindings, serving, around } = found;
    let is_served = |&binding: &usize| {
        let binding = &around.policy.entries()[binding].binding;
        let served = |serving: &Serving| {
            (serving.protocol, serving.family) == (binding.protocol, Family::from(&binding.destination))
                && !serving.selected.is_empty()
        };
        serving.iter().any(served)
    };
    let reached =
        bindings.iter().filter(|binding| is_served(binding)).any(|&binding| Share::of(&around.policy, binding).decides);
    let text = if global.json { String::new() } else { label_text(found) };
    let bindings = if global.json { share_documents(&around.policy, bindings) } else { Vec::new() };
    let serving: Vec<Value> = serving.iter().map(serving_document).collect();
    let mut json = json!({ "label": label.as_str(), "reached": reached, "bindings": bindings, "serving": serving });
    document::around(around).into_iter().for_each(|(key, value)| json[key] = value);
    Answer::yes(text, json).exit(exit(reached, around.is_whole()))
}

/// Who sends to a label, for people.
pub fn label_text(found: &ToLabel) -> String {
    let ToLabel { label, bindings, serving, around } = found;
    let mut text = format!("{label}: {}\n", many(bindings.len(), "binding"));
    let mut write = || {
        sentences::reservation(&mut text, around)?;
        serving.iter().try_for_each(|serving| write_serving(&mut text, serving, &around.sockets))?;
        text.push('\n');
        write_shares(&mut text, &around.policy, bindings)?;
        sentences::unseen(&mut text, around)
    };
    write().expect("a String takes all");
    text
}

/// What a binding has of what it matches, for people.
#[cfg(feature = "tui")]
pub fn share_text(policy: &Policy, binding: usize) -> String {
    let mut text = String::new();
    write_share(&mut text, policy, &Share::of(policy, binding)).expect("a String takes all");
    text
}

fn sockets_answer(global: &Global, found: &ToSockets) -> Answer {
    let ToSockets { sockets, around } = found;
    let policy = &around.policy;
    let gets_by = |socket: &ToSocket, by: &ByLabel| {
        by.selected.contains(&socket.cookie) && by.bindings.iter().any(|&binding| Share::of(policy, binding).decides)
    };
    let is_reached = |socket: &ToSocket| {
        socket.labels.iter().any(|by| gets_by(socket, by)) || socket.binds.iter().any(|bind| bind.gets)
    };
    let reached = sockets.iter().any(is_reached);
    let mut text = String::new();
    sentences::reservation(&mut text, around).expect("a String takes all");
    let mut documents = Vec::new();
    for socket in sockets {
        write_socket(&mut text, global, socket, found, &mut documents).expect("a String takes all");
    }
    sentences::unseen(&mut text, around).expect("a String takes all");
    let mut json = json!({ "reached": reached, "receivers": documents });
    document::around(around).into_iter().for_each(|(key, value)| json[key] = value);
    Answer::yes(text, json).exit(exit(reached, around.is_whole()))
}

fn exit(reached: bool, is_whole: bool) -> u8 {
    match (is_whole, reached) {
        (false, _) => COULD_NOT,
        (true, true) => YES,
        (true, false) => NO,
    }
}

fn named_by(policy: &Policy, label: &Label) -> Vec<usize> {
    let entries = policy.entries().iter().enumerate();
    entries.filter(|(_, entry)| entry.binding.label() == Some(label)).map(|(index, _)| index).collect()
}

/// What bindings have of what they match: all of them, for machines.
fn share_documents(policy: &Policy, bindings: &[usize]) -> Vec<Value> {
    bindings.iter().map(|&binding| share_document(policy, &Share::of(policy, binding))).collect()
}

/// Some of them, for people.
fn write_shares(text: &mut String, policy: &Policy, bindings: &[usize]) -> std::fmt::Result {
    for &binding in bindings.iter().take(SHOWN) {
        write_share(text, policy, &Share::of(policy, binding))?;
    }
    match bindings.len().saturating_sub(SHOWN) {
        0 => Ok(()),
        more => writeln!(text, "  and {} more; --json has them all", many(more, "binding")),
    }
}

fn write_share(text: &mut String, policy: &Policy, share: &Share) -> std::fmt::Result {
    let line = |index: usize| {
        let entry: &Entry = &policy.entries()[index];
        printable(&format!("{}  # {}", entry.binding, entry.origin))
    };
    let never = if share.decides { "" } else { "  never used: others take all of it" };
    writeln!(text, "  {}{never}", line(share.binding))?;
    for &taker in share.taken_by.iter().take(TAKERS) {
        writeln!(text, "      less {}", line(taker))?;
    }
    match share.taken_by.len().saturating_sub(TAKERS) {
        0 => Ok(()),
        more => writeln!(text, "      less {} more", many(more, "binding")),
    }
}

fn share_document(policy: &Policy, share: &Share) -> Value {
    let entry = |index: usize| render::entry(&policy.entries()[index]);
    let mut fields: Map<String, Value> = entry(share.binding);
    fields.insert("decides".to_owned(), json!(share.decides));
    fields.insert("taken-by".to_owned(), share.taken_by.iter().map(|&taker| Value::Object(entry(taker))).collect());
    Value::Object(fields)
}

fn write_serving(text: &mut String, serving: &Serving, sockets: &Sockets) -> std::fmt::Result {
    let Serving { protocol, family, selected, waiting } = serving;
    let gets = match &selected[..] {
        [] => "no socket that can be selected".to_owned(),
        selected => sockets::one_of(sockets, selected),
    };
    writeln!(text, "  {protocol} over {}: {gets}", family_name(*family))?;
    for &cookie in waiting {
        writeln!(text, "      behind it, or dead: {}", sockets::brief(sockets, cookie))?;
    }
    Ok(())
}

fn serving_document(serving: &Serving) -> Value {
    json!({
        "protocol": serving.protocol.to_string(),
        "family": family_word(serving.family),
        "selected-of": sockets::cookies(&serving.selected),
        "waiting": sockets::cookies(&serving.waiting),
    })
}

fn write_socket(
    text: &mut String,
    global: &Global,
    socket: &ToSocket,
    found: &ToSockets,
    documents: &mut Vec<Value>,
) -> std::fmt::Result {
    let around = &found.around;
    if !text.is_empty() {
        text.push('\n');
    }
    writeln!(text, "{}", sockets::named(&around.sockets, socket.cookie))?;
    sockets::holders(text, &around.sockets, socket.cookie)?;
    let mut labels = Vec::new();
    for by in &socket.labels {
        let ByLabel { label, family, selected, bindings } = by;
        let how = match &selected[..] {
            [one] if *one == socket.cookie => String::new(),
            several if several.contains(&socket.cookie) => {
                format!(", with {} more on its port", several.len() - 1)
            }
            first => format!(": nothing while {} is there", sockets::one_of(&around.sockets, first)),
        };
        writeln!(text, "by label {label}, {}{how}", family_name(*family))?;
        if bindings.is_empty() {
            writeln!(text, "  no binding of it for such packets")?;
        }
        let shares = if global.json {
            share_documents(&around.policy, bindings)
        } else {
            write_shares(text, &around.policy, bindings)?;
            Vec::new()
        };
        labels.push(json!({
            "label": label.as_str(),
            "family": family_word(*family),
            "selected-of": sockets::cookies(selected),
            "bindings": shares,
        }));
    }
    let port = around.sockets.get(&socket.cookie).map_or(0, |seen| seen.entry.local.port());
    let mut binds = Vec::new();
    for bind in &socket.binds {
        write_bind(text, bind, port, found)?;
        binds.push(bind_document(bind, found));
    }
    documents.push(json!({ "cookie": socket.cookie.to_string(), "labels": labels, "binds": binds }));
    Ok(())
}

fn write_bind(text: &mut String, bind: &OwnBind, port: u16, found: &ToSockets) -> std::fmt::Result {
    let around = &found.around;
    let OwnBind { destination, rivals, diverted_by, gets } = bind;
    let to = match destination.prefix_len() {
        0 => format!("every {} address", family_name(Family::from(destination))),
        _ => destination.addr().to_string(),
    };
    let nothing = if *gets { "" } else { "  nothing is left of it" };
    writeln!(text, "by its bind, port {port} of {to}{nothing}")?;
    for Rival { to, interface, matching } in rivals.iter().take(SHOWN) {
        let where_to = to.map(|to| format!(" to {to}")).unwrap_or_default();
        let on = interface.map(|index| format!(" on {}", sentences::interface(around, index))).unwrap_or_default();
        let part = format!("{where_to}{on}");
        let part = if part.is_empty() { "what is left".to_owned() } else { format!("what goes{part}") };
        let who = sockets::one_of(&around.sockets, matching);
        writeln!(text, "{}", printable(&format!("  less {part}: {who}")))?;
    }
    if let more @ 1.. = rivals.len().saturating_sub(SHOWN) {
        writeln!(text, "  less what goes to {more} more addresses that others are bound to")?;
    }
    for &index in diverted_by.iter().take(SHOWN) {
        let entry = &around.policy.entries()[index];
        writeln!(text, "{}", printable(&format!("  less {}  # {}", entry.binding, entry.origin)))?;
    }
    match diverted_by.len().saturating_sub(SHOWN) {
        0 => Ok(()),
        more => writeln!(text, "  less {}; --json has them all", many(more, "more binding")),
    }
}

fn bind_document(bind: &OwnBind, found: &ToSockets) -> Value {
    let around = &found.around;
    let rival = |Rival { to, interface, matching }: &Rival| {
        json!({
            "to": to.map(|to| to.to_string()),
            "interface": interface.map(|index| sentences::interface(around, index)),
            "matching": sockets::cookies(matching),
        })
    };
    let entry = |index: &usize| Value::Object(render::entry(&around.policy.entries()[*index]));
    json!({
        "destination": bind.destination.to_string(),
        "rivals": bind.rivals.iter().map(rival).collect::<Vec<_>>(),
        "diverted-by": bind.diverted_by.iter().map(entry).collect::<Vec<_>>(),
        "gets": bind.gets,
    })
}

fn family_name(family: Family) -> &'static str {
    match family {
        Family::V4 => "IPv4",
        Family::V6 => "IPv6",
    }
}

/// As documents have it.
fn family_word(family: Family) -> &'static str {
    match family {
        Family::V4 => "ipv4",
        Family::V6 => "ipv6",
    }
}
