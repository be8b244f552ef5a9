//! Bindings, packets and changes as JSON and as text: one spelling for all commands.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};
use sklookup_policy::{Binding, Difference, Entry, Origin, Outcome, Ports, WhenEmpty};

use crate::rows::Rows;

/// A binding, spelled as in a policy file.
pub fn binding(binding: &Binding) -> Map<String, Value> {
    let mut fields = Map::new();
    match &binding.outcome {
        Outcome::Steer { label, when_empty } => {
            fields.insert("label".to_owned(), json!(label.to_string()));
            let when_empty = match when_empty {
                WhenEmpty::Refuse => "refuse",
                WhenEmpty::Pass => "pass",
            };
            fields.insert("when-empty".to_owned(), json!(when_empty));
        }
        Outcome::Pass => drop(fields.insert("action".to_owned(), json!("pass"))),
        Outcome::Refuse => drop(fields.insert("action".to_owned(), json!("refuse"))),
    }
    fields.insert("protocol".to_owned(), json!(binding.protocol.to_string()));
    fields.insert("destination".to_owned(), json!(binding.destination.to_string()));
    match binding.ports {
        Ports::Every => {}
        Ports::Range(range) if range.first == range.last => drop(fields.insert("ports".to_owned(), json!(range.first))),
        ports @ Ports::Range(_) => drop(fields.insert("ports".to_owned(), json!(ports.to_string()))),
    }
    if let Some(source) = binding.source {
        fields.insert("source".to_owned(), json!(source.to_string()));
    }
    if let Some(interface) = &binding.interface {
        fields.insert("interface".to_owned(), json!(interface.to_string()));
    }
    fields
}

/// A binding with where it came from, and the `run` that it lives with.
pub fn entry(entry: &Entry) -> Map<String, Value> {
    let mut fields = binding(&entry.binding);
    let origin = match &entry.origin {
        Origin::File { path, line } => json!({ "file": path.as_ref(), "line": line }),
        Origin::Command(command) => json!({ "command": command.as_ref() }),
    };
    fields.insert("origin".to_owned(), origin);
    if let Some(owner) = entry.owner {
        fields.insert("run".to_owned(), json!({ "pid": owner.pid }));
    }
    fields
}

/// What changes between two policies, a line with a sign for each binding.
pub fn difference(difference: &Difference<'_>) -> String {
    let mut text = String::new();
    let mut line = |sign: char, binding: &Binding| writeln!(text, "{sign} {binding}").expect("a String takes all");
    difference.removed.iter().for_each(|binding| line('-', binding));
    for change in &difference.changed {
        line('-', change.before);
        line('+', change.after);
    }
    difference.added.iter().for_each(|binding| line('+', binding));
    text
}

/// The same as an array.
pub fn changes(difference: &Difference<'_>) -> Rows {
    let change = |kind: &str, binding: &Binding| {
        let mut fields = Map::from_iter([("change".to_owned(), json!(kind))]);
        fields.extend(self::binding(binding));
        fields
    };
    let removed = difference.removed.iter().map(|binding| change("removed", binding));
    let changed = difference.changed.iter().map(|changed| {
        let mut fields = change("changed", changed.after);
        fields.insert("before".to_owned(), Value::Object(binding(changed.before)));
        fields
    });
    let added = difference.added.iter().map(|binding| change("added", binding));
    removed.chain(changed).chain(added).map(Value::Object).collect()
}

/// How many of each: `2 added, 1 removed, 0 changed`.
pub fn tally(difference: &Difference<'_>) -> String {
    let Difference { added, removed, changed } = difference;
    format!("{} added, {} removed, {} changed", added.len(), removed.len(), changed.len())
}
