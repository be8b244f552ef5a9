//! Policy files that are wrong.

use sklookup_testbed::{Sandbox, Trial, kernel_trial, plain_trial};

use crate::command::{document, sklookup};
use crate::world::{file, refused, something_applied};

pub fn trials() -> Vec<Trial> {
    vec![
        kernel_trial("a_wrong_file_is_refused_with_its_line_and_what_to_do", wrong_files),
        kernel_trial("two_problems_are_both_said", both_said),
        kernel_trial("an_empty_file_is_caught_before_it_takes_everything_away", empty_file),
        kernel_trial("wrong_words_of_bind_are_refused_like_those_of_a_file", wrong_words),
        kernel_trial("an_interface_that_is_not_there_is_named_with_its_line", unknown_interface),
        kernel_trial("what_is_not_a_file_is_refused", not_files),
        plain_trial("standard_input_is_read_once", input_twice),
    ]
}

/// A policy file, and what is said of it.
const WRONG: &[(&str, &[&str])] = &[
    (
        "[[binding]]\nlabel = \"web\"\nprotocol = \"tcp\"\ndestination = \"127.7.0.0/16\"\nport = 80\n",
        &["policy.toml:5: ", "unknown key \"port\"", "ports"],
    ),
    ("bindings = []\nbindngs = [\"web tcp 127.7.0.0/16\"]\n", &["policy.toml:2: ", "unknown key \"bindngs\""]),
    ("bindings = [\n\n  \"web tcp 127.7.0.1/16 80\",\n]\n", &["policy.toml:3: ", "127.7.0.1/16", "127.7.0.0/16"]),
    ("bindings = [\n  \"web tcp 127.7.0.0/16 0\",\n]\n", &["policy.toml:2: ", "port 0", "1 to 65535"]),
    ("bindings = [\n  \"web tcp 127.7.0.0/16 9000-8000\",\n]\n", &["policy.toml:2: ", "9000-8000", "8000-9000"]),
    ("bindings = [\n  \"web tcp 127.7.0.0/16 080\",\n]\n", &["policy.toml:2: ", "\"080\" starts with a 0", "write 80"]),
    ("bindings = [\n  \"web tcp 127.7.0.1/032\",\n]\n", &["policy.toml:2: ", "starts with a 0", "127.7.0.1/32"]),
    ("bindings = [\n  \"web tcp 127.7.0.0/16 65536\",\n]\n", &["policy.toml:2: ", "65536", "65535"]),
    ("[[binding]]\nlabel = \"\"\nprotocol = \"tcp\"\ndestination = \"127.7.0.0/16\"\n", &["policy.toml:2: ", "label"]),
    ("bindings = [\n  \"we!b tcp 127.7.0.0/16\",\n]\n", &["policy.toml:2: ", "we!b"]),
    ("bindings = [\n  \"tcp 127.7.0.0/16\",\n]\n", &["policy.toml:2: ", "\"tcp\"", "label"]),
    ("bindings = [\n  \"web tcp ::ffff:127.7.0.0/112\",\n]\n", &["policy.toml:2: ", "127.7.0.0/16"]),
    (
        "bindings = [\n  \"a tcp 127.7.0.0/16 80\",\n  \"b tcp 127.7.0.0/16 80\",\n]\n",
        &["policy.toml:2", "policy.toml:3", "`a tcp 127.7.0.0/16 80`", "`b tcp 127.7.0.0/16 80`", "> 127.7."],
    ),
    ("bindings = [\n  \"web tcp 127.7.0.0/16\n]\n", &["policy.toml:2: ", "not TOML"]),
    ("bindings = [\n  \"web tcp 127.7.0.0/16\u{1b}[2J\",\n]\n", &["policy.toml:2: "]),
];

fn wrong_files(sandbox: &Sandbox) {
    for applied in [false, true] {
        if applied {
            something_applied();
        }
        for (text, facts) in WRONG {
            let path = file(sandbox, "policy.toml", text);
            refused(sandbox, 2, &["apply", &path], facts);
            let (exit, document) = document(&["check", &path]);
            assert_eq!(exit, 1, "{document}");
            let error = &document["errors"][0];
            let help = error["help"].is_string() || error["message"].as_str().unwrap().contains("not TOML");
            assert!(help && error["line"].is_number() && error["file"] == path.as_str(), "{document}");
        }
        // Letters enough for a label, and too many dots for the name of a file.
        let text = format!("bindings = [\"{} tcp 127.7.0.0/16\"]\n", "a.".repeat(64));
        let path = file(sandbox, "policy.toml", text);
        assert_eq!(sklookup(&["check", &path]).exit, 1);
        refused(sandbox, 2, &["apply", &path], &["policy.toml:1: ", "128 bytes", "64 of them", "256", "at most 255"]);
    }
}

fn both_said(sandbox: &Sandbox) {
    let text =
        "bindings = [\n  \"web tcp 127.7.0.1/16\",\n  \"web tcp 127.7.0.0/16\",\n  \"web tcp 127.7.0.0/16 0\",\n]\n";
    let path = file(sandbox, "policy.toml", text);
    refused(sandbox, 2, &["apply", &path], &["policy.toml:2: ", "policy.toml:4: "]);
    assert_eq!(document(&["apply", &path]).1["errors"].as_array().unwrap().len(), 2);
}

fn empty_file(sandbox: &Sandbox) {
    let path = file(sandbox, "policy.toml", "");
    refused(sandbox, 1, &["apply", &path], &["policy.toml: it has no bindings", "refused (empty)", "--allow empty"]);
    something_applied();
    refused(sandbox, 1, &["apply", &path], &["refused (empty)", "1 are applied and would go", "sklookup unload"]);
    refused(sandbox, 1, &["apply", "-"], &["refused (empty)"]);
    assert_eq!(sklookup(&["apply", &path, "--allow", "empty"]).exit, 0);
    let export = sklookup(&["export"]);
    assert_eq!((export.exit, export.stdout.as_str()), (0, "bindings = [\n]\n"));
}

fn wrong_words(sandbox: &Sandbox) {
    for applied in [false, true] {
        if applied {
            something_applied();
        }
        for (words, facts) in [
            ("web tcp 127.7.0.1/16 80", &["127.7.0.1/16", "127.7.0.0/16"][..]),
            ("web tcp 127.7.0.0/16 9000-8000", &["9000-8000", "8000-9000"]),
            ("tcp web 127.7.0.0/16", &["\"tcp\"", "label"]),
            ("web tcp 127.8.0.0/16 dev no-such-if", &["no-such-if", "ip link"]),
            ("a,b tcp 127.7.0.0/16", &["a,b"]),
        ] {
            let words: Vec<&str> = words.split(' ').collect();
            refused(sandbox, 2, &[&["bind"], &words[..]].concat(), facts);
        }
    }
    refused(sandbox, 2, &["bind", "other", "tcp", "127.7.0.0/16", "80"], &["conflicts", "web tcp 127.7.0.0/16 80"]);
    refused(sandbox, 1, &["unbind", "web", "tcp", "127.7.0.0/16", "81"], &["is not applied", "sklookup list"]);
}

fn unknown_interface(sandbox: &Sandbox) {
    let text = "bindings = [\n  \"web tcp 127.7.0.0/16 dev lo\",\n  \"web tcp 127.8.0.0/16 dev no-such-if\",\n]\n";
    let path = file(sandbox, "policy.toml", text);
    refused(
        sandbox,
        2,
        &["apply", &path],
        &["policy.toml:3: interface no-such-if", "in this network namespace", "ip link"],
    );
    let (_, document) = document(&["apply", &path]);
    assert_eq!(document["errors"][0]["line"], 3, "{document}");
}

fn input_twice() {
    let ran = sklookup(&["diff", "-", "-"]);
    assert!(ran.exit == 2 && ran.stderr.contains("once") && ran.stdout.is_empty(), "{ran:?}");
}

fn not_files(sandbox: &Sandbox) {
    let directory = sandbox.scratch.to_str().unwrap();
    refused(sandbox, 2, &["apply", directory], &[directory, "Is a directory"]);
    refused(sandbox, 2, &["apply", "/no/such/file"], &["/no/such/file", "No such file"]);
    let latin = file(sandbox, "latin.toml", b"# gr\xfcn\n");
    refused(sandbox, 2, &["apply", &latin], &["latin.toml:1: ", "UTF-8"]);
    // Whatever was typed, a terminal is not told what to do.
    let ran = sklookup(&["apply", "/no/such/\u{1b}[2Jfile\nsklookup: done"]);
    assert!(ran.exit == 2 && !ran.stderr.contains('\u{1b}') && !ran.stderr.contains("\nsklookup: done"), "{ran:?}");
}
