//! The examples in docs/json.md, and whether a document has the shape of one of them.

use std::collections::BTreeSet;

use serde_json::Value;

const TEXT: &str = include_str!("../../../../docs/json.md");

/// The heading under which failures of all commands are shown.
const FAILURES: &str = "failures";

/// What docs/json.md shows, and how much of it was seen.
pub struct Documented {
    examples: Vec<Example>,
    lax: Lax,
}

/// Where documents differ from the examples.
struct Lax {
    optional: Keys,
    nullable: Keys,
    /// Numbers or text.
    mixed: Keys,
}

struct Example {
    heading: String,
    document: Value,
    seen: bool,
}

/// Keys that may do without something, wherever they stand.
struct Keys {
    what: &'static str,
    named: BTreeSet<String>,
    seen: BTreeSet<String>,
}

impl Documented {
    /// Reads the file: every block of JSON belongs to the heading above it.
    pub fn read() -> Documented {
        let mut examples = Vec::new();
        let mut heading = String::new();
        let mut block: Option<String> = None;
        for line in TEXT.lines() {
            match &mut block {
                Some(text) if line == "```" => {
                    let document =
                        serde_json::from_str(text).unwrap_or_else(|e| panic!("under {heading}: {e}: {text}"));
                    examples.push(Example { heading: heading.clone(), document, seen: false });
                    block = None;
                }
                Some(text) => text.push_str(line),
                None if line == "```json" => block = Some(String::new()),
                None => heading = line.strip_prefix("## ").map_or(heading, str::to_owned),
            }
        }
        Documented {
            examples,
            lax: Lax {
                optional: Keys::read("missing", "Keys that may be missing:"),
                nullable: Keys::read("null", "Keys that may be `null`:"),
                mixed: Keys::read("both", "Keys that may be a number or text:"),
            },
        }
    }

    /// What the examples are of.
    pub fn headings(&self) -> BTreeSet<&str> {
        self.examples.iter().map(|example| example.heading.as_str()).collect()
    }

    /// Makes sure that a document has the shape of an example for its command.
    pub fn compare(&mut self, actual: &Value) {
        let heading = match actual.get("errors") {
            Some(_) => FAILURES,
            None => actual["command"].as_str().expect("every answer names its command"),
        };
        let mut misfits = Vec::new();
        for example in self.examples.iter_mut().filter(|example| example.heading == heading) {
            let mut found = Found::default();
            match compare(actual, &example.document, "", &self.lax, &mut found) {
                Ok(()) => {
                    example.seen = true;
                    self.lax.optional.seen.extend(found.missing);
                    self.lax.nullable.seen.extend(found.null);
                    return;
                }
                Err(misfit) => misfits.push(misfit),
            }
        }
        panic!("no example under `{heading}` looks like {actual:#}\n{misfits:#?}");
    }

    /// Makes sure that all that is documented was seen, but failures, which have a test of their own.
    pub fn is_complete(&self) {
        for example in &self.examples {
            assert!(
                example.seen,
                "nothing printed looks like this under `{}`: {:#}",
                example.heading, example.document
            );
        }
        // The first is shown by the tests of `status`. The others are so for who may read a state and neither open its
        // link nor enter its namespace: more grants than a test should make.
        let not_made = ["index-now", "link", "selectable"];
        for keys in [&self.lax.optional, &self.lax.nullable] {
            let never = keys.named.difference(&keys.seen).filter(|key| !not_made.contains(&key.as_str()));
            let never: Vec<_> = never.collect();
            assert!(never.is_empty(), "never {}, though documented so: {never:?}", keys.what);
        }
    }
}

impl Keys {
    /// Reads the keys in backticks of the paragraph that begins so.
    fn read(what: &'static str, start: &str) -> Keys {
        let (_, rest) = TEXT.split_once(start).expect("the paragraph is there");
        let paragraph = rest.split("\n\n").next().unwrap_or_default();
        let named = paragraph.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        Keys { what, named, seen: BTreeSet::new() }
    }
}

/// What a document did without.
#[derive(Default)]
struct Found {
    missing: BTreeSet<String>,
    null: BTreeSet<String>,
}

fn compare(actual: &Value, example: &Value, key: &str, lax: &Lax, found: &mut Found) -> Result<(), String> {
    let misfit = |what: String| Err(format!("{key}: {what}"));
    match (actual, example) {
        (Value::Null, _) if lax.nullable.named.contains(key) => drop(found.null.insert(key.to_owned())),
        (Value::Object(actual), Value::Object(example)) => {
            if let Some(more) = actual.keys().find(|key| !example.contains_key(*key)) {
                return misfit(format!("`{more}` is not in the example"));
            }
            for (key, example) in example {
                match actual.get(key) {
                    Some(actual) => compare(actual, example, key, lax, found)?,
                    None if lax.optional.named.contains(key) => drop(found.missing.insert(key.clone())),
                    None => return misfit(format!("`{key}` is missing")),
                }
            }
        }
        (Value::Array(actual), Value::Array(examples)) => {
            for element in actual {
                let mut misfits = Vec::new();
                let fits = examples
                    .iter()
                    .any(|example| compare(element, example, key, lax, found).map_err(|e| misfits.push(e)).is_ok());
                if !fits {
                    return misfit(format!("an element fits no example: {misfits:?}"));
                }
            }
        }
        (Value::Bool(_), Value::Bool(_))
        | (Value::Number(_), Value::Number(_))
        | (Value::String(_), Value::String(_)) => {}
        (Value::Number(_), Value::String(_)) | (Value::String(_), Value::Number(_))
            if lax.mixed.named.contains(key) => {}
        (actual, Value::Null) if lax.nullable.named.contains(key) && !actual.is_object() && !actual.is_array() => {}
        (actual, example) => return misfit(format!("{actual} where the example has {example}")),
    }
    Ok(())
}
