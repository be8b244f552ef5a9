//! What was typed, for whoever wonders later where something came from.

use std::ffi::OsString;

/// The command line of this process as it could be typed again. It is kept with what it did, so a long one is cut.
pub fn typed() -> String {
    of_ours(std::env::args_os().skip(1))
}

fn of_ours(arguments: impl Iterator<Item = OsString>) -> String {
    let words = arguments.map(|argument| argument.to_string_lossy().into_owned());
    let words: Vec<String> = std::iter::once("sklookup".to_owned()).chain(words).collect();
    line(&words)
}

/// The words of a command in one line, cut if it is long.
pub fn line(words: &[String]) -> String {
    const LONGEST: usize = 400; // characters
    let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    let line = words.join(" ");
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line,
    }
}

/// A word as a shell takes it.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_is_kept_as_a_shell_would_read_it() {
        let words = ["run", "--bind", "tcp 127.0.0.0/8 80", "--", "sh", "-c", "echo 'a'", ""];
        assert_eq!(
            of_ours(words.into_iter().map(Into::into)),
            r"sklookup run --bind 'tcp 127.0.0.0/8 80' -- sh -c 'echo '\''a'\''' ''"
        );
    }

    #[test]
    fn a_long_command_line_is_cut_between_characters() {
        let line = of_ours(["ü".repeat(1000)].into_iter().map(Into::into));
        assert_eq!(line.chars().count(), 403);
        assert!(line.ends_with("ü..."), "{line}");
    }
}
