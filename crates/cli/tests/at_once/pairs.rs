//! Two commands at once, from two processes.

use std::os::fd::AsFd;
use std::process::{Child, Stdio};

use sklookup_kernel::Link;
use sklookup_testbed::{Sandbox, Trial, kernel_trial};

use crate::command::{command, document, sklookup};

pub fn trials() -> Vec<Trial> {
    vec![
        kernel_trial("of_two_processes_that_bind_at_once_200_times_both_are_there_each_time", bind_and_bind),
        kernel_trial("of_a_bind_and_an_unbind_at_once_each_does_its_own", bind_and_unbind),
        kernel_trial("the_very_first_two_commands_at_once_are_both_there", first_two),
        kernel_trial("a_bind_that_said_done_beside_an_unload_is_there_unless_it_was_taken_away_whole", unload_and_bind),
    ]
}

/// Starts commands at once and waits until all have succeeded.
fn together(commands: &[&[&str]]) {
    let started: Vec<Child> = commands.iter().map(|words| start(words)).collect();
    for (words, child) in commands.iter().zip(started) {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{words:?}: {output:?}");
    }
}

fn start(words: &[&str]) -> Child {
    command(words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn applied() -> usize {
    document(&["list"]).1["bindings"].as_array().unwrap().len()
}

fn assert_one_attached(sandbox: &Sandbox) {
    assert_eq!(Link::query(sandbox.netns.as_fd()).unwrap().len(), 1);
}

fn bind_and_bind(sandbox: &Sandbox) {
    for round in 1..=200 {
        let (one, other) = (format!("127.1.0.{round}"), format!("127.2.0.{round}"));
        together(&[&["bind", "web", "tcp", &one, "80"], &["bind", "other", "tcp", &other, "80"]]);
        assert_eq!(applied(), 2 * round, "round {round}");
    }
    assert_one_attached(sandbox);
}

fn bind_and_unbind(sandbox: &Sandbox) {
    together(&[&["bind", "web", "tcp", "127.1.0.0", "80"]]);
    for round in 1..=50 {
        let (new, old) = (format!("127.1.0.{round}"), format!("127.1.0.{}", round - 1));
        together(&[&["bind", "web", "tcp", &new, "80"], &["unbind", "web", "tcp", &old, "80"]]);
        let (_, list) = document(&["list"]);
        assert_eq!(list["bindings"].as_array().unwrap().len(), 1, "round {round}");
        assert_eq!(list["bindings"][0]["destination"], format!("{new}/32"), "round {round}");
    }
    assert_one_attached(sandbox);
}

fn first_two(sandbox: &Sandbox) {
    for round in 0..25 {
        together(&[&["bind", "web", "tcp", "127.1.0.0/16", "80"], &["bind", "other", "tcp", "127.2.0.0/16", "80"]]);
        assert_eq!(applied(), 2, "round {round}");
        assert_one_attached(sandbox);
        assert_eq!(sklookup(&["unload"]).exit, 0);
    }
}

fn unload_and_bind(sandbox: &Sandbox) {
    for round in 0..50 {
        together(&[&["bind", "web", "tcp", "127.1.0.0/16", "80"]]);
        together(&[&["bind", "web", "tcp", "127.2.0.0/16", "80"], &["unload"]]);
        // Before the unload: both went. After it: it began anew, alone. The old one alone would be a lost edit.
        let (_, list) = document(&["list"]);
        let destinations: Vec<_> =
            list["bindings"].as_array().unwrap().iter().map(|binding| binding["destination"].clone()).collect();
        assert!(destinations.is_empty() || destinations == ["127.2.0.0/16"], "round {round}: {destinations:?}");
        let attached = Link::query(sandbox.netns.as_fd()).unwrap().len();
        assert_eq!(attached, destinations.len(), "round {round}");
        assert_eq!(sklookup(&["unload"]).exit, 0);
    }
}
