//! What was counted, as JSON and as text: one spelling for all commands.

use serde_json::{Value, json};
use sklookup_compiler::Counts;

/// Every count, zeros too.
pub fn json(counts: &Counts) -> Value {
    let Counts { hits, no_socket, unsupported, wrong_protocol, wrong_family, already_selected } = *counts;
    json!({
        "hits": hits,
        "no-socket": no_socket,
        "unsupported": unsupported,
        "wrong-protocol": wrong_protocol,
        "wrong-family": wrong_family,
        "already-selected": already_selected,
    })
}

/// The hits, and of the others those that are not zero.
pub fn text(counts: &Counts) -> String {
    let Counts { hits, no_socket, unsupported, wrong_protocol, wrong_family, already_selected } = *counts;
    let mut text = format!("{hits} {}", if hits == 1 { "hit" } else { "hits" });
    let faults = [
        (no_socket, "no socket"),
        (unsupported, "socket shut down or connected"),
        (wrong_protocol, "socket of another protocol"),
        (wrong_family, "socket of another family"),
        (already_selected, "left to an earlier program"),
    ];
    for (count, what) in faults.into_iter().filter(|(count, _)| *count > 0) {
        text.push_str(&format!(", {count} {what}"));
    }
    text
}

/// `1 binding`, `2 bindings`.
pub fn many(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_happened_is_left_out_of_the_text_and_not_of_the_json() {
        let counts = Counts { hits: 1, wrong_family: 2, ..Counts::default() };
        assert_eq!(text(&counts), "1 hit, 2 socket of another family");
        assert_eq!(text(&Counts::default()), "0 hits");
        assert_eq!(json(&counts).as_object().unwrap().len(), 6);
    }
}
