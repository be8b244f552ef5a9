//! What a command answers, and how that reaches the user: stdout is the answer, stderr is talk.

use std::io::{self, Write};
use std::process::ExitCode;

use serde_json::{Map, Value, json};
use sklookup_policy::{Origin, Problem};
use sklookup_steering::Error;

use crate::command::run;
use crate::escape::{printable_json, printable_lines};
use crate::rows::Rows;
use crate::verifier_log;

/// Done, or yes.
pub const YES: u8 = 0;
/// The answer is no.
pub const NO: u8 = 1;
/// It could not be done.
pub const COULD_NOT: u8 = 2;

/// Version of the JSON documents, described in `docs/json.md`.
const JSON_VERSION: u32 = 1;

/// What a command answers.
#[derive(Debug)]
pub struct Answer {
    /// Exit status.
    pub exit: u8,
    /// For people; ends with a newline unless empty.
    pub text: String,
    /// For machines: the fields beside `version`, `command` and `ok`.
    pub json: Map<String, Value>,
    /// More of these fields: arrays that may be long.
    pub rows: Vec<(&'static str, Rows)>,
    /// What is worth saying besides, on stderr.
    pub talk: Vec<Said>,
    /// Whether it tells of a change that has been made.
    pub in_effect: bool,
}

/// A sentence and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// What.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
    /// The line of a file it is about.
    pub place: Option<(String, u32)>,
}

/// Why a command could not do what was asked.
#[derive(Debug)]
pub struct Failure {
    /// Exit status.
    pub exit: u8,
    /// Everything that is wrong.
    pub said: Vec<Said>,
}

impl Answer {
    /// Yes, with these fields; `json` must be an object.
    pub fn yes(text: impl Into<String>, json: Value) -> Answer {
        let json = match json {
            Value::Object(fields) => fields,
            other => unreachable!("an answer is an object, not {other}"),
        };
        Answer { exit: YES, text: text.into(), json, rows: Vec::new(), talk: Vec::new(), in_effect: false }
    }

    /// The same with another exit status.
    pub fn exit(self, exit: u8) -> Answer {
        Answer { exit, ..self }
    }

    /// The same about something that has been changed, or not: who can't be told should at least know that.
    pub fn in_effect(self, in_effect: bool) -> Answer {
        Answer { in_effect, ..self }
    }

    /// The same with an array for machines that may be long.
    pub fn with_rows(mut self, name: &'static str, rows: Rows) -> Answer {
        self.rows.push((name, rows));
        self
    }

    /// The same with something to say besides.
    pub fn saying(mut self, said: impl IntoIterator<Item = Said>) -> Answer {
        self.talk.extend(said);
        self
    }
}

impl Said {
    /// A sentence.
    pub fn new(message: impl Into<String>) -> Said {
        Said { message: message.into(), help: None, place: None }
    }

    /// A sentence and what to do.
    pub fn with_help(message: impl Into<String>, help: impl Into<String>) -> Said {
        Said { message: message.into(), help: Some(help.into()), place: None }
    }

    /// As documents show it.
    pub fn json(&self) -> Value {
        let mut fields = json!({ "message": self.message });
        if let Some(help) = &self.help {
            fields["help"] = json!(help);
        }
        if let Some((file, line)) = &self.place {
            fields["file"] = json!(file);
            fields["line"] = json!(line);
        }
        fields
    }

    /// As stderr shows it.
    pub fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        print_all(std::slice::from_ref(self), out)
    }
}

/// What is said, as stderr shows it. Where several sentences have the same help, it comes once, after the last of them.
fn print_all(said: &[Said], out: &mut dyn Write) -> io::Result<()> {
    for together in said.chunk_by(|one, next| one.help == next.help) {
        for said in together {
            writeln!(out, "sklookup: {}", printable_lines(&said.message))?;
        }
        for line in together[0].help.iter().flat_map(|help| help.lines()) {
            writeln!(out, "    {}", printable_lines(line))?;
        }
    }
    Ok(())
}

impl From<&Problem> for Said {
    fn from(problem: &Problem) -> Said {
        let (message, place) = match &problem.origin {
            Some(Origin::File { path, line }) => (
                format!("{}: {}", Origin::File { path: path.clone(), line: *line }, problem.message),
                Some((path.to_string(), *line)),
            ),
            Some(origin @ Origin::Command(_)) => (format!("{origin}: {}", problem.message), None),
            None => (problem.message.clone(), None),
        };
        Said { message, help: problem.help.clone(), place }
    }
}

impl Failure {
    /// It could not be done, for this reason.
    pub fn new(said: Said) -> Failure {
        Failure { exit: COULD_NOT, said: vec![said] }
    }

    /// The same, with something said first.
    pub fn after(mut self, said: Option<Said>) -> Failure {
        self.said.splice(..0, said);
        self
    }

    /// Everything that is wrong with a policy.
    pub fn problems(exit: u8, problems: &[Problem]) -> Failure {
        Failure { exit, said: problems.iter().map(Said::from).collect() }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        match &error {
            Error::Policy(problems) => Failure::problems(COULD_NOT, problems),
            Error::Load(error) if verifier_log::is_refusal(error) => Failure::new(verifier_log::refusal(error)),
            _ => Failure::new(Said { message: error.to_string(), help: error.help(), place: None }),
        }
    }
}

impl From<sklookup_explain::Error> for Failure {
    fn from(error: sklookup_explain::Error) -> Failure {
        match error {
            sklookup_explain::Error::Look(error) => error.into(),
            error @ sklookup_explain::Error::NoAccount(_) => Failure::new(Said::new(error.to_string())),
        }
    }
}

impl From<sklookup_kernel::Error> for Failure {
    fn from(error: sklookup_kernel::Error) -> Failure {
        Error::from(error).into()
    }
}

impl From<sklookup_kernel::NetnsError> for Failure {
    fn from(error: sklookup_kernel::NetnsError) -> Failure {
        Error::from(error).into()
    }
}

/// What a command ends with that could not do what it was asked: `run` keeps 2 for the command that it starts.
pub fn could_not(command: &str) -> u8 {
    if command == "run" { run::FAILED } else { COULD_NOT }
}

/// Prints what came of a command. The exit status is the command's, or that of a failure if stdout took no more.
pub fn finish(command: &str, json: bool, result: Result<Answer, Failure>) -> ExitCode {
    let in_effect = result.as_ref().is_ok_and(|answer| answer.in_effect);
    let (exit, text, fields, rows, said) = match result {
        Ok(answer) => (answer.exit, answer.text, answer.json, answer.rows, answer.talk),
        Err(failure) => {
            let errors: Vec<Value> = failure.said.iter().map(Said::json).collect();
            let fields = Map::from_iter([("errors".to_owned(), Value::Array(errors))]);
            (failure.exit, String::new(), fields, Vec::new(), failure.said)
        }
    };
    let document = if json { document(command, exit, fields, rows, &said) } else { text };
    let printed = print(&document);
    let mut stderr = io::stderr().lock();
    // Talk that nobody hears is no failure.
    let _ = print_all(&said, &mut stderr);
    match printed {
        Ok(()) => ExitCode::from(exit),
        // Whoever read has read enough: a quiet end.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::from(exit),
        Err(error) => {
            let said = match in_effect {
                true => Said::with_help(
                    format!("write the answer: {error}; what was asked is done all the same"),
                    "`sklookup status` shows what is in effect",
                ),
                false => Said::new(format!("write the answer: {error}")),
            };
            let _ = said.print(&mut stderr);
            ExitCode::from(could_not(command))
        }
    }
}

/// A document of one line, of a command that prints one for each thing that happens.
pub fn line(command: &str, fields: Value) -> String {
    let mut document = json!({ "version": JSON_VERSION, "command": command });
    for (name, value) in fields.as_object().into_iter().flatten() {
        document[name] = value.clone();
    }
    printable_json(document.to_string())
}

fn document(command: &str, exit: u8, fields: Map<String, Value>, rows: Vec<(&str, Rows)>, said: &[Said]) -> String {
    let mut document = json!({ "version": JSON_VERSION, "command": command, "ok": exit == YES });
    for (name, value) in fields {
        document[name] = value;
    }
    if ["errors", "warnings"].iter().all(|key| document.get(key).is_none()) && !said.is_empty() {
        document["warnings"] = said.iter().map(Said::json).collect();
    }
    let mut text = document.to_string();
    let end = text.pop();
    for (name, rows) in rows {
        text.push_str(&format!(",\"{name}\":"));
        text.push_str(&rows.into_text());
    }
    text.extend(end);
    let mut text = printable_json(text);
    text.push('\n');
    text
}

fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_that_several_sentences_share_comes_once() {
        let said = [
            Said::with_help("one", "mend it"),
            Said::with_help("two", "mend it"),
            Said::new("three"),
            Said::with_help("four", "mend it"),
        ];
        let mut shown = Vec::new();
        print_all(&said, &mut shown).unwrap();
        let expected = "sklookup: one\nsklookup: two\n    mend it\nsklookup: three\nsklookup: four\n    mend it\n";
        assert_eq!(String::from_utf8(shown).unwrap(), expected);
    }
}
