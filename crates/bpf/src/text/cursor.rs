//! One line of text and a place in it: the pieces that statements are made of.

use std::fmt;

use super::ParseError;

/// What the parser still has to read of a line.
pub(super) struct Cursor<'a> {
    text: &'a str,
    /// Byte offset of the next character.
    at: usize,
    /// From 1.
    line: usize,
}

/// A constant as it was written.
#[derive(Clone, Copy)]
pub(super) struct Number {
    /// Its value: at most 64 bits and a sign.
    pub(super) value: i128,
    /// Written in hexadecimal.
    pub(super) hexadecimal: bool,
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.value < 0 { "-" } else { "" };
        let magnitude = self.value.unsigned_abs();
        if self.hexadecimal { write!(f, "{sign}{magnitude:#x}") } else { write!(f, "{sign}{magnitude}") }
    }
}

impl<'a> Cursor<'a> {
    /// At the start of a line, whose comment is left out.
    pub(super) fn new(text: &'a str, line: usize) -> Cursor<'a> {
        let mut cursor = Cursor { text: without_comment(text), at: 0, line };
        cursor.skip_blanks();
        cursor
    }

    /// The next character, if the line has one.
    pub(super) fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    /// Where the cursor is, for [`Cursor::error_at`] and [`Cursor::back_to`].
    pub(super) fn mark(&self) -> usize {
        self.at
    }

    /// Reads again from a mark.
    pub(super) fn back_to(&mut self, mark: usize) {
        self.at = mark;
    }

    /// Takes `symbol` and the blanks after it, if it is next.
    pub(super) fn take(&mut self, symbol: &str) -> bool {
        let found = self.text[self.at..].starts_with(symbol);
        if found {
            self.at += symbol.len();
            self.skip_blanks();
        }
        found
    }

    /// Takes `symbol`, which must be next.
    pub(super) fn expect(&mut self, symbol: &str) -> Result<(), ParseError> {
        if self.take(symbol) { Ok(()) } else { Err(self.expected(&format!("`{symbol}`"))) }
    }

    /// Takes letters, digits, `_` and `.`, and the blanks after them; empty if none is next.
    pub(super) fn word(&mut self) -> &'a str {
        let rest = &self.text[self.at..];
        let end = rest.find(|c: char| !is_word(c)).unwrap_or(rest.len());
        self.at += end;
        self.skip_blanks();
        &rest[..end]
    }

    /// Takes the longest symbol of a table; its meaning.
    pub(super) fn symbol<T: Copy>(&mut self, table: &[(T, &'static str)]) -> Option<T> {
        let rest = &self.text[self.at..];
        let row = table.iter().filter(|row| rest.starts_with(row.1)).max_by_key(|row| row.1.len())?;
        self.at += row.1.len();
        self.skip_blanks();
        Some(row.0)
    }

    /// Takes a number, decimal or hexadecimal, with or without a sign; `what` names it in the error.
    pub(super) fn number(&mut self, what: &str) -> Result<Number, ParseError> {
        let start = self.mark();
        let negative = self.take("-");
        if !negative {
            self.take("+");
        }
        let word = self.word();
        let (digits, radix) = match word.strip_prefix("0x") {
            Some(digits) => (digits, 16),
            None => (word, 10),
        };
        if digits.is_empty() || !digits.bytes().all(|b| char::from(b).is_digit(radix)) {
            self.back_to(start);
            return Err(self.expected(what));
        }
        let Ok(magnitude) = u64::from_str_radix(digits, radix) else {
            return Err(self.error_at(
                start,
                format!("{} is wider than 64 bits", quoted(word)),
                format!("expected {what}"),
            ));
        };
        let value = if negative { -i128::from(magnitude) } else { i128::from(magnitude) };
        Ok(Number { value, hexadecimal: radix == 16 })
    }

    /// Takes a number that fits `T`; `what` names it, `range` says what fits.
    pub(super) fn integer<T: TryFrom<i128>>(&mut self, what: &str, range: &str) -> Result<T, ParseError> {
        let start = self.mark();
        let number = self.number(what)?;
        T::try_from(number.value).map_err(|_| self.error_at(start, format!("{number} does not fit {what}"), range))
    }

    /// Takes a number that must have its sign, a distance or an offset, as [`Cursor::integer`].
    pub(super) fn signed<T: TryFrom<i128>>(&mut self, what: &str, range: &str) -> Result<T, ParseError> {
        match self.peek() {
            Some('+' | '-') => self.integer(what, range),
            _ => Err(self.expected(&format!("{what}, with its sign"))),
        }
    }

    /// Nothing may be left.
    pub(super) fn end(&self) -> Result<(), ParseError> {
        if self.at == self.text.len() { Ok(()) } else { Err(self.expected("the end of the line")) }
    }

    /// That something else is next than what belongs here.
    pub(super) fn expected(&self, what: &str) -> ParseError {
        self.error_at(self.at, format!("{} is unexpected", self.next_token()), format!("expected {what}"))
    }

    /// An error about what is at `mark`.
    pub(super) fn error_at(&self, mark: usize, what: impl Into<String>, valid: impl Into<String>) -> ParseError {
        ParseError {
            line: self.line,
            column: self.text[..mark].chars().count() + 1,
            what: what.into(),
            valid: valid.into(),
        }
    }

    fn skip_blanks(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
    }

    fn next_token(&self) -> String {
        let rest = &self.text[self.at..];
        match rest.find(|c: char| !is_word(c)) {
            _ if rest.is_empty() => "the end of the line".to_owned(),
            Some(0) => quoted(rest.split(|c: char| is_word(c) || c.is_whitespace()).next().unwrap_or_default()),
            Some(end) => quoted(&rest[..end]),
            None => quoted(rest),
        }
    }
}

/// What the user wrote, for an error: the start of it, in one line.
pub(super) fn quoted(text: &str) -> String {
    const MOST: usize = 24;
    let start: String = text.chars().take(MOST).flat_map(char::escape_debug).collect();
    let more = if text.chars().nth(MOST).is_some() { "..." } else { "" };
    format!("`{start}{more}`")
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '.'
}

/// Comments start with `;` or `//` anywhere, and with `#` except inside a word: `call bpf_sk_assign#124`.
fn without_comment(line: &str) -> &str {
    let bytes = line.as_bytes();
    let starts = |at: usize| match bytes[at] {
        b';' => true,
        b'/' => bytes.get(at + 1) == Some(&b'/'),
        b'#' => at == 0 || bytes[at - 1].is_ascii_whitespace(),
        _ => false,
    };
    let end = (0..bytes.len()).find(|&at| starts(at)).unwrap_or(bytes.len());
    line[..end].trim_end()
}
