//! `testdata/vectors.txt`: its format, read and written.
//!
//! ```text
//! # a comment
//! base64 v1 | r0 <<= 64
//!   linux refuses: invalid shift 64
//!   instead: r2 = 64; r0 <<= r2
//!   1 0 0 -> . . .
//! ```
//!
//! A line without indentation begins a form: the groups and the version at which bpf_conformance asks for such
//! instructions, and the code. Below it stand its vectors: R0, R1 and 8 bytes of memory before and after, in hexadecimal;
//! a dot is what was there before. Memory is a number of a little-endian machine.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use super::conformance::{Group, of_all};
use super::forms::{self, Form, Refused, State};

/// A form with what it found and what it left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Recorded {
    pub(crate) form: Form,
    pub(crate) vectors: Vec<(State, State)>,
}

const HEADER: &str = "\
# What instructions do, by the answers of Linux 6.18 on x86-64: made by the test `vectors` of this crate, not by hand.
#
# R0, R1 and the 8 bytes of memory that R7 points to, before -> after; a dot: as before. Code is in the text form, `; `
# between instructions, ` | ` before subprograms; `done` is the end. What Linux doesn't load was asked `instead`.
#
# Vectors by the group and the version at which bpf_conformance asks for them:
";

pub(crate) fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/vectors.txt")
}

/// The stored answers.
pub(crate) fn stored() -> Vec<Recorded> {
    parse(&std::fs::read_to_string(path()).unwrap_or_else(|error| panic!("{}: {error}", path().display())))
}

pub(crate) fn render(recorded: &[Recorded]) -> String {
    let mut text = HEADER.to_owned();
    for line in counts(recorded) {
        let _ = writeln!(text, "# {line}");
    }
    for Recorded { form, vectors } in recorded {
        let (groups, version) = of_all(&form.insns());
        let groups: Vec<String> = groups.iter().map(Group::to_string).collect();
        let _ = writeln!(text, "\n{} v{version} | {}", groups.join(","), form.code);
        if let Some(Refused { reason, asked }) = &form.refused {
            let _ = writeln!(text, "  linux refuses: {reason}\n  instead: {asked}");
        }
        for ([r0, r1, word], after) in vectors {
            let same =
                |(before, after): (&u64, &u64)| if before == after { ".".to_owned() } else { format!("{after:x}") };
            let after: Vec<String> = [r0, r1, word].into_iter().zip(after).map(same).collect();
            let _ = writeln!(text, "  {r0:x} {r1:x} {word:x} -> {}", after.join(" "));
        }
    }
    text
}

/// How many vectors there are of each group at each version, and in all.
pub(crate) fn counts(recorded: &[Recorded]) -> Vec<String> {
    let needs: Vec<(Vec<Group>, u8, usize)> = recorded
        .iter()
        .map(|recorded| {
            let (groups, version) = of_all(&recorded.form.insns());
            (groups, version, recorded.vectors.len())
        })
        .collect();
    let count = |group, version| {
        needs.iter().filter(|(groups, at, _)| groups.contains(&group) && *at == version).map(|(.., count)| count).sum()
    };
    let mut lines = vec![format!("{:8}{:>6}{:>6}{:>6}{:>6}", "", "v1", "v2", "v3", "v4")];
    lines.extend(Group::ALL.map(|group| {
        let of_version = |version| -> usize { count(group, version) };
        let [v1, v2, v3, v4] = [1, 2, 3, 4].map(of_version);
        format!("{group:8}{v1:6}{v2:6}{v3:6}{v4:6}")
    }));
    let all: usize = recorded.iter().map(|recorded| recorded.vectors.len()).sum();
    lines.push(format!("in all {all} vectors of {} forms; one of several groups is counted in each", recorded.len()));
    lines
}

fn parse(text: &str) -> Vec<Recorded> {
    let mut recorded: Vec<Recorded> = Vec::new();
    for (line, number) in text.lines().zip(1..) {
        let wrong = |what: &str| -> ! { panic!("{}:{number}: {what}: {line}", path().display()) };
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let Some(of_form) = line.strip_prefix("  ") else {
            let Some((_, code)) = line.split_once(" | ") else { wrong("no code") };
            let form = Form { code: code.to_owned(), refused: None };
            recorded.push(Recorded { form, vectors: Vec::new() });
            continue;
        };
        let Some(last) = recorded.last_mut() else { wrong("of no form") };
        if let Some(reason) = of_form.strip_prefix("linux refuses: ") {
            last.form.refused = Some(Refused { reason: reason.to_owned(), asked: String::new() });
        } else if let Some(asked) = of_form.strip_prefix("instead: ") {
            let Some(refused) = &mut last.form.refused else { wrong("nothing is refused") };
            asked.clone_into(&mut refused.asked);
        } else {
            let Some(vector) = vector(of_form) else { wrong("no vector") };
            last.vectors.push(vector);
        }
    }
    recorded
}

fn vector(line: &str) -> Option<(State, State)> {
    let (before, after) = line.split_once(" -> ")?;
    let numbers: Option<Vec<u64>> = before.split(' ').map(|number| u64::from_str_radix(number, 16).ok()).collect();
    let before: State = numbers?.try_into().ok()?;
    let read = |(word, before): (&str, &u64)| {
        if word == "." { Some(*before) } else { u64::from_str_radix(word, 16).ok() }
    };
    let numbers: Option<Vec<u64>> = after.split(' ').zip(&before).map(read).collect();
    Some((before, numbers?.try_into().ok()?))
}

/// What [`forms`] states is what the kernel was asked; groups and versions are what [`of_all`] says.
pub(crate) fn has_what_is_asked() {
    let stored = stored();
    let asked: Vec<(Form, Vec<State>)> = stored
        .iter()
        .map(|recorded| (recorded.form.clone(), recorded.vectors.iter().map(|(before, _)| *before).collect()))
        .collect();
    assert!(asked == forms::all(), "testdata/vectors.txt is of other forms than tests/vectors/forms.rs");
}

pub(crate) fn round_trip() {
    let text = std::fs::read_to_string(path()).unwrap();
    assert!(render(&parse(&text)) == text, "testdata/vectors.txt is not as it would be written");
}
