//! The shared cases of `crates/policy/testdata`, and the examples in `docs/policy.md`.

use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;

use sklookup_policy::{Origin, Outcome, Packet, Policy, decide, parse_binding, parse_file};
use toml::{Table, Value};

fn read(path: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The cases of a file; their names are unique.
fn cases(path: &str) -> Vec<Table> {
    let mut file: Table = read(path).parse().unwrap_or_else(|error| panic!("{path}: {error}"));
    let Some(Value::Array(cases)) = file.remove("case") else { panic!("{path} has no [[case]]") };
    let cases: Vec<Table> = cases.into_iter().map(|case| case.as_table().expect("a table").clone()).collect();
    let mut names = HashSet::new();
    for case in &cases {
        assert!(names.insert(string(case, "name")), "{path} has two cases named {}", string(case, "name"));
    }
    cases
}

fn string<'a>(case: &'a Table, key: &str) -> &'a str {
    case.get(key).and_then(Value::as_str).unwrap_or_else(|| panic!("no {key} in {case}"))
}

fn strings<'a>(case: &'a Table, key: &str) -> Vec<&'a str> {
    let items = case.get(key).and_then(Value::as_array).unwrap_or_else(|| panic!("no {key} in {case}"));
    items.iter().map(|item| item.as_str().expect("a string")).collect()
}

/// All failures at once.
fn report(failures: Vec<String>) {
    assert!(failures.is_empty(), "{} failed:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn the_definition_decides_as_the_cases_say() {
    let docs = read("docs/policy.md");
    let anchors: HashSet<String> = (docs.lines().filter_map(|line| line.strip_prefix("## ")))
        .map(|title| format!("docs/policy.md#{}", title.to_lowercase().replace(' ', "-")))
        .collect();
    let mut failures = Vec::new();
    for case in cases("crates/policy/testdata/decide.toml") {
        let name = string(&case, "name");
        if !anchors.contains(string(&case, "source")) {
            failures.push(format!("{name}: no section {}", string(&case, "source")));
        }
        let mut entries = Vec::new();
        for line in strings(&case, "policy") {
            entries.extend(parse_binding(line, Origin::Command(name.into())).unwrap());
        }
        let policy = Policy::new(entries).unwrap();
        let packet: Packet = string(&case, "packet").parse().unwrap();
        let got = match decide(&policy, &packet).winner.map(|winner| &policy.entries()[winner].binding.outcome) {
            None => "no match".to_string(),
            Some(Outcome::Steer { label, .. }) => label.to_string(),
            Some(outcome) => outcome.to_string(),
        };
        if got != string(&case, "expect") {
            failures.push(format!("{name}: expected {}, got {got}", string(&case, "expect")));
        }
    }
    report(failures);
}

#[test]
fn wrong_files_are_reported_word_for_word() {
    let mut failures = Vec::new();
    for case in cases("crates/policy/testdata/errors.toml") {
        let problems = parse_file(string(&case, "text"), "p.toml").and_then(|entries| Policy::new(entries).map(|_| ()));
        let got: Vec<String> = problems.err().unwrap_or_default().iter().map(ToString::to_string).collect();
        let expected = strings(&case, "errors");
        if got != expected {
            let name = string(&case, "name");
            failures.push(format!("{name}: expected\n{}\ngot\n{}\n", expected.join("\n"), got.join("\n")));
        }
    }
    report(failures);
}

#[test]
fn the_examples_of_the_documentation_are_what_they_say() {
    let docs = read("docs/policy.md");
    let (mut right, mut wrong, mut lines) = (0, 0, 0);
    let mut messages = Vec::new();
    for block in docs.split("\n```").skip(1).step_by(2) {
        let (kind, text) = block.split_once('\n').unwrap();
        match kind {
            "toml" => {
                let result = parse_file(text, "policy.toml").and_then(Policy::new);
                assert!(result.is_ok(), "{text}\n{}", result.unwrap_err()[0]);
                right += 1;
            }
            // Shown for what is wrong with it.
            "toml wrong" => {
                let result = parse_file(text, "policy.toml").and_then(Policy::new);
                messages.extend(result.expect_err(text).iter().map(ToString::to_string));
                wrong += 1;
            }
            "binding" => {
                for line in text.lines() {
                    let result = parse_binding(line, Origin::Command(line.into()));
                    assert!(result.is_ok(), "{line}: {}", result.unwrap_err());
                    lines += 1;
                }
            }
            "text" if text.starts_with("policy.toml:") => {
                assert_eq!(messages.last().map(String::as_str), Some(text), "the message shown is not the message");
            }
            "text" => {}
            _ => panic!("a block of unknown kind {kind}"),
        }
    }
    assert!(right > 0 && wrong > 0 && lines > 0, "{right} {wrong} {lines}");
}

#[test]
fn the_worked_example_of_precedence_is_right() {
    let docs = read("docs/policy.md");
    let section = docs.split("\n## ").find(|section| section.starts_with("Precedence")).unwrap();
    let text = section.split("```toml").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let bindings = parse_file(text, "policy.toml").unwrap();
    let policy = Policy::new(bindings.clone()).unwrap();
    let rows: Vec<Vec<&str>> = section
        .lines()
        .filter(|line| line.starts_with("| `tcp"))
        .map(|line| line.split('|').map(|cell| cell.trim().trim_matches('`')).collect())
        .collect();
    assert!(!rows.is_empty());
    for row in rows {
        let packet: Packet = row[1].parse().unwrap();
        let matching = (1..).zip(&bindings).filter(|(_, entry)| entry.binding.matches(&packet));
        let numbers: Vec<String> = matching.map(|(number, _)| number.to_string()).collect();
        assert_eq!(numbers.join(", "), row[2], "{packet}");
        let winner = &policy.entries()[decide(&policy, &packet).winner.unwrap()];
        assert_eq!(winner.binding.label().unwrap().as_str(), row[3], "{packet}");
    }
}
