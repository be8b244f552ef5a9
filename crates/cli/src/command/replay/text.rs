//! What came of a replay, for people.

use std::fmt::{Result, Write};

use sklookup_policy::Entry;
use sklookup_replay::{Aside, Damage, Format, Report, Traffic, link_name};

use super::Named;
use super::sums::{Changes, Sums};
use crate::counts::many;
use crate::escape::printable;

/// How wide the column of names is; what is longer stands alone.
const NAMES: usize = 44;

/// What one policy would do.
pub fn sums(sums: &Sums<'_>, report: &Report, policy: &Named, capture: &str) -> String {
    let mut text = String::new();
    write_sums(&mut text, sums, report, policy, capture).expect("a String takes all");
    text
}

/// What differs between two.
pub fn changes(changes: &Changes<'_>, report: &Report, to: &Named, from: &Named, capture: &str) -> String {
    let mut text = String::new();
    write_changes(&mut text, changes, report, [from, to], capture).expect("a String takes all");
    text
}

/// What of the capture could not be read.
pub fn damage(capture: &str, damage: &Damage, size: Option<u64>) -> String {
    let mut text = match &damage.first {
        Some((offset, fault)) => format!("{capture}: damaged at byte {offset}: {fault}"),
        None => return format!("{capture}: not damaged"),
    };
    if damage.skipped > 0 {
        text.push_str(&format!("; {} left out", many(damage.skipped as usize, "block")));
    }
    match damage.stopped {
        None => text.push_str("; the rest was read"),
        Some(offset) => match size {
            Some(size) => text.push_str(&format!("; the last {} were not read", bytes(size.saturating_sub(offset)))),
            None => text.push_str("; what follows was not read"),
        },
    }
    text
}

/// Why packets were set aside, as the end of a line that begins with how many.
pub fn aside(why: Aside) -> &'static str {
    match why {
        Aside::FromHost => "sent by this host",
        Aside::HostOpened => "of TCP connections that this host opened",
        Aside::NoOpening => "of TCP connections opened before the capture",
        Aside::NoDirection => "of UDP, and which way they went is not known",
        Aside::ToOthers => "to other hosts",
        Aside::ToMany => "broadcast or multicast: no socket is looked up",
        Aside::LoneFragment => "later fragments, without the first before them",
        Aside::OtherProtocol => "of other protocols than TCP and UDP",
        Aside::NotIp => "not IP",
        Aside::Headers => "with headers that are broken or cut off",
        Aside::Link => "of link layers that are not read",
    }
}

fn write_sums(text: &mut String, sums: &Sums<'_>, report: &Report, policy: &Named, capture: &str) -> Result {
    head(text, report, capture)?;
    writeln!(text, "policy     {}: {}", policy.name, many(policy.policy.len(), "binding"))?;
    direction(text, report)?;

    columns(text, "outcome")?;
    line(text, "steered", sums.steered, "")?;
    for (label, traffic) in &sums.labels {
        line(text, &format!("  {label}"), *traffic, "")?;
    }
    line(text, "passed by a rule", sums.passed, "")?;
    line(text, "refused by a rule", sums.refused, "")?;
    line(text, "no binding", sums.unmatched, "")?;
    if sums.untold != Traffic::default() {
        line(text, "depends on the interface, which is not told", sums.untold, "")?;
    }
    line(text, "all", sums.total, "")?;

    if !sums.bindings.is_empty() {
        columns(text, "binding")?;
        for (&index, &(traffic, _)) in &sums.bindings {
            let entry = &policy.policy.entries()[index];
            line(text, &entry.binding.to_string(), traffic, &format!("  # {}", entry.origin))?;
        }
    }
    if let Some(idle @ 1..) = policy.policy.len().checked_sub(sums.bindings.len()) {
        writeln!(text, "\n{idle} of {} got nothing", many(policy.policy.len(), "binding"))?;
    }
    tail(text, report, sums.untold)
}

fn write_changes(
    text: &mut String,
    changes: &Changes<'_>,
    report: &Report,
    [from, to]: [&Named; 2],
    capture: &str,
) -> Result {
    head(text, report, capture)?;
    writeln!(text, "from       {}: {}", from.name, many(from.policy.len(), "binding"))?;
    writeln!(text, "to         {}: {}", to.name, many(to.policy.len(), "binding"))?;
    direction(text, report)?;

    columns(text, "outcome")?;
    line(text, "changes", changes.changed, "")?;
    line(text, "stays", changes.unchanged, "")?;
    if changes.untold != Traffic::default() {
        line(text, "depends on the interface, which is not told", changes.untold, "")?;
    }
    for change in &changes.rows {
        let outcome = |entry: Option<&Entry>| match entry {
            Some(entry) => entry.binding.outcome.to_string(),
            None => "no binding".to_owned(),
        };
        let Traffic { flows, packets, bytes } = change.traffic;
        writeln!(
            text,
            "\n{} -> {}: {}, {}, {}",
            outcome(change.from),
            outcome(change.to),
            many(flows as usize, "flow"),
            many(packets as usize, "packet"),
            self::bytes(bytes)
        )?;
        for (sign, entry) in [('-', change.from), ('+', change.to)] {
            if let Some(entry) = entry {
                writeln!(
                    text,
                    "  {sign} {}  # {}",
                    printable(&entry.binding.to_string()),
                    printable(&entry.origin.to_string())
                )?;
            }
        }
        writeln!(text, "  as {}", printable(&change.example.to_string()))?;
    }
    tail(text, report, changes.untold)
}

/// What was read.
fn head(text: &mut String, report: &Report, capture: &str) -> Result {
    let format = match report.format {
        Format::Pcap => "pcap",
        Format::Pcapng => "pcapng",
    };
    let links: Vec<String> = report.links.keys().map(|&link| self::link(link)).collect();
    let of = if links.is_empty() { String::new() } else { format!(" of {}", links.join(", ")) };
    let cut = match report.cut {
        0 => String::new(),
        cut => format!(", {cut} of them kept in part"),
    };
    writeln!(text, "capture    {capture}: {} ({format}{of}){cut}", many(report.packets as usize, "packet"))
}

/// What a link layer is called.
pub fn link(number: u16) -> String {
    link_name(number).map_or_else(|| format!("link type {number}"), str::to_owned)
}

/// How it was known which way packets went.
fn direction(text: &mut String, report: &Report) -> Result {
    let direction = report.direction;
    let unknown = report.aside.get(&Aside::NoDirection).copied().unwrap_or(0);
    let known = [
        (direction.local, "by --local"),
        (direction.capture, "by what the capture says"),
        (direction.opening, "by what opened the connection"),
        (unknown, "not known"),
    ];
    let known: Vec<String> =
        known.iter().filter(|(packets, _)| *packets > 0).map(|(packets, how)| format!("{packets} {how}")).collect();
    match known.is_empty() {
        true => Ok(()),
        false => writeln!(text, "direction  of packets: {}", known.join(", ")),
    }
}

fn columns(text: &mut String, name: &str) -> Result {
    writeln!(text, "\n{name:NAMES$} {:>9} {:>10} {:>14}", "flows", "packets", "bytes")
}

fn line(text: &mut String, name: &str, traffic: Traffic, end: &str) -> Result {
    let Traffic { flows, packets, bytes } = traffic;
    let (name, end) = (printable(name), printable(end));
    writeln!(text, "{name:NAMES$} {flows:>9} {packets:>10} {bytes:>14}{end}")
}

/// What was set aside, and what to know about the rest.
fn tail(text: &mut String, report: &Report, untold: Traffic) -> Result {
    let aside: Vec<(&Aside, &u64)> = report.aside.iter().filter(|(_, packets)| **packets > 0).collect();
    if !aside.is_empty() {
        writeln!(text, "\nset aside, in packets")?;
        for (why, packets) in aside {
            writeln!(text, "{packets:>10} {}", self::aside(*why))?;
        }
    }
    let notes = notes(report, untold);
    if !notes.is_empty() {
        writeln!(text)?;
    }
    notes.iter().try_for_each(|note| writeln!(text, "note  {note}"))
}

/// What can't be known from a capture, as far as it matters here.
fn notes(report: &Report, untold: Traffic) -> Vec<String> {
    let mut notes = Vec::new();
    if report.aside.get(&Aside::NoDirection).is_some_and(|&packets| packets > 0) {
        notes.push("--local PREFIX says which addresses are this host's, and so which way packets went".to_owned());
    } else if report.direction.opening > 0 {
        notes.push("connections that this host opened may be among these: --local PREFIX tells them apart".to_owned());
    }
    if untold != Traffic::default() {
        notes.push("--dev IF says where packets came in of which the capture does not tell it".to_owned());
    }
    if report.udp != Traffic::default() {
        let answers = match report.answers.packets {
            0 => String::new(),
            some => format!("; {some} of the {} answer what this host sent first", report.udp.packets),
        };
        notes.push(format!(
            "no capture tells which UDP sockets are connected: those get their peer's packets without the hook{answers}"
        ));
    }
    if report.unopened > 0 {
        notes.push(format!("opened before the capture: {}", many(report.unopened as usize, "connection")));
    }
    if report.forgotten > 0 {
        notes.push(format!(
            "{} were forgotten to bound the memory: what came of them later counts as opened before the capture, or again",
            many(report.forgotten as usize, "flow")
        ));
    }
    notes
}

fn bytes(number: u64) -> String {
    many(number as usize, "byte")
}
