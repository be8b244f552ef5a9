//! Disks that are full and readers that go away, for every command.

use std::fs::File;
use std::process::{Output, Stdio};

use sklookup_testbed::{Sandbox, Trial, kernel_trial};

use crate::rename::Renamed;
use crate::world::{assert_left, command, every_command, policy};

pub fn trials() -> Vec<Trial> {
    vec![
        kernel_trial("an_answer_that_no_disk_has_room_for_is_said_by_every_command", full),
        kernel_trial("talk_that_no_disk_has_room_for_stops_nothing", full_talk),
        kernel_trial("a_reader_that_has_gone_is_a_quiet_end_of_every_command", gone),
        kernel_trial("a_run_can_do_without_anybody_to_talk_to", run),
    ]
}

const POLICY: &str = "bindings = [\"web tcp 127.7.0.0/16 80\"]";

fn full_disk() -> File {
    File::options().write(true).open("/dev/full").unwrap()
}

/// Runs every command twice, for people and for machines; the changes that it tells of are made.
fn each(sandbox: &Sandbox, run: impl Fn(&[&str]) -> Output, check: impl Fn(&[&str], Output)) {
    let policy = policy(sandbox, "policy.toml", POLICY);
    let server = Renamed::new("server");
    for json in [false, true] {
        for line in every_command(&policy, server.0.id()) {
            let flag = if json { &["--json"][..] } else { &[] };
            let words: Vec<&str> = flag.iter().copied().chain(line.iter().map(String::as_str)).collect();
            check(&words, run(&words));
        }
        assert_left(sandbox, &[]);
    }
}

fn full(sandbox: &Sandbox) {
    let run = |words: &[&str]| {
        command(words).stdout(full_disk()).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap()
    };
    each(sandbox, run, |words, ran| {
        let said = String::from_utf8_lossy(&ran.stderr);
        // Two equal policies have no difference to write.
        if words[0] == "diff" {
            assert_eq!(ran.status.code(), Some(0), "{words:?}: {ran:?}");
            return;
        }
        assert_eq!(ran.status.code(), Some(2), "{words:?}: {ran:?}");
        assert!(said.contains("write the answer: No space left on device"), "{words:?}: {ran:?}");
        assert!(!said.contains("panicked"), "{words:?}: {ran:?}");
    });
}

fn full_talk(sandbox: &Sandbox) {
    let run = |words: &[&str]| command(words).stderr(full_disk()).output().unwrap();
    each(sandbox, run, |words, ran| {
        assert!(matches!(ran.status.code(), Some(0 | 1)), "{words:?}: {ran:?}");
    });
}

fn gone(sandbox: &Sandbox) {
    let run = |words: &[&str]| {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        command(words).stdout(writer).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap()
    };
    each(sandbox, run, |words, ran| {
        let said = String::from_utf8_lossy(&ran.stderr);
        assert!(matches!(ran.status.code(), Some(0 | 1)), "{words:?}: {ran:?}");
        assert!(!said.contains("write the answer") && !said.contains("panicked"), "{words:?}: {ran:?}");
    });
}

fn run(sandbox: &Sandbox) {
    for json in [&[][..], &["--json"]] {
        let words = [json, &["run", "--bind", "tcp 127.9.0.0/16 80", "--", "true"]].concat();
        let ran = command(&words).stdout(full_disk()).stderr(full_disk()).output().unwrap();
        // A document that can't be written is a failure of ours, whatever the command came to.
        assert_eq!(ran.status.code(), Some(if json.is_empty() { 0 } else { 125 }), "{words:?}");
        assert_left(sandbox, &[]);
    }
}
