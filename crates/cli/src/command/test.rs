//! `test`: cases that state how sk_lookup behaves, run on what is there to run them.

use serde_json::{Map, Value, json};
use sklookup_suite::{Case, Engine, Kernel, Report, Row, Verdict, case_files, read_cases};

use crate::args::{On, Test};
use crate::counts::many;
use crate::escape::printable_lines;
use crate::output::{Answer, COULD_NOT, Failure, NO, Said, YES};

pub fn test(args: &Test) -> Result<Answer, Failure> {
    let failed = |problems: Vec<_>| Failure::problems(COULD_NOT, &problems);
    let files = case_files(&args.files).map_err(failed)?;
    let cases = selected(read_cases(&files).map_err(failed)?, args)?;
    let report = match args.on {
        On::Engine => Report::of(&cases, &[&Engine]),
        On::Kernel => Report::of(&cases, &[&Kernel::new()]),
        On::Both => Report::of(&cases, &[&Engine, &Kernel::new()]),
    };
    if report.passed() == 0 && report.failed().next().is_none() {
        return Err(nothing_ran(&report));
    }
    let exit = if report.failed().next().is_none() { YES } else { NO };
    let rows: Vec<Value> = report.rows.iter().map(document).collect();
    let skipped: usize = report.skipped().iter().map(|(_, count)| count).sum();
    let counts =
        json!({ "passed": report.passed(), "failed": report.failed().count(), "skipped": skipped, "cases": rows });
    Ok(Answer::yes(printable_lines(&report.to_string()), counts).exit(exit))
}

/// The cases that were asked for.
fn selected(cases: Vec<Case>, args: &Test) -> Result<Vec<Case>, Failure> {
    let Some(name) = &args.case else {
        if cases.is_empty() {
            let help =
                "docs/cases.md shows how cases are written; of a directory, the files that end in .toml are read";
            return Err(Failure::new(Said::with_help("there is no case in what was named", help)));
        }
        return Ok(cases);
    };
    let all = cases.len();
    let named: Vec<Case> = cases.into_iter().filter(|case| case.name == *name).collect();
    if named.is_empty() {
        let message = format!("no case is called {name}; {} are", many(all, "other"));
        return Err(Failure::new(Said::with_help(message, "without --case all of them run")));
    }
    Ok(named)
}

/// Nothing failed, but nothing was shown either.
fn nothing_ran(report: &Report) -> Failure {
    let reasons: Vec<String> =
        report.skipped().into_iter().map(|(reason, count)| format!("{count} skipped: {reason}")).collect();
    Failure::new(Said::with_help(
        format!("no case could run: {}", reasons.join("; ")),
        "`sklookup doctor` says what the kernel lacks; root has all rights that cases need",
    ))
}

fn document(row: &Row) -> Value {
    let (result, why, step) = match &row.verdict {
        Verdict::Passed => ("passed", None, None),
        Verdict::Skipped(reason) => ("skipped", Some(reason), None),
        Verdict::Failed { line, why } => ("failed", Some(why), *line),
    };
    let mut fields = Map::new();
    fields.insert("case".to_owned(), json!(row.name));
    fields.insert("on".to_owned(), json!(row.executor));
    fields.insert("result".to_owned(), json!(result));
    fields.insert("why".to_owned(), json!(why));
    fields.insert("file".to_owned(), json!(row.file));
    fields.insert("line".to_owned(), json!(step.unwrap_or(row.line)));
    if let Some(source) = &row.source {
        fields.insert("source".to_owned(), json!(source));
    }
    fields.insert("again".to_owned(), json!(row.again()));
    Value::Object(fields)
}
