//! Calls to the kernel, by the trace of the fault door.

use std::collections::BTreeMap;
use std::fmt::Write;

use sklookup_testbed::trace::Call;
use sklookup_testbed::{Sandbox, Trace, Trial, kernel_trial};

use crate::command::{Ran, command, sklookup};

pub fn trials() -> Vec<Trial> {
    vec![
        kernel_trial("counts::calls_do_not_grow_with_the_bindings", calls_do_not_grow),
        kernel_trial("counts::an_edit_reads_each_text_once", texts_are_read_once),
    ]
}

/// A policy of so many hosts under four labels.
pub fn policy(sandbox: &Sandbox, bindings: u32) -> String {
    let mut text = String::from("bindings = [\n");
    for n in 0..bindings {
        writeln!(text, "\"l{} tcp 127.1.{}.{} 80\",", n % 4, n >> 8, n & 255).unwrap();
    }
    text.push_str("]\n");
    let path = sandbox.scratch.join(format!("{bindings}.toml"));
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// The calls that a command makes.
fn traced(sandbox: &Sandbox, arguments: &[&str]) -> Vec<Call> {
    let file = sandbox.scratch.join("trace");
    let _ = std::fs::remove_file(&file);
    let trace = Trace::new(&file);
    let ran: Ran = trace.of(&mut command(arguments)).output().unwrap().into();
    assert_eq!(ran.exit, 0, "{arguments:?}: {ran:?}");
    trace.calls()
}

/// How often each call was made. Counters are read a few MiB at a time: their number is what it is on this machine.
fn by_name(calls: &[Call]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for call in calls.iter().filter(|call| call.call != "BPF_MAP_LOOKUP_BATCH") {
        *counts.entry(call.call.clone()).or_default() += 1;
    }
    counts
}

fn calls_do_not_grow(sandbox: &Sandbox) {
    let of = |bindings| {
        let policy = policy(sandbox, bindings);
        let commands: [&[&str]; 5] = [
            &["apply", &policy],
            &["bind", "l0", "tcp", "127.2.0.1", "80"],
            &["bind", "l0", "tcp", "127.2.0.2", "80"],
            &["unbind", "l0", "tcp", "127.2.0.1", "80"],
            &["apply", &policy],
        ];
        let counts = commands.map(|arguments| by_name(&traced(sandbox, arguments)));
        assert_eq!(sklookup(&["unload"]).exit, 0);
        counts
    };
    assert_eq!(of(1_000), of(30_000));
}

fn texts_are_read_once(sandbox: &Sandbox) {
    let policy = policy(sandbox, 1_000);
    assert_eq!(sklookup(&["apply", &policy]).exit, 0);
    let texts = |arguments: &[&str]| -> Vec<String> {
        let calls = traced(sandbox, arguments);
        let opened = calls.iter().filter(|call| call.call == "BPF_OBJ_GET" && call.on.ends_with("/policy"));
        opened.map(|call| call.on.clone()).collect()
    };
    // The one it starts from, and the one before for what that counted.
    for arguments in [["bind", "l0", "tcp", "127.2.0.1", "80"], ["unbind", "l0", "tcp", "127.2.0.1", "80"]] {
        let read = texts(&arguments);
        let [one, other] = &read[..] else { panic!("{read:?}") };
        assert_ne!(one, other);
    }
    // What is applied already needs no counters.
    assert_eq!(texts(&["apply", &policy]).len(), 1);
}
