//! Policy files: TOML with `[[binding]]` tables, one-line `bindings`, or both.

use std::ops::Range;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::entry::{Entry, Origin};
use crate::expand::{Names, Shorthand, Unexpanded};
use crate::line;
use crate::lines::Lines;
use crate::policy::MAX_BINDINGS;
use crate::problem::{Problem, Problems, quote};
use crate::table;

/// The largest policy file, in bytes.
pub const MAX_FILE_BYTES: usize = 256 << 20;

/// The most pieces that TOML may fall into. A million bindings, each a table with every key, are 50 million; the
/// TOML parser needs 50 bytes and 0.15 us for each, which for a file of nothing but commas would be gigabytes.
const MAX_PIECES: usize = 64_000_000;

/// Up to this size a file that is not TOML is read to its end for more errors; noise makes more of them than help.
const MAX_RECOVER_BYTES: usize = 1 << 20;

/// Reads a policy file; `path` is only used to say where something is. A file without bindings is an empty list.
///
/// Fails with everything that is wrong, or with what TOML finds wrong when it is not TOML. Each binding is
/// checked by itself: whether they fit together is the affair of [`Policy::new`](crate::Policy::new).
pub fn parse_file(text: &str, path: &str) -> Result<Vec<Entry>, Vec<Problem>> {
    let path: Arc<str> = path.into();
    if let Some(problem) = too_large(text) {
        return Err(vec![problem.at(Origin::File { path, line: 1 })]);
    }
    let lines = Lines::new(text);
    let document = parse_toml(text, &lines, &path)?;

    let mut reader =
        Reader { path, lines, names: Names::default(), problems: Problems::default(), entries: Vec::new() };
    // In the order of the file: of a binding written twice the first one's line is kept.
    let mut parts: Vec<_> = document.iter().collect();
    parts.sort_by_key(|(key, _)| key.span().start);
    for (key, value) in parts {
        let read = match key.get_ref().as_ref() {
            "bindings" => reader.read_lines(value),
            "binding" => reader.read_tables(value),
            unknown => {
                let problem = table::unknown_key(unknown, &["binding", "bindings"]);
                reader.problem(key.span(), problem);
                Ok(())
            }
        };
        if let Err(TooMany) = read {
            break;
        }
    }
    reader.problems.or(reader.entries)
}

/// More bindings than a policy can hold: reported, and reason to read no further.
struct TooMany;

struct Reader<'a> {
    path: Arc<str>,
    lines: Lines<'a>,
    names: Names,
    problems: Problems,
    entries: Vec<Entry>,
}

impl Reader<'_> {
    fn read_lines(&mut self, value: &Spanned<DeValue<'_>>) -> Result<(), TooMany> {
        const FORM: &str = "write an array of strings: bindings = [\"web tcp 192.0.2.0/24 80\"]";
        let Some(bindings) = value.get_ref().as_array() else {
            self.problem(value.span(), table::wrong_type("bindings", value.get_ref()).help(FORM));
            return Ok(());
        };
        for value in bindings.iter() {
            let shorthand = match value.get_ref().as_str() {
                Some(text) => line::read(text, &mut self.names),
                None => Err(table::wrong_type("an item of bindings", value.get_ref()).help(FORM)),
            };
            match shorthand {
                Ok(shorthand) => self.expand(value.span(), shorthand)?,
                Err(problem) => self.problem(value.span(), problem),
            }
        }
        Ok(())
    }

    fn read_tables(&mut self, value: &Spanned<DeValue<'_>>) -> Result<(), TooMany> {
        const FORM: &str = "write [[binding]] above the keys of each binding";
        let Some(tables) = value.get_ref().as_array() else {
            self.problem(value.span(), table::wrong_type("binding", value.get_ref()).help(FORM));
            return Ok(());
        };
        for value in tables.iter() {
            let Some(keys) = value.get_ref().as_table() else {
                self.problem(value.span(), table::wrong_type("an item of binding", value.get_ref()).help(FORM));
                continue;
            };
            match table::read(keys, value.span(), &mut self.names) {
                Ok(shorthand) => self.expand(value.span(), shorthand)?,
                Err(problems) => problems.into_iter().for_each(|(span, problem)| self.problem(span, problem)),
            }
        }
        Ok(())
    }

    fn expand(&mut self, span: Range<usize>, shorthand: Shorthand) -> Result<(), TooMany> {
        let origin = self.origin(&span);
        let Err(unexpanded) = shorthand.expand(&origin, &mut self.entries, MAX_BINDINGS) else { return Ok(()) };
        let too_many = matches!(unexpanded, Unexpanded::TooMany(_));
        self.problems.add(|| Problem::from(unexpanded).at(origin));
        if too_many { Err(TooMany) } else { Ok(()) }
    }

    fn problem(&mut self, span: Range<usize>, problem: Problem) {
        let origin = self.origin(&span);
        self.problems.add(|| problem.at(origin));
    }

    fn origin(&self, span: &Range<usize>) -> Origin {
        Origin::File { path: self.path.clone(), line: self.lines.number(span.start) }
    }
}

fn too_large(text: &str) -> Option<Problem> {
    if text.len() > MAX_FILE_BYTES {
        return Some(
            Problem::new(format!("the file has {} bytes", text.len()))
                .help(format!("a policy file has at most {MAX_FILE_BYTES} (256 MiB)")),
        );
    }
    let is_separator =
        |byte: &&u8| matches!(byte, b'\n' | b',' | b'=' | b'[' | b']' | b'{' | b'}' | b'.' | b' ' | b'\t');
    // Few files are large enough to be counted at all.
    let pieces = if text.len() > MAX_PIECES { text.as_bytes().iter().filter(is_separator).count() } else { 0 };
    (pieces > MAX_PIECES).then(|| {
        Problem::new(format!("the file has {pieces} separators (blanks, commas, brackets and the like)"))
            .help(format!("a policy file has at most {MAX_PIECES}: is this one?"))
    })
}

/// The tables of a file, or what TOML finds wrong with it: the first mistake of each line.
///
/// # Errors
/// Where it is not TOML.
pub fn parse_toml<'a>(text: &'a str, lines: &Lines<'_>, path: &Arc<str>) -> Result<DeTable<'a>, Vec<Problem>> {
    let (document, mut errors) = if text.len() <= MAX_RECOVER_BYTES {
        DeTable::parse_recoverable(text)
    } else {
        match DeTable::parse(text) {
            Ok(document) => (document, Vec::new()),
            Err(error) => (Spanned::new(0..0, DeTable::new()), vec![error]),
        }
    };

    // One mistake often makes several errors in its line: the first says it best.
    let start = |error: &toml::de::Error| error.span().map_or(0, |span| span.start);
    errors.sort_by_key(start);
    errors.dedup_by_key(|error| lines.number(start(error)));
    let mut problems = Problems::default();
    for error in errors {
        let line = lines.number(start(&error));
        problems.add(|| {
            let wrong = match lines.text(start(&error)).trim() {
                "" => String::from("this"),
                text => quote(text),
            };
            Problem::new(format!("{wrong} is not TOML: {}", error.message()))
                .at(Origin::File { path: path.clone(), line })
        });
    }
    problems.or(document.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::MAX_PROBLEMS;

    fn lines_of(text: &str) -> Vec<(String, u32)> {
        let place = |entry: Entry| match entry.origin {
            Origin::File { line, .. } => (entry.binding.to_string(), line),
            Origin::Command(command) => panic!("{command}"),
        };
        parse_file(text, "p.toml").unwrap().into_iter().map(place).collect()
    }

    #[test]
    fn bindings_know_their_lines() {
        let text = "bindings = [\n  'a tcp 192.0.2.1',\n\n  'b tcp 192.0.2.2', 'c tcp 192.0.2.3',\n]\n\n# more\n\
                    [[binding]]\nlabel = 'd'\nprotocol = 'tcp'\ndestination = ['192.0.2.4',\n'192.0.2.5']\n\
                    [[binding]]\naction = 'pass'\nprotocol = 'udp'\ndestination = '::/0'\nports = 53\n";
        let expected = [
            ("a tcp 192.0.2.1", 2),
            ("b tcp 192.0.2.2", 4),
            ("c tcp 192.0.2.3", 4),
            ("d tcp 192.0.2.4", 8),
            ("d tcp 192.0.2.5", 8),
            ("pass udp ::/0 53", 13),
        ];
        assert_eq!(lines_of(text), expected.map(|(text, line)| (text.to_string(), line)));
    }

    #[test]
    fn inline_tables_and_windows_line_ends_are_toml_too() {
        let text =
            "\r\nbinding = [\r\n  { label = 'a', protocol = 'tcp', destination = '192.0.2.1', ports = 0x50 },\r\n]\r\n";
        assert_eq!(lines_of(text), [("a tcp 192.0.2.1 80".to_string(), 3)]);
    }

    #[test]
    fn a_file_without_bindings_is_an_empty_list() {
        for text in ["", "\n# nothing\n", "bindings = []", "binding = []", "\u{feff}"] {
            assert_eq!(parse_file(text, "p.toml"), Ok(vec![]), "{text:?}");
        }
    }

    #[test]
    fn equal_names_share_their_text() {
        let entries = parse_file("bindings = ['web tcp 192.0.2.1', 'web tcp 192.0.2.2']", "p.toml").unwrap();
        let text = |entry: &Entry| entry.binding.label().unwrap().as_str().as_ptr();
        assert_eq!(text(&entries[0]), text(&entries[1]));
    }

    #[test]
    fn one_binding_too_many_stops_the_reading() {
        let ports = |count: usize| (1..=count).map(|port| port.to_string()).collect::<Vec<_>>().join(",");
        let line = format!("'web tcp 10.0.0.0/8 {}',\n", ports(50_000));
        let full = MAX_BINDINGS / 50_000;
        assert_eq!(parse_file(&format!("bindings = [{}]", line.repeat(full)), "p.toml").unwrap().len(), MAX_BINDINGS);
        let problems = parse_file(&format!("bindings = [\n{}]", line.repeat(full + 9)), "p.toml").unwrap_err();
        assert_eq!(problems.len(), 1);
        assert!(problems[0].to_string().starts_with("p.toml:22: 50000 bindings more than the 1000000 before\n"));
    }

    #[test]
    fn noise_makes_a_short_message() {
        let mut state = 88_172_645_463_325_252_u64;
        let mut noise = |alphabet: u64, start: u8| -> String {
            let mut next = || {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                char::from(start + (state % alphabet) as u8)
            };
            (0..2_000_000).map(|_| next()).collect()
        };
        let texts = [noise(128, 0), noise(95, 32), noise(2, b'['), "\n,".repeat(1_000_000), "[".repeat(2_000_000)];
        // Large, and small enough to be read to the end.
        for text in texts.iter().flat_map(|text| [text, &text[..MAX_RECOVER_BYTES]]) {
            let problems = parse_file(text, "p.toml").unwrap_err();
            assert!(problems.len() <= MAX_PROBLEMS + 1);
            for problem in problems {
                assert!(problem.to_string().len() < 1000, "{problem}");
            }
        }
    }

    #[test]
    fn a_file_of_wrong_bindings_reports_the_first_hundred() {
        let text = format!("bindings = [{}]", "'web tcp 192.0.2.7/24',\n".repeat(5000));
        let problems = parse_file(&text, "p.toml").unwrap_err();
        assert_eq!(problems.len(), MAX_PROBLEMS + 1);
        assert_eq!(problems[MAX_PROBLEMS].message, "4900 more problems are not shown");
    }

    #[test]
    fn files_that_would_take_gigabytes_are_refused_by_their_size() {
        let message = |text: &str| parse_file(text, "p.toml").unwrap_err()[0].message.clone();
        assert_eq!(message(&"#".repeat(MAX_FILE_BYTES + 1)), "the file has 268435457 bytes");
        assert!(message(&"\n".repeat(MAX_PIECES + 1)).starts_with("the file has 64000001 separators"));
    }
}
