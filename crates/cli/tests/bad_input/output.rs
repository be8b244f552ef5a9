//! Whoever reads goes away, has no room, or interrupts.

use std::fmt::Write;
use std::fs::File;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use sklookup_testbed::{Sandbox, Trial, kernel_trial};

use crate::command::{Ran, command, one_document, sklookup};
use crate::world::{file, something_applied};

pub fn trials() -> Vec<Trial> {
    vec![
        kernel_trial("an_answer_that_can_not_be_written_is_an_error", full),
        kernel_trial("a_change_that_can_not_be_told_of_is_in_effect", full_after_a_change),
        kernel_trial("an_answer_that_nobody_reads_is_a_quiet_end", closed),
        kernel_trial("a_large_policy_interrupted_is_the_old_one_or_the_new_one", interrupted),
        kernel_trial("what_can_not_be_parsed_is_one_document_too", unparsed),
    ]
}

fn full(_: &Sandbox) {
    something_applied();
    for arguments in [&["export"][..], &["--json", "export"], &["completions", "bash"], &["--json", "nonsense"]] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let child = command(arguments).stdout(full).stderr(Stdio::piped()).spawn().unwrap();
        let ran: Ran = child.wait_with_output().unwrap().into();
        assert_eq!(ran.exit, 2, "{arguments:?}: {ran:?}");
        assert!(ran.stderr.contains("No space left on device"), "{arguments:?}: {ran:?}");
        assert!(!ran.stderr.contains("is done"), "{arguments:?}: {ran:?}");
    }
}

fn full_after_a_change(_: &Sandbox) {
    for arguments in [&["bind", "web", "tcp", "127.7.0.0/16", "80"][..], &["unload"]] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let child = command(arguments).stdout(full).stderr(Stdio::piped()).spawn().unwrap();
        let ran: Ran = child.wait_with_output().unwrap().into();
        assert_eq!(ran.exit, 2, "{arguments:?}: {ran:?}");
        assert!(ran.stderr.contains("what was asked is done all the same"), "{arguments:?}: {ran:?}");
        let steered = sklookup(&["list"]).exit == 0;
        assert_eq!(steered, arguments[0] == "bind");
    }
}

fn closed(_: &Sandbox) {
    something_applied();
    for arguments in [&["export"][..], &["--json", "export"], &["completions", "bash"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let child = command(arguments).stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
        let ran: Ran = child.wait_with_output().unwrap().into();
        assert_eq!((ran.exit, ran.stderr.as_str()), (0, ""), "{arguments:?}");
    }
}

fn interrupted(sandbox: &Sandbox) {
    something_applied();
    let old = sklookup(&["export"]).stdout;
    let mut text = String::from("bindings = [\n");
    for n in 0..200_000 {
        writeln!(text, "  \"web tcp 127.{}.{}.{} 80\",", 8 + n / 62_500, n / 250 % 250, n % 250).unwrap();
    }
    text.push_str("  \"web tcp 127.7.0.0/16 80\",\n]\n");
    let policy = file(sandbox, "large.toml", text);
    let apply = || {
        let mut apply = command(&["apply", &policy]);
        apply.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };

    let mut interrupted = 0;
    // At moments spread over all of its work, and at some when it may be done.
    for part in 0..8 {
        let started = Instant::now();
        let mut child = apply();
        while started.elapsed() < Duration::from_millis(50 << part) && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        let _ = kill_process(Pid::from_child(&child), Signal::INT);
        let ended = child.wait().unwrap();
        interrupted += i32::from(!ended.success());
        let now = sklookup(&["export"]);
        assert_eq!(now.exit, 0, "{now:?}");
        let whole = now.stdout == old || now.stdout.lines().count() == 200_001 + 2;
        assert!(whole, "{} lines after {part}", now.stdout.lines().count());
    }
    assert_ne!(interrupted, 0);
    // What was left half made is in nobody's way.
    assert_eq!(apply().wait().unwrap().code(), Some(0));
    let generations = std::fs::read_dir(sandbox.bpffs.join("sklookup").join(sandbox.netns.inode().to_string()))
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_str().unwrap().starts_with("gen-"))
        .count();
    assert!(generations <= 2, "{generations} generations are left");
}

fn unparsed(_: &Sandbox) {
    for arguments in
        [&["--json"][..], &["--json", "aply"], &["apply", "--json"], &["--json", "apply", "x", "--alow=ssh"]]
    {
        let ran = sklookup(arguments);
        assert_eq!(ran.exit, 2, "{ran:?}");
        let document = one_document(&ran);
        assert_eq!(document["ok"], false);
        assert!(document["errors"][0]["message"].is_string(), "{document}");
    }
}
