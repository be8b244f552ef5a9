//! What a policy file decides, without rights.

use std::io::{ErrorKind, Write};

use sklookup_testbed::{Trial, plain_trial};

use crate::command::{Ran, command, one_document};

pub fn trials() -> Vec<Trial> {
    vec![
        plain_trial("a_label_is_yes_and_pass_refuse_and_no_binding_are_no", outcomes),
        plain_trial("what_depends_on_an_interface_that_is_not_said_can_not_be_told", depends),
        plain_trial("a_wrong_policy_is_an_error", wrong),
    ]
}

/// What is said of a packet under the policy of these lines.
pub fn by_policy(lines: &[&str], arguments: &[&str]) -> Ran {
    let arguments = [&["explain", "--policy", "-"], arguments].concat();
    let mut child = command(&arguments)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let text = format!("bindings = {lines:?}");
    // A question that can't be answered is refused before the policy is read.
    if let Err(error) = child.stdin.take().unwrap().write_all(text.as_bytes()) {
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    }
    child.wait_with_output().unwrap().into()
}

fn outcomes() {
    let lines = ["web tcp 192.0.2.0/24 80", "all tcp 192.0.0.0/16", "pass tcp 192.0.2.1", "refuse tcp 192.0.2.66"];
    for (to, exit, answer) in [
        ("192.0.2.7:80", 0, "=> web"),
        ("192.0.2.7:81", 0, "=> all"),
        ("192.0.2.1:80", 1, "=> pass"),
        ("192.0.2.66:80", 1, "=> refuse"),
        ("203.0.113.7:80", 1, "=> no binding: the regular lookup decides"),
    ] {
        let ran = by_policy(&lines, &["tcp", "198.51.100.9:4000", "to", to]);
        assert_eq!((ran.exit, ran.stdout.lines().nth(1)), (exit, Some(answer)), "{to}: {ran:?}");
    }
    let ran = by_policy(&lines, &["tcp 198.51.100.9:4000 > 192.0.2.7:80"]);
    assert!(
        ran.stdout.contains("has the longer destination prefix than `all tcp 192.0.0.0/16`  # <stdin>:1"),
        "{ran:?}"
    );
}

fn depends() {
    let lines = ["web tcp 192.0.2.0/24 80 dev eth0", "all tcp 192.0.2.0/24"];
    let ran = by_policy(&lines, &["tcp 198.51.100.9:4000 > 192.0.2.7:80"]);
    assert_eq!(
        (ran.exit, ran.stdout.lines().nth(1)),
        (2, Some("=> can't tell: it depends on the interface")),
        "{ran:?}"
    );
    assert!(ran.stderr.contains("comes in on eth0"), "{ran:?}");
    let ran = by_policy(&lines, &["--json", "tcp 198.51.100.9:4000 > 192.0.2.7:81"]);
    let document = one_document(&ran);
    assert_eq!((ran.exit, &document["depends-on-interface"]), (0, &serde_json::json!([])), "{document}");
    let ran = by_policy(&lines, &["tcp 198.51.100.9:4000 > 192.0.2.7:80 dev eth0"]);
    assert_eq!((ran.exit, ran.stdout.lines().nth(1)), (0, Some("=> web")), "{ran:?}");
}

fn wrong() {
    let ran = by_policy(&["web tcp 192.0.2.0/24 9000-8000"], &["tcp 198.51.100.9:4000 > 192.0.2.7:80"]);
    assert_eq!((ran.exit, ran.stdout.as_str()), (2, ""));
    assert!(ran.stderr.contains("port range 9000-8000 ends before it starts"), "{ran:?}");
}
