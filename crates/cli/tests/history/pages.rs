//! What is written, when, and what is not.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;
use sklookup_testbed::{Sandbox, Trial, kernel_trial, name_netns};

use crate::command::{Ran, command, document, sklookup};
use crate::world::{LISTEN, PAGE, applied, bind, done, fate, kept, name, names, page, policy};

pub fn trials() -> Vec<Trial> {
    vec![
        kernel_trial("each_change_is_kept_as_a_policy_file", each_change),
        kernel_trial("what_a_run_adds_is_not_kept", runs),
        kernel_trial("what_is_kept_already_is_not_written_again", unchanged),
        kernel_trial("unload_keeps_the_policy_and_says_that_it_was_taken_away", taken_away),
        kernel_trial("a_namespace_without_a_name_is_kept_nowhere", nameless),
        kernel_trial("where_the_system_booted_is_kept_as_host", host),
        kernel_trial("a_name_is_escaped_as_a_file_name", odd_name),
    ]
}

fn each_change(sandbox: &Sandbox) {
    name(&sandbox.netns);
    let first = policy(sandbox, &["web tcp 127.7.0.0/16 80", "pass tcp 127.7.0.1 22"]);
    let steps: [&[&str]; 5] = [
        &["apply", &first],
        &["bind", "dns", "udp", "127.7.0.53", "53", "dev", "lo"],
        &["unbind", "web", "tcp", "127.7.0.0/16", "80"],
        &["upgrade"],
        &["unbind", "pass", "tcp", "127.7.0.1", "22"],
    ];
    for step in steps {
        done(step);
        assert_eq!(kept(), applied(), "{step:?}");
        assert_eq!(fate(), "applied");
        assert_eq!(sklookup(&["check", PAGE]).exit, 0, "an ordinary policy file");
        assert_eq!(sklookup(&["diff", PAGE]).exit, 0, "of what is in effect");
    }
    for fact in [
        "network namespace blue",
        "# by       sklookup ",
        "# command  sklookup unbind pass tcp 127.7.0.1 22\n",
        " UTC (",
    ] {
        assert!(page().contains(fact), "{fact}: {}", page());
    }
    let mode = |path: &str| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode("/var/lib/sklookup"), mode(PAGE)), (0o700, 0o600));
    assert_eq!(names().len(), 1, "{:?}", names());
    // What changes nothing keeps nothing.
    std::fs::remove_file(PAGE).unwrap();
    for step in [&["apply", "--dry-run", &first][..], &["status"], &["export"], &["unload", "--dry-run"]] {
        sklookup(step);
    }
    assert_eq!(page(), "");
}

fn runs(sandbox: &Sandbox) {
    name(&sandbox.netns);
    bind("web tcp 127.7.0.0/16 80");
    let server = std::env::current_exe().unwrap();
    let words = ["run", "--bind", "tcp 127.9.0.0/16 80", "--", server.to_str().unwrap(), LISTEN];
    let mut run = command(&words).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(run.stderr.take().unwrap());
    let mut line = String::new();
    while !line.starts_with("sklookup: steering") {
        line.clear();
        assert_ne!(said.read_line(&mut line).unwrap(), 0, "it ended without steering");
    }
    assert!(done(&["list"]).stdout.contains("run:"));
    for other in ["other tcp 127.8.0.0/16 80", "other tcp 127.8.0.0/16 81"] {
        bind(other);
        assert!(kept() == applied() && kept().contains(other) && !kept().contains("run:"), "{}", kept());
    }
    let before = page();
    let (_, status) = document(&["status", "--policy", PAGE]);
    let kinds: Vec<&Value> = status["warnings"].as_array().unwrap().iter().map(|warning| &warning["kind"]).collect();
    assert!(kinds.iter().all(|kind| *kind == "no-socket"), "it is no difference: {status}");
    drop(run.stdin.take());
    assert!(run.wait().unwrap().success());
    assert_eq!(page(), before);
}

fn unchanged(sandbox: &Sandbox) {
    name(&sandbox.netns);
    bind("web tcp 127.7.0.0/16 80");
    let written = || std::fs::metadata(PAGE).map(|file| file.ino()).unwrap();
    let before = written();
    bind("web tcp 127.7.0.0/16 80");
    done(&["upgrade"]);
    let exported = sandbox.scratch.join("exported.toml");
    std::fs::write(&exported, applied()).unwrap();
    done(&["apply", exported.to_str().unwrap()]);
    assert_eq!(written(), before);
    bind("web tcp 127.7.0.0/16 81");
    assert_ne!(written(), before);
}

fn taken_away(sandbox: &Sandbox) {
    name(&sandbox.netns);
    done(&["unload"]);
    assert_eq!(names(), Vec::<PathBuf>::new(), "nothing is made for nothing");
    bind("web tcp 127.7.0.0/16 80");
    let policy = kept();
    done(&["unload"]);
    assert_eq!((fate().as_str(), kept()), ("taken-away", policy.clone()));
    done(&["unload"]);
    let ran = sklookup(&["apply", "--last"]);
    assert_eq!((ran.exit, ran.stdout.as_str()), (1, ""), "{ran:?}");
    assert!(ran.stderr.contains("taken away on purpose") && ran.stderr.contains("by: sklookup unload"), "{ran:?}");
    let hand = ran.stderr.lines().last().unwrap().rsplit(": sklookup ").next().unwrap().to_owned();
    done(&hand.split(' ').collect::<Vec<_>>());
    assert_eq!((fate().as_str(), kept()), ("applied", policy));
}

fn nameless(sandbox: &Sandbox) {
    let ran = bind("refuse tcp 127.7.0.0/16 80");
    assert_eq!(ran.stderr, "", "nobody asked for it");
    assert_eq!(names(), Vec::<PathBuf>::new());
    let dir = sandbox.scratch.join("kept");
    let (exit, answer) =
        document(&["--state-dir", dir.to_str().unwrap(), "bind", "refuse", "tcp", "127.7.0.0/16", "81"]);
    assert_eq!(exit, 0, "{answer}");
    assert!(answer["warnings"][0]["message"].as_str().unwrap().contains("nothing is kept on disk"), "{answer}");
    let last = sklookup(&["apply", "--last"]);
    assert_eq!(last.exit, 2, "{last:?}");
    assert!(last.stderr.contains("has no name that means it after a reboot"), "{last:?}");
}

fn host(sandbox: &Sandbox) {
    // A container, as far as anyone inside can tell: what it booted in is where its first process is.
    let script = "\"$0\" bind web tcp 127.7.0.0/16 80 && \"$0\" unload && \"$0\" apply --last";
    let ran: Ran = Command::new("unshare")
        .args(["--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", script, env!("CARGO_BIN_EXE_sklookup")])
        .output()
        .unwrap()
        .into();
    assert!(ran.exit == 1 && ran.stderr.contains("sklookup apply /var/lib/sklookup/host.toml"), "{ran:?}");
    // By its name it is another one: a namespace called host is not where the system booted.
    name(&sandbox.netns);
    std::fs::rename("/var/lib/sklookup/host.toml", "/var/lib/sklookup/netns-host.toml").unwrap();
    assert_eq!(sklookup(&["apply", "--last"]).exit, 1);
}

fn odd_name(sandbox: &Sandbox) {
    name_netns(&sandbox.netns, "..\u{1b}[2J");
    bind("web tcp 127.7.0.0/16 80");
    assert_eq!(names(), [PathBuf::from("/var/lib/sklookup/netns-=2E=2E=1B=5B2J.toml")]);
    let text = std::fs::read_to_string(&names()[0]).unwrap();
    assert!(text.contains("network namespace ..\\u{1b}[2J.\n") && !text.contains('\u{1b}'), "{text}");
}
