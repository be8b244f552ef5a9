//! What is wrong with an input, told so that a person can mend it.

use std::error::Error;
use std::fmt;

use crate::entry::Origin;

/// How many problems one call reports; a last one says how many were left out.
pub const MAX_PROBLEMS: usize = 100;

/// How many characters of a wrong value a message shows.
const SHOWN_CHARS: usize = 60;

/// One thing wrong with a policy, a binding or a packet.
///
/// Displayed as `ORIGIN: MESSAGE` and, on a second line indented by four spaces, the help. Values taken from the input
/// are quoted, escaped and cut, so a message is safe to print and short whatever it was made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where the input came from, where that is known.
    pub origin: Option<Origin>,
    /// What is wrong, with the value that is.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl Problem {
    /// A problem of unknown origin and without help.
    pub fn new(message: impl Into<String>) -> Self {
        Self { origin: None, message: message.into(), help: None }
    }

    /// The same with advice.
    pub fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }

    /// The same, found at `origin`.
    pub fn at(self, origin: Origin) -> Self {
        Self { origin: Some(origin), ..self }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(origin) = &self.origin {
            write!(f, "{origin}: ")?;
        }
        f.write_str(&self.message)?;
        match &self.help {
            Some(help) => write!(f, "\n    {help}"),
            None => Ok(()),
        }
    }
}

impl Error for Problem {}

/// Collects problems up to [`MAX_PROBLEMS`] and counts the rest.
#[derive(Debug, Default)]
pub struct Problems {
    kept: Vec<Problem>,
    left_out: usize,
}

impl Problems {
    /// Adds one; beyond the limit `problem` is not even made.
    pub fn add(&mut self, problem: impl FnOnce() -> Problem) {
        if self.kept.len() < MAX_PROBLEMS {
            self.kept.push(problem());
        } else {
            self.left_out += 1;
        }
    }

    /// `value` if there was no problem.
    ///
    /// # Errors
    /// The problems, and how many were left out.
    pub fn or<T>(self, value: T) -> Result<T, Vec<Problem>> {
        if self.kept.is_empty() {
            return Ok(value);
        }
        let mut problems = self.kept;
        if self.left_out > 0 {
            problems.push(
                Problem::new(format!("{} more problems are not shown", self.left_out)).help("mend those above first"),
            );
        }
        Err(problems)
    }
}

/// `text` in double quotes, escaped, and cut when it is long.
pub fn quote(text: &str) -> String {
    let mut quoted = String::from('"');
    let mut chars = text.chars();
    for char in chars.by_ref().take(SHOWN_CHARS) {
        match char {
            '\'' => quoted.push(char),
            _ => quoted.extend(char.escape_debug()),
        }
    }
    quoted.push_str(if chars.as_str().is_empty() { "\"" } else { "...\"" });
    quoted
}

/// Shows text that is not quoted, such as a path: control characters are escaped, quotes and the rest stay.
pub(crate) struct Printable<'a>(pub(crate) &'a str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for char in self.0.chars() {
            match char {
                '\'' | '"' | '\\' => write!(f, "{char}")?,
                _ => write!(f, "{}", char.escape_debug())?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_as_origin_message_and_indented_help() {
        let problem = Problem::new("port range 9000-8000 ends before it starts")
            .help("write 8000-9000, or 9000 for a single port")
            .at(Origin::File { path: "policy.toml".into(), line: 7 });
        assert_eq!(
            problem.to_string(),
            "policy.toml:7: port range 9000-8000 ends before it starts\n    \
             write 8000-9000, or 9000 for a single port"
        );
    }

    #[test]
    fn values_are_escaped_and_cut() {
        assert_eq!(quote("it's \"so\"\n\u{1b}[31m"), r#""it's \"so\"\n\u{1b}[31m""#);
        let quoted = quote(&"x".repeat(100_000_000));
        assert_eq!(quoted.len(), SHOWN_CHARS + "\"...\"".len());
    }

    #[test]
    fn paths_keep_their_quotes_and_lose_their_control_characters() {
        assert_eq!(Printable("o'brien\u{1b}\u{202e}.toml").to_string(), "o'brien\\u{1b}\\u{202e}.toml");
    }

    #[test]
    fn problems_beyond_the_limit_are_counted() {
        let mut problems = Problems::default();
        for i in 0..MAX_PROBLEMS + 7 {
            problems.add(|| Problem::new(i.to_string()));
        }
        let shown = problems.or(()).unwrap_err();
        assert_eq!(shown.len(), MAX_PROBLEMS + 1);
        assert_eq!(shown[MAX_PROBLEMS].message, "7 more problems are not shown");
    }
}
