//! Line numbers of places in a text.

/// Bytes between two noted line numbers: so many are scanned for one question, and the notes of 256 MiB take 256 KiB.
const STRIDE: usize = 4096;

/// Finds the line of a byte offset without a list of all lines: a file may have hundreds of millions.
#[derive(Debug)]
pub struct Lines<'a> {
    text: &'a str,
    /// The newlines before each multiple of [`STRIDE`].
    before: Vec<u32>,
}

impl<'a> Lines<'a> {
    /// Reads the text once.
    pub fn new(text: &'a str) -> Self {
        let newlines = text.as_bytes().chunks(STRIDE).scan(0, |total, chunk| {
            let before = *total;
            *total += count_newlines(chunk);
            Some(before)
        });
        Self { text, before: newlines.collect() }
    }

    /// The line of the byte at `offset`, counted from 1.
    pub fn number(&self, offset: usize) -> u32 {
        let offset = offset.min(self.text.len());
        let stride = (offset / STRIDE).min(self.before.len().saturating_sub(1));
        let before = self.before.get(stride).copied().unwrap_or(0);
        before + count_newlines(&self.text.as_bytes()[stride * STRIDE..offset]) + 1
    }

    /// The text of that line without its end.
    pub fn text(&self, offset: usize) -> &'a str {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        let (before, after) = self.text.split_at(offset);
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let end = after.find('\n').map_or(self.text.len(), |newline| offset + newline);
        &self.text[start..end]
    }
}

fn count_newlines(bytes: &[u8]) -> u32 {
    // In runs that fit a byte, which the compiler turns into vector code.
    bytes.chunks(255).map(|run| u32::from(run.iter().map(|&byte| u8::from(byte == b'\n')).sum::<u8>())).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_texts_are_those_of_a_plain_count() {
        let text: String = (0..3000).map(|i| format!("{}é\n", "x".repeat(i % 7))).collect();
        let lines = Lines::new(&text);
        for offset in (0..=text.len()).filter(|&offset| text.is_char_boundary(offset)) {
            let number = text[..offset].matches('\n').count();
            assert_eq!(lines.number(offset), number as u32 + 1);
            assert_eq!(lines.text(offset), text.split('\n').nth(number).unwrap());
        }
    }

    #[test]
    fn an_empty_text_has_one_line() {
        let lines = Lines::new("");
        assert_eq!((lines.number(0), lines.number(9), lines.text(9)), (1, 1, ""));
    }
}
