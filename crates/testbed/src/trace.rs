//! What commands did at the fault door, and what they made.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use sklookup_kernel::Object;

/// A file to which commands write their calls to the kernel, one after another or at once.
#[derive(Clone, Debug)]
pub struct Trace {
    file: PathBuf,
}

/// A call, as a command wrote it down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Its number in its process, from 1.
    pub number: u32,
    /// Who made it.
    pub pid: u32,
    /// Its name: `mkdir`, `BPF_MAP_CREATE`.
    pub call: String,
    /// What it was made on: a path, `map 812`, or `-`.
    pub on: String,
    /// What came of it: `ok`, an errno, `made map 812`, `killed`, `failed ENOMEM`.
    pub outcome: String,
}

impl Call {
    /// The object that it made.
    pub fn made(&self) -> Option<Object> {
        let (kind, id) = self.outcome.strip_prefix("made ")?.split_once(' ')?;
        let id = id.parse().ok()?;
        match kind {
            "map" => Some(Object::Map(id)),
            "program" => Some(Object::Program(id)),
            "link" => Some(Object::Link(id)),
            _ => None,
        }
    }
}

impl Trace {
    /// A trace in this file, which need not exist yet.
    pub fn new(file: impl AsRef<Path>) -> Trace {
        Trace { file: file.as_ref().to_owned() }
    }

    /// Has a command that is yet to be started write its calls down here.
    pub fn of<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command.env("SKLOOKUP_FAULT_TRACE", &self.file)
    }

    /// Every call so far, in the order in which they were made.
    ///
    /// # Panics
    ///
    /// When a line is none that the fault door writes.
    pub fn calls(&self) -> Vec<Call> {
        let text = std::fs::read_to_string(&self.file).unwrap_or_default();
        let parse = |line: &str| {
            let [number, pid, call, on, outcome] = line.split('\t').collect::<Vec<_>>()[..] else { return None };
            let (call, on, outcome) = (call.to_owned(), on.to_owned(), outcome.to_owned());
            Some(Call { number: number.parse().ok()?, pid: pid.parse().ok()?, call, on, outcome })
        };
        text.lines().map(|line| parse(line).unwrap_or_else(|| panic!("not a line of a trace: {line:?}"))).collect()
    }

    /// Takes the file away, to begin anew.
    pub fn remove(&self) {
        // A command that makes no call writes none.
        let _ = std::fs::remove_file(&self.file);
    }

    /// Every map, program and link that was made.
    pub fn made(&self) -> BTreeSet<Object> {
        self.calls().iter().filter_map(Call::made).collect()
    }
}
