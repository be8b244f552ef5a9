//! Showing things: commands as they would be typed, and what was seen, against what should be.

use std::io::Write;

use clap::Parser;
use serde_json::{Value, json};

use crate::args::{Cli, Command};
use crate::command::demo::network::{Server, ask_tcp, ask_udp};
use crate::command::{apply, bind, register, unload};
use crate::output::{Answer, Failure, NO, Said, YES};

/// The tour, as far as it has come.
#[derive(Debug)]
pub struct Tour {
    /// Print nothing: there will be one document.
    quiet: bool,
    acts: Vec<Act>,
}

#[derive(Debug, Default)]
struct Act {
    title: &'static str,
    commands: Vec<String>,
    seen: Vec<Value>,
    wrong: usize,
    last: Option<Last>,
}

/// What was printed last: commands and what was seen are set apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Last {
    Command,
    Seen,
}

impl Tour {
    /// Nothing was shown yet.
    pub fn new(quiet: bool) -> Tour {
        Tour { quiet, acts: Vec::new() }
    }

    /// A sentence outside the acts.
    pub fn say(&self, text: &str) {
        self.print(text);
    }

    /// Begins an act.
    pub fn act(&mut self, title: &'static str, about: &str) {
        self.acts.push(Act { title, ..Act::default() });
        self.print(&format!("\n{}. {title}\n   {about}", self.acts.len()));
    }

    /// Runs a command of ours as if it had been typed, and shows it.
    pub fn run(&mut self, words: &[&str]) -> Result<(), Failure> {
        let typed: Vec<String> = words.iter().map(|word| quoted(word)).collect();
        self.shell(&format!("sklookup {}", typed.join(" ")));
        self.run_quietly(words)
    }

    /// Runs a command of ours and does not show it.
    pub fn run_quietly(&mut self, words: &[&str]) -> Result<(), Failure> {
        let parsed = Cli::try_parse_from(std::iter::once(&"sklookup").chain(words))
            .map_err(|error| Failure::new(Said::new(error.to_string())))?;
        let global = &parsed.global;
        match &parsed.command {
            Command::Apply(args) => apply::apply(global, args),
            Command::Bind(args) => bind::bind(global, args),
            Command::Register(args) => register::register(global, args),
            Command::Unload(args) => unload::unload(global, args),
            other => unreachable!("the demo has no use for {other:?}"),
        }?;
        Ok(())
    }

    /// Registers a server of the demo under a label.
    pub fn register(&mut self, label: &str, server: &Server) -> Result<(), Failure> {
        self.run(&["register", label, "--pid", &std::process::id().to_string(), "--match", &server.socket()])
    }

    /// Shows a command line of somebody else's.
    pub fn shell(&mut self, line: &str) {
        self.line(Last::Command, &format!("$ {line}"));
        self.here().commands.push(line.to_owned());
    }

    /// Explains what follows.
    pub fn remark(&mut self, text: &str) {
        let last = self.here().last.unwrap_or(Last::Command);
        self.line(last, &format!("({text})"));
    }

    /// Connects, and shows who answers.
    pub fn tcp(&mut self, to: &str, expected: &str) {
        let seen = to.parse().map_or_else(|_| "no address".to_owned(), ask_tcp);
        self.saw(&format!("tcp {to}"), &seen, seen == expected, expected);
    }

    /// Sends a datagram, and shows who answers.
    pub fn udp(&mut self, to: &str, expected: &str) {
        let seen = to.parse().map_or_else(|_| "no address".to_owned(), ask_udp);
        self.saw(&format!("udp {to}"), &seen, seen == expected, expected);
    }

    /// Shows a number that should be another one's equal.
    pub fn count(&mut self, what: &str, seen: usize, expected: usize) {
        self.saw(what, &seen.to_string(), seen == expected, &expected.to_string());
    }

    /// Shows what was seen, and whether it is what should be.
    pub fn saw(&mut self, what: &str, seen: &str, right: bool, expected: &str) {
        let should = if right { String::new() } else { format!("   <- should be {expected}") };
        self.line(Last::Seen, &format!("{what:<24} {seen}{should}"));
        let act = self.here();
        act.seen.push(json!({ "what": what, "seen": seen, "expected": expected, "ok": right }));
        act.wrong += usize::from(!right);
    }

    /// What came of it all.
    pub fn answer(self) -> Answer {
        let wrong: usize = self.acts.iter().map(|act| act.wrong).sum();
        let acts: Vec<Value> = self
            .acts
            .iter()
            .map(|act| json!({ "act": act.title, "commands": act.commands, "seen": act.seen, "ok": act.wrong == 0 }))
            .collect();
        let text = match wrong {
            0 => "\nEverything was as it should be. Next: sklookup run --help\n".to_owned(),
            1 => "\nOne thing was not as it should be; it is marked above.\n".to_owned(),
            wrong => format!("\n{wrong} things were not as they should be; they are marked above.\n"),
        };
        Answer::yes(text, json!({ "acts": acts })).exit(if wrong == 0 { YES } else { NO })
    }

    fn here(&mut self) -> &mut Act {
        if self.acts.is_empty() {
            self.acts.push(Act::default());
        }
        self.acts.last_mut().expect("just made sure")
    }

    fn line(&mut self, kind: Last, text: &str) {
        let apart = self.here().last.replace(kind) != Some(kind);
        self.print(&format!("{}   {text}", if apart { "\n" } else { "" }));
    }

    fn print(&self, text: &str) {
        if !self.quiet {
            // Whoever read has read enough; the tour is short.
            let _ = writeln!(std::io::stdout(), "{text}");
        }
    }
}

fn quoted(word: &str) -> String {
    if word.contains([' ', '[', '*']) { format!("'{word}'") } else { word.to_owned() }
}
