//! `demo` on a real kernel: what it shows is what it says, and nothing is left of it.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::thread::CapabilitySet;
use serde_json::Value;
use sklookup_testbed::{Sandbox, kernel_trial, plain_trial};

fn main() {
    sklookup_testbed::main(vec![
        kernel_trial("the_tour_shows_what_it_promises_within_a_minute", tour),
        kernel_trial("the_tour_is_one_document_for_machines", document),
        kernel_trial("a_reader_that_has_seen_enough_is_no_trouble", closed_pipe),
        plain_trial("without_the_rights_it_says_what_to_type", without_rights),
    ])
}

fn demo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sklookup"));
    command.arg("demo").args(arguments);
    command
}

fn tour(sandbox: &Sandbox) {
    let begun = Instant::now();
    let output = demo(&[]).output().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(60));
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{shown}");
    for act in ["A prefix", "A port range", "An overlap", "A swap under traffic", "A restart", "Cleaning up"] {
        assert!(shown.contains(&format!(". {act}\n")), "{act}: {shown}");
    }
    assert!(shown.contains("$ sklookup bind web tcp 127.7.0.0/16,fd00:7::/64 80"), "{shown}");
    assert!(shown.ends_with("Everything was as it should be. Next: sklookup run --help\n"), "{shown}");
    assert!(!sandbox.bpffs.join("sklookup").exists(), "the tour has a bpffs of its own");
}

fn document(_: &Sandbox) {
    let output = demo(&["--json"]).output().unwrap();
    let document: Value = serde_json::from_slice(&output.stdout).expect("one document and nothing else");
    assert_eq!(
        (&document["version"], &document["command"], &document["ok"]),
        (&1.into(), &"demo".into(), &true.into())
    );
    let acts = document["acts"].as_array().unwrap();
    assert_eq!(acts.len(), 6);
    for act in acts {
        assert_eq!(act["ok"], true, "{act}");
        assert!(
            !act["commands"].as_array().unwrap().is_empty() && !act["seen"].as_array().unwrap().is_empty(),
            "{act}"
        );
    }
}

fn closed_pipe(_: &Sandbox) {
    let mut child = demo(&[]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Of root nothing is left without its capabilities; an ordinary user has none to lose.
fn without_rights() {
    let output = std::thread::spawn(|| {
        for capability in CapabilitySet::all() {
            // Refused where there is nothing to give up.
            let _ = rustix::thread::remove_capability_from_bounding_set(capability);
        }
        demo(&[]).output().unwrap()
    });
    let output = output.join().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("needs CAP_SYS_ADMIN") && said.contains("\n    sudo sklookup demo"), "{said}");
}
