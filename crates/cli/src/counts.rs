//! What was counted, as JSON and as text: one spelling for all commands.
//!
//! People read "hook runs" and never "packets" or "connections": some packets run the hook twice, and those of a
//! connection that stands never do.

use serde_json::{Value, json};
use sklookup_compiler::Counts;
use sklookup_steering::{Fates, Sum};

/// What stands beside a sum of everything, where there is room to say it.
pub const NOT_CONNECTIONS: &str = "runs of the hook are counted, not connections";

/// Every count, zeros too.
pub fn json(sum: &Sum) -> Value {
    let Counts { hits, no_socket, unsupported, wrong_protocol, wrong_family, already_selected } = sum.counts;
    let Fates { steered, refused, passed, left: _ } = sum.fates;
    json!({
        "hits": hits,
        "steered": steered,
        "refused": refused,
        "passed": passed,
        "no-socket": no_socket,
        "unsupported": unsupported,
        "wrong-protocol": wrong_protocol,
        "wrong-family": wrong_family,
        "already-selected": already_selected,
    })
}

/// The hook runs; where they met more than one fate how many met which; and why some found no socket.
pub fn text(sum: &Sum) -> String {
    let Counts { hits, no_socket, unsupported, wrong_protocol, wrong_family, already_selected: _ } = sum.counts;
    let Fates { steered, refused, passed, left } = sum.fates;
    let mut text = many(usize::try_from(hits).unwrap_or(usize::MAX), "hook run");
    let fates = [
        (steered, "steered"),
        (refused, "refused"),
        (passed, "passed on"),
        (left, "left to an earlier program (EEXIST)"),
    ];
    // That what a label gets is steered goes without saying, and so does that what a rule refuses is refused.
    let faults = [
        (no_socket, "no socket"),
        (unsupported, "socket shut down or connected (ESOCKTNOSUPPORT)"),
        (wrong_protocol, "socket of another protocol (EPROTOTYPE)"),
        (wrong_family, "socket of another family (EAFNOSUPPORT)"),
    ];
    let failed = no_socket + unsupported + wrong_protocol + wrong_family > 0;
    if failed || left > 0 || fates.iter().filter(|(count, _)| *count > 0).count() > 1 {
        append(&mut text, ": ", &fates);
    }
    append(&mut text, "; ", &faults);
    text
}

/// Those that are not zero.
fn append(text: &mut String, before: &str, counts: &[(u64, &str)]) {
    let some: Vec<String> =
        counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    if !some.is_empty() {
        text.push_str(before);
        text.push_str(&some.join(", "));
    }
}

/// `1 binding`, `2 bindings`.
pub fn many(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use sklookup_policy::{Origin, parse_binding};

    fn sum(binding: &str, counts: Counts) -> Sum {
        let parsed = parse_binding(binding, Origin::Command("x".into())).unwrap();
        Sum::of(&parsed[0].binding, &counts)
    }

    #[test]
    fn what_never_happened_is_left_out_of_the_text_and_not_of_the_json() {
        let counts = Counts { hits: 3, wrong_family: 2, ..Counts::default() };
        let failing = sum("web tcp ::1 80", counts);
        assert_eq!(text(&failing), "3 hook runs: 1 steered, 2 refused; 2 socket of another family (EAFNOSUPPORT)");
        assert_eq!(text(&Sum::default()), "0 hook runs");
        assert_eq!(json(&failing).as_object().unwrap().len(), 9);
    }

    #[test]
    fn one_fate_goes_without_saying_unless_sockets_failed() {
        let one = Counts { hits: 1, ..Counts::default() };
        for binding in ["web tcp ::1", "pass tcp ::1", "refuse tcp ::1"] {
            assert_eq!(text(&sum(binding, one)), "1 hook run");
        }
        let passed = sum("web tcp ::1 when-empty pass", Counts { no_socket: 1, ..one });
        assert_eq!(text(&passed), "1 hook run: 1 passed on; 1 no socket");
        let left = sum("web tcp ::1", Counts { already_selected: 1, ..one });
        assert_eq!(text(&left), "1 hook run: 1 left to an earlier program (EEXIST)");
    }
}
