//! Killed or failed at any call, the hook has the program that was there or the one that was asked for; the next command works,
//! and nothing is left in the end.

use std::process::Stdio;

use sklookup_testbed::leftovers::attached as on_hook;
use sklookup_testbed::trace::Call;
use sklookup_testbed::{Fault, Leftovers, Sandbox, Trace, Trial, kernel_trial};

use crate::command::{Ran, command, sklookup};
use crate::world::{done, left, object};

pub fn trials() -> Vec<Trial> {
    vec![
        kernel_trial("killed_at_any_call_of_a_first_attach", |sandbox: &Sandbox| killed(sandbox, &FIRST)),
        kernel_trial("killed_at_any_call_of_a_replacement", |sandbox: &Sandbox| killed(sandbox, &REPLACEMENT)),
        kernel_trial("killed_at_any_call_of_a_detach", |sandbox: &Sandbox| killed(sandbox, &DETACH)),
        kernel_trial("failed_at_any_call_of_a_first_attach", |sandbox: &Sandbox| failed(sandbox, &FIRST)),
        kernel_trial("failed_at_any_call_of_a_replacement", |sandbox: &Sandbox| failed(sandbox, &REPLACEMENT)),
        kernel_trial("failed_at_any_call_of_a_detach", |sandbox: &Sandbox| failed(sandbox, &DETACH)),
        kernel_trial("of_two_at_once_both_come_to_be", at_once),
    ]
}

/// A command, and whether something is attached before and after it.
struct Subject {
    before: bool,
    step: &'static [&'static str],
    after: bool,
}

const FIRST: Subject = Subject { before: false, step: &["attach"], after: true };
const REPLACEMENT: Subject =
    Subject { before: true, step: &["attach", "--replace", "--map", "sockets=kept"], after: true };
const DETACH: Subject = Subject { before: true, step: &["detach", "assign"], after: false };

impl Subject {
    fn command(&self) -> std::process::Command {
        let file = object("assign");
        let mut words = self.step.to_vec();
        if words[0] == "attach" {
            words.insert(1, &file);
        }
        let mut command = command(&words);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// From nothing to where it starts.
    fn begin(&self, sandbox: &Sandbox) -> Vec<u32> {
        if self.before {
            done(&["attach", &object("assign")]);
        }
        on_hook(sandbox)
    }

    /// Its calls when nothing happens to it, up to the last that changes something: of those behind, which look at every link
    /// there is, nobody knows the number.
    fn rehearsed(&self, sandbox: &Sandbox) -> Vec<Call> {
        self.begin(sandbox);
        let trace = Trace::new(sandbox.scratch.join("trace"));
        let ran: Ran = trace.of(&mut self.command()).output().unwrap().into();
        assert_eq!(ran.exit, 0, "{ran:?}");
        let mut calls = trace.calls();
        trace.remove();
        let changes = ["rmdir", "unlink", "BPF_OBJ_PIN", "BPF_LINK_UPDATE"];
        let last = calls.iter().rposition(|call| changes.contains(&call.call.as_str())).unwrap();
        calls.truncate(last + 1);
        assert!(calls.len() > 15, "{calls:#?}");
        end(sandbox);
        calls
    }
}

/// Back to nothing, from whatever a command left.
fn end(sandbox: &Sandbox) {
    let ran = sklookup(&["detach", "assign"]);
    assert!(matches!(ran.exit, 0 | 1), "{ran:?}");
    assert_eq!(on_hook(sandbox), Vec::<u32>::new());
    left(sandbox, &[]);
}

fn killed(sandbox: &Sandbox, subject: &Subject) {
    for call in subject.rehearsed(sandbox) {
        for fault in [Fault::KillBefore(call.number), Fault::KillAfter(call.number)] {
            let before = subject.begin(sandbox);
            let trace = Trace::new(sandbox.scratch.join("trace"));
            let mut command = subject.command();
            let status = fault.in_command(trace.of(&mut command)).status().unwrap();
            assert!(!status.success(), "{fault}");
            let now = on_hook(sandbox);
            // Nobody sees anything between the two: one program at any time where one was and one is to be.
            assert!(
                now == before || now.len() == usize::from(subject.after),
                "{fault} at {call:?}: {before:?} {now:?}"
            );
            let programs = sklookup(&["programs"]);
            assert_eq!(programs.exit, i32::from(now.is_empty()), "{fault} at {call:?}: {programs:?}");
            assert!(!programs.stdout.contains("NOT WHAT"), "{fault} at {call:?}: {programs:?}");
            again(sandbox, subject, now == before, &trace, &format!("{fault} at {call:?}"));
        }
    }
}

/// The same again does what was asked, if it is not done yet, and nothing of either is left in the end.
fn again(sandbox: &Sandbox, subject: &Subject, to_do: bool, trace: &Trace, doing: &str) {
    let ran: Ran = subject.command().output().unwrap().into();
    let expected = if to_do { 0 } else { i32::from(subject.step.len() < 3) };
    assert_eq!(ran.exit, expected, "{doing}: {ran:?}");
    assert_eq!(on_hook(sandbox).len(), usize::from(subject.after), "{doing}");
    end(sandbox);
    assert_eq!(Leftovers::of(sandbox, trace), Leftovers::default(), "{doing}");
    trace.remove();
}

fn failed(sandbox: &Sandbox, subject: &Subject) {
    for call in subject.rehearsed(sandbox) {
        for fault in [Fault::Fail(call.number), Fault::FailWith(call.number, "EPERM")] {
            let before = subject.begin(sandbox);
            let trace = Trace::new(sandbox.scratch.join("trace"));
            let mut command = subject.command();
            let ran: Ran = fault.in_command(trace.of(&mut command)).output().unwrap().into();
            let now = on_hook(sandbox);
            let done = now != before;
            if ran.exit == 0 {
                assert!(done, "{fault} at {call:?}: it says that it is done: {ran:?}");
            } else {
                assert!(matches!(ran.exit, 1 | 2) && !ran.stderr.is_empty(), "{fault} at {call:?}: {ran:?}");
                assert!(!done || ran.stderr.contains("in effect all the same"), "{fault} at {call:?}: {ran:?}");
            }
            again(sandbox, subject, !done, &trace, &format!("{fault} at {call:?}"));
        }
    }
}

fn at_once(sandbox: &Sandbox) {
    for round in 0..5 {
        std::thread::scope(|scope| {
            for name in ["a", "b", "c"] {
                scope.spawn(move || done(&["attach", &object("assign"), "--name", name, "--replace"]));
            }
        });
        assert_eq!(on_hook(sandbox).len(), 3, "round {round}");
        std::thread::scope(|scope| {
            // Two want the same: each is in the place of the other or of the first.
            for name in ["a", "a", "b"] {
                scope.spawn(move || done(&["attach", &object("assign"), "--name", name, "--replace"]));
            }
            scope.spawn(|| done(&["detach", "c"]));
        });
        assert_eq!(on_hook(sandbox).len(), 2, "round {round}");
        for name in ["a", "b"] {
            done(&["detach", name]);
        }
        left(sandbox, &[]);
    }
}
