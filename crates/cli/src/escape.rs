//! Text from elsewhere, made fit for a terminal.
//!
//! Process names, labels, paths and file contents are chosen by others; a terminal obeys control characters.

/// The text with control characters, and those that change the direction of writing, spelled out.
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || is_invisible(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// Like [`printable`], but lines stay lines: for messages made of several.
pub fn printable_lines(text: &str) -> String {
    text.split('\n').map(printable).collect::<Vec<_>>().join("\n")
}

/// A JSON document whose strings hold none of those characters either: they are written as JSON spells them, and mean the
/// same to whoever reads it.
pub fn printable_json(document: String) -> String {
    let is_spelled = |c: char| c.is_control() || is_invisible(c);
    if !document.contains(is_spelled) {
        return document;
    }
    // Outside strings a document has none of them, and inside it any character may be spelled out.
    let mut out = String::with_capacity(document.len());
    for c in document.chars() {
        if is_spelled(c) {
            let mut units = [0; 2];
            out.extend(c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
        } else {
            out.push(c);
        }
    }
    out
}

/// Marks of direction and joiners: a name could be made to read as another.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_can_not_command_the_terminal() {
        assert_eq!(printable("ng\u{1b}[2Jinx\r\n"), "ng\\u{1b}[2Jinx\\r\\n");
        assert_eq!(printable("a\u{202e}b"), "a\\u{202e}b");
        assert_eq!(printable("grün"), "grün");
    }

    #[test]
    fn a_document_says_the_same_with_every_character_spelled_out() {
        let text = "a\u{1b}[2J\u{9b}2J\u{202e}\u{e0041}\u{7f}grün\n";
        let document = printable_json(serde_json::json!({ "name": text }).to_string());
        assert_eq!(printable(&document), document);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&document).unwrap()["name"], text);
    }

    #[test]
    fn lines_of_a_message_stay_lines() {
        assert_eq!(printable_lines("a\nb\u{7}"), "a\nb\\u{7}");
    }
}
