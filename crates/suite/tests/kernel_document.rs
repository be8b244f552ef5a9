//! What docs/kernel-document.md names is there, and the cases that its commands run pass on the engine. On the kernel they
//! pass as trials of `cases`.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use sklookup_suite::{Case, Engine, Executor, Row, Verdict, read_cases};

/// A row of the page: its statement, the names that obey it, the commands that show it.
struct Statement<'a> {
    says: &'a str,
    obeyed_in: Vec<&'a str>,
    commands: Vec<&'a str>,
}

#[test]
fn every_statement_has_the_code_that_obeys_it() {
    let mut wrong = Vec::new();
    for Statement { says, obeyed_in, .. } in statements(&page()) {
        let mut file = None;
        for named in &obeyed_in {
            if named.contains('/') {
                file = std::fs::read_to_string(root().join(named)).ok();
                if file.is_none() {
                    wrong.push(format!("{says}: there is no file {named}"));
                }
            } else if !file.as_ref().is_some_and(|text| named.split("::").all(|name| defines(text, name))) {
                wrong.push(format!("{says}: the file before {named} does not define it"));
            }
        }
        if file.is_none() {
            wrong.push(format!("{says}: no code is named"));
        }
    }
    assert!(wrong.is_empty(), "docs/kernel-document.md:\n{}", wrong.join("\n"));
}

#[test]
fn every_statement_has_commands_that_run_cases_green() {
    // The page's commands are for the root of the repository, and so are the paths in what a failure prints.
    std::env::set_current_dir(root()).unwrap();
    let page = page();
    let mut wrong = Vec::new();
    let mut seen = HashSet::new();
    for Statement { says, commands, .. } in statements(&page) {
        if commands.is_empty() {
            wrong.push(format!("{says}: no command shows it"));
        }
        wrong.extend(commands.into_iter().filter(|command| seen.insert(*command)).flat_map(problems_of));
    }
    let beside = spans(&page).filter(|span| span.starts_with("sklookup ") && !seen.contains(span));
    wrong.extend(beside.flat_map(problems_of));
    assert!(seen.len() > 50, "only {} commands were found", seen.len());
    assert!(wrong.is_empty(), "docs/kernel-document.md:\n{}", wrong.join("\n"));
}

/// What is wrong with a command: it is not the one that a failure prints, less the executor; or a case of it does not pass.
fn problems_of(command: &str) -> Vec<String> {
    let words = command.strip_prefix("sklookup test ").unwrap_or_default();
    let file = words.split(' ').next().unwrap_or_default();
    let cases = match read_cases(&[PathBuf::from(file)]) {
        Ok(cases) => cases,
        Err(problems) => return vec![format!("{command}: {}", problems[0])],
    };
    let runs = |case: &&Case| words == file || format!("{command} --on engine") == again(case);
    let rows: Vec<Row> = cases.iter().filter(runs).map(|case| Row::of(case, &Engine)).collect();
    if rows.is_empty() {
        return vec![format!("{command}: {file} has no such case")];
    }
    rows.iter().filter(|row| row.verdict != Verdict::Passed).map(ToString::to_string).collect()
}

/// The command that a failure of the case prints.
fn again(case: &Case) -> String {
    let (name, file) = (case.name.clone(), case.file.to_string());
    Row { name, file, line: case.line, source: None, executor: Engine.name(), verdict: Verdict::Passed }.again()
}

/// The rows of the page's tables. Their first and last columns are prose and commands, the middle one names.
fn statements(page: &str) -> Vec<Statement<'_>> {
    let lines = page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| The page says"));
    let statements: Vec<Statement> = lines
        .map(|line| match *line.trim_matches('|').split(" | ").collect::<Vec<_>>() {
            [says, obeyed_in, shown_by] => Statement {
                says: says.trim(),
                obeyed_in: spans(obeyed_in).collect(),
                commands: spans(shown_by).collect(),
            },
            _ => panic!("this row has not three columns: {line}"),
        })
        .collect();
    assert!(statements.len() > 25, "only {} statements were found", statements.len());
    statements
}

/// What stands between backticks.
fn spans(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Whether the source defines something of this name, or is about a type of it.
fn defines(source: &str, name: &str) -> bool {
    let keywords = ["fn", "struct", "enum", "trait", "const", "mod", "impl"];
    keywords.iter().any(|keyword| {
        let definition = format!("{keyword} {name}");
        let mut next = source.split(&definition).skip(1).map(|rest| rest.chars().next());
        next.any(|next| next.is_none_or(|c| c != '_' && !c.is_alphanumeric()))
    })
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn page() -> String {
    std::fs::read_to_string(root().join("docs/kernel-document.md")).unwrap()
}
