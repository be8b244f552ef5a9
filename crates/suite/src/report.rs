//! What came of a run: passed, failed, skipped, and how to run one case again.

use std::fmt::{self, Write};

use crate::case::Case;
use crate::executor::{Executor, Verdict, run};

/// What an executor said of a case.
#[derive(Clone, Debug)]
pub struct Row {
    /// The case.
    pub name: String,
    /// Its file.
    pub file: String,
    /// Its line there.
    pub line: u32,
    /// Where its rule is stated.
    pub source: Option<String>,
    /// Who ran it.
    pub executor: &'static str,
    /// What came of it.
    pub verdict: Verdict,
}

/// What came of a run.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Case by case, in the order of the files; of one case executor by executor.
    pub rows: Vec<Row>,
}

impl Report {
    /// Runs every case on every executor.
    pub fn of(cases: &[Case], executors: &[&dyn Executor]) -> Report {
        let rows = cases.iter().flat_map(|case| executors.iter().map(|executor| Row::of(case, *executor)));
        Report { rows: rows.collect() }
    }

    /// How many passed.
    pub fn passed(&self) -> usize {
        self.rows.iter().filter(|row| row.verdict == Verdict::Passed).count()
    }

    /// Those that failed.
    pub fn failed(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| matches!(row.verdict, Verdict::Failed { .. }))
    }

    /// The reasons for which cases were skipped, each with how many, the most frequent first.
    pub fn skipped(&self) -> Vec<(String, usize)> {
        let mut reasons: Vec<(String, usize)> = Vec::new();
        for row in &self.rows {
            let Verdict::Skipped(reason) = &row.verdict else { continue };
            let reason = format!("{}: {reason}", row.executor);
            match reasons.iter_mut().find(|(known, _)| *known == reason) {
                Some((_, count)) => *count += 1,
                None => reasons.push((reason, 1)),
            }
        }
        reasons.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        reasons
    }
}

impl Row {
    /// Runs a case on an executor.
    pub fn of(case: &Case, executor: &dyn Executor) -> Row {
        Row {
            name: case.name.clone(),
            file: case.file.to_string(),
            line: case.line,
            source: case.source.clone(),
            executor: executor.name(),
            verdict: run(executor, case),
        }
    }

    /// The command that runs just this.
    pub fn again(&self) -> String {
        format!("sklookup test {} --case {} --on {}", quoted(&self.file), quoted(&self.name), self.executor)
    }
}

/// The word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

/// `tests/a.toml:7: a-case @ kernel failed: ...`, and how to run it again.
impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Row { name, file, executor, .. } = self;
        match &self.verdict {
            Verdict::Passed => write!(f, "{file}:{}: {name} @ {executor} passed", self.line),
            Verdict::Skipped(reason) => write!(f, "{file}:{}: {name} @ {executor} skipped: {reason}", self.line),
            Verdict::Failed { line, why } => {
                write!(f, "{file}:{}: {name} @ {executor} failed: {why}", line.unwrap_or(self.line))?;
                if let Some(source) = &self.source {
                    write!(f, "\n    the rule: {source}")?;
                }
                write!(f, "\n    again: {}", self.again())
            }
        }
    }
}

/// Every failure, then the sums.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in self.failed() {
            writeln!(f, "{row}")?;
        }
        let skipped = self.skipped();
        let sum: usize = skipped.iter().map(|(_, count)| count).sum();
        writeln!(f, "{} passed, {} failed, {sum} skipped", self.passed(), self.failed().count())?;
        for (reason, count) in skipped {
            f.write_char(' ')?;
            writeln!(f, " {count} skipped: {reason}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, verdict: Verdict) -> Row {
        let (file, source) = ("a b.toml".to_owned(), Some("spec 3".to_owned()));
        Row { name: name.to_owned(), file, line: 3, source, executor: "kernel", verdict }
    }

    #[test]
    fn a_failure_says_where_what_which_rule_and_how_to_see_it_again() {
        let failed = Verdict::Failed { line: Some(7), why: "expected A, got B".to_owned() };
        assert_eq!(
            row("two/A!/B", failed).to_string(),
            "a b.toml:7: two/A!/B @ kernel failed: expected A, got B\n    the rule: spec 3\n    \
             again: sklookup test 'a b.toml' --case 'two/A!/B' --on kernel"
        );
    }

    #[test]
    fn skipped_cases_are_counted_by_reason() {
        let skipped = || Verdict::Skipped("no rights".to_owned());
        let rows = vec![row("a", Verdict::Passed), row("b", skipped()), row("c", skipped())];
        let report = Report { rows };
        assert_eq!(report.to_string(), "1 passed, 0 failed, 2 skipped\n  2 skipped: kernel: no rights\n");
    }
}
