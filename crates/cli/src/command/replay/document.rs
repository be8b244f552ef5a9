//! What came of a replay, for machines; docs/json.md has its shape.

use serde_json::{Map, Value, json};
use sklookup_policy::{Entry, Policy};
use sklookup_replay::{Aside, Format, Report, Traffic};

use super::input::Input;
use super::sums::{Changes, Sums};
use super::text::link;
use crate::render;

/// What one policy would do. With `wanted` false the lists are left out: nobody looks.
pub fn sums(sums: &Sums<'_>, policy: &Policy, wanted: bool) -> Value {
    let labels = sums
        .labels
        .iter()
        .map(|(label, traffic)| json!({ "label": label.as_str(), "traffic": self::traffic(*traffic) }));
    let binding = |(&index, (traffic, example)): (&usize, &(Traffic, &sklookup_policy::Packet))| {
        let mut fields = render::entry(&policy.entries()[index]);
        fields.insert("traffic".to_owned(), self::traffic(*traffic));
        fields.insert("example".to_owned(), json!(example.to_string()));
        Value::Object(fields)
    };
    let bindings: Vec<Value> = if wanted { sums.bindings.iter().map(binding).collect() } else { Vec::new() };
    json!({
        "total": traffic(sums.total),
        "outcomes": {
            "steered": traffic(sums.steered),
            "passed": traffic(sums.passed),
            "refused": traffic(sums.refused),
            "no-binding": traffic(sums.unmatched),
            "interface-not-told": traffic(sums.untold),
        },
        "labels": labels.collect::<Vec<Value>>(),
        "bindings": bindings,
        "bindings-without-traffic": policy.len() - sums.bindings.len(),
    })
}

/// What differs between two.
pub fn changes(changes: &Changes<'_>, wanted: bool) -> Value {
    let decision = |entry: Option<&Entry>| entry.map(|entry| Value::Object(render::entry(entry)));
    let change = |change: &super::sums::Change<'_>| {
        json!({
            "from": decision(change.from),
            "to": decision(change.to),
            "traffic": traffic(change.traffic),
            "example": change.example.to_string(),
        })
    };
    let rows: Vec<Value> = if wanted { changes.rows.iter().map(change).collect() } else { Vec::new() };
    json!({
        "changed": traffic(changes.changed),
        "unchanged": traffic(changes.unchanged),
        "interface-not-told": traffic(changes.untold),
        "changes": rows,
    })
}

/// What holds of the capture, whatever was asked.
pub fn common(fields: &mut Value, report: &Report, input: &Input) {
    let links = report.links.iter().map(|(&number, packets)| json!({ "link": link(number), "packets": packets }));
    let damage = report.damage.first.as_ref().map(|(offset, fault)| {
        let unread = report.damage.stopped.and_then(|stopped| Some(input.size?.saturating_sub(stopped)));
        json!({
            "offset": offset,
            "what": fault.to_string(),
            "blocks-left-out": report.damage.skipped,
            "stopped-at": report.damage.stopped,
            "unread": unread,
        })
    });
    let aside = Aside::ALL.iter().map(|why| (key(*why).to_owned(), json!(report.aside.get(why).copied().unwrap_or(0))));
    fields["capture"] = json!({
        "file": input.name,
        "format": match report.format {
            Format::Pcap => "pcap",
            Format::Pcapng => "pcapng",
        },
        "packets": report.packets,
        "kept-in-part": report.cut,
        "links": links.collect::<Vec<Value>>(),
        "interrupted": input.interrupted,
        "damage": damage,
    });
    fields["direction"] = json!({
        "local": report.direction.local,
        "capture": report.direction.capture,
        "opening": report.direction.opening,
        "unknown": report.aside.get(&Aside::NoDirection).copied().unwrap_or(0),
    });
    fields["set-aside"] = Value::Object(Map::from_iter(aside));
    fields["unopened-connections"] = json!(report.unopened);
    fields["udp"] = traffic(report.udp);
    fields["udp-answers"] = traffic(report.answers);
    fields["forgotten-flows"] = json!(report.forgotten);
}

fn traffic(traffic: Traffic) -> Value {
    let Traffic { flows, packets, bytes } = traffic;
    json!({ "flows": flows, "packets": packets, "bytes": bytes })
}

fn key(why: Aside) -> &'static str {
    match why {
        Aside::FromHost => "from-host",
        Aside::HostOpened => "host-opened",
        Aside::NoOpening => "no-opening",
        Aside::NoDirection => "no-direction",
        Aside::ToOthers => "to-others",
        Aside::ToMany => "to-many",
        Aside::LoneFragment => "lone-fragment",
        Aside::OtherProtocol => "other-protocol",
        Aside::NotIp => "not-ip",
        Aside::Headers => "headers",
        Aside::Link => "link",
    }
}
