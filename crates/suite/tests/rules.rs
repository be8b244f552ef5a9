//! docs/rules.md names every rule that a case shows, and counts the cases.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sklookup_suite::{Case, Engine, Executor, Verdict, case_files, read_cases};

/// A row of the page: the rule, then the other columns.
struct Row {
    rule: String,
    columns: Vec<String>,
}

#[test]
fn the_page_counts_the_cases_of_each_rule() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let cases = cases(&root.join("testdata/lookup"));
    let page = std::fs::read_to_string(root.join("docs/rules.md")).unwrap();
    let rows = rows(&page);
    let mut counts: BTreeMap<&str, [usize; 2]> = BTreeMap::new();
    for case in &cases {
        let passes = Engine.run(case) == Verdict::Passed;
        for rule in rules(case) {
            let row = rows.iter().find(|row| row.rule == rule);
            let row = row.unwrap_or_else(|| panic!("{}: {}: docs/rules.md has no rule {rule}", case.file, case.name));
            let count = counts.entry(&row.rule).or_default();
            count[0] += 1;
            count[1] += usize::from(passes);
        }
    }
    let corrected: Vec<String> = rows
        .iter()
        .filter_map(|Row { rule, columns }| {
            let [cases, engine] = counts.get(rule.as_str()).copied().unwrap_or_default();
            let right = columns[1] == cases.to_string() && columns[2] == engine.to_string();
            (!right).then(|| {
                format!("| {rule} | {} | {cases} | {engine} | {} |", columns[0], columns[3]).replace("  |", " |")
            })
        })
        .collect();
    assert!(corrected.is_empty(), "these rows of docs/rules.md are to be:\n{}", corrected.join("\n"));
    for Row { rule, columns } in &rows {
        assert!(columns[1] != "0" || !columns[3].is_empty(), "rule {rule} has no case, and the page does not say why");
    }
}

#[test]
fn every_case_names_its_rule() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for case in cases(&root.join("testdata/lookup")) {
        assert!(!rules(&case).is_empty(), "{}: {} names no rule", case.file, case.name);
    }
}

fn cases(directory: &Path) -> Vec<Case> {
    let files = case_files(&[PathBuf::from(directory)]).unwrap();
    let cases = read_cases(&files).unwrap_or_else(|problems| panic!("{}", problems[0]));
    assert!(cases.len() > 1000, "only {} cases were found", cases.len());
    cases
}

/// The rules in a source such as `spec 4.1 #7, #8, 10.3`.
fn rules(case: &Case) -> Vec<&str> {
    let source = case.source.as_deref().and_then(|source| source.strip_prefix("spec ")).unwrap_or_default();
    let parts = source.split(", ").filter_map(|part| part.split(' ').next());
    parts.filter(|part| part.starts_with(|c: char| c.is_ascii_digit())).collect()
}

fn rows(page: &str) -> Vec<Row> {
    let lines = page.lines().filter_map(|line| line.strip_prefix("| ").and_then(|line| line.strip_suffix('|')));
    let rows: Vec<Row> = lines
        .map(|line| line.split(" | ").map(|column| column.trim().to_owned()).collect::<Vec<_>>())
        .filter(|columns| columns[0].starts_with(|c: char| c.is_ascii_digit()))
        .map(|mut columns| {
            // An empty last column has no blank on both sides.
            columns.resize(5, String::new());
            columns.iter_mut().for_each(|column| *column = column.trim_end_matches('|').trim().to_owned());
            Row { rule: columns.remove(0), columns }
        })
        .collect();
    assert!(rows.len() > 40, "only {} rules were found", rows.len());
    rows
}
