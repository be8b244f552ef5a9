//! The fault door itself: what it can have happen, and what it tells.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use sklookup_testbed::trace::Call;
use sklookup_testbed::{Fault, Leftovers, Sandbox, Trace, Trial, fault, kernel_trial};

use crate::command::{Ran, command, sklookup};

pub fn trials() -> Vec<Trial> {
    vec![
        kernel_trial("door::each_call_is_told_with_what_it_was_made_on", told),
        kernel_trial("door::a_call_is_not_made_by_who_is_killed_before_it", killed_before),
        kernel_trial("door::a_call_is_made_by_who_is_killed_after_it", killed_after),
        kernel_trial("door::a_call_fails_as_it_was_asked_to", failed),
        kernel_trial("door::who_is_stopped_goes_on_from_there", stopped),
        kernel_trial("door::objects_that_were_made_are_known_until_they_are_gone", objects),
    ]
}

fn bind() -> Command {
    let mut bind = command(&["bind", "web", "tcp", "127.7.0.0/16", "80"]);
    bind.stdout(Stdio::null()).stderr(Stdio::null());
    bind
}

/// The calls of an undisturbed `bind` where nothing is applied, and where it attaches its program.
fn undisturbed(sandbox: &Sandbox) -> (Vec<Call>, u32) {
    let trace = Trace::new(sandbox.scratch.join("undisturbed"));
    assert!(trace.of(&mut bind()).status().unwrap().success());
    assert_eq!(sklookup(&["unload"]).exit, 0);
    let calls = trace.calls();
    let attaches = calls.iter().find(|call| call.call == "BPF_LINK_CREATE").expect("it attaches").number;
    (calls, attaches)
}

fn told(sandbox: &Sandbox) {
    let (calls, _) = undisturbed(sandbox);
    let numbers: Vec<u32> = calls.iter().map(|call| call.number).collect();
    assert_eq!(numbers, (1..=calls.len() as u32).collect::<Vec<_>>());
    assert!(calls.iter().all(|call| call.pid == calls[0].pid), "one process");
    let has = |name: &str, on: &str| calls.iter().any(|call| call.call == name && call.on.contains(on));
    let root = sandbox.bpffs.join("sklookup");
    assert!(has("mkdir", root.to_str().unwrap()), "{calls:#?}");
    for (name, on) in [("flock", "/gen-"), ("BPF_OBJ_PIN", "/link"), ("BPF_LINK_UPDATE", "link "), ("rename", "/next")]
    {
        assert!(has(name, on), "{name} on {on}: {calls:#?}");
    }
}

fn killed_before(sandbox: &Sandbox) {
    let (_, attaches) = undisturbed(sandbox);
    let trace = Trace::new(sandbox.scratch.join("trace"));
    let status = Fault::KillBefore(attaches).in_command(trace.of(&mut bind())).status().unwrap();
    assert_eq!(status.signal(), Some(9), "{status}");
    let last = trace.calls().pop().unwrap();
    assert_eq!((last.number, last.call.as_str(), last.outcome.as_str()), (attaches, "BPF_LINK_CREATE", "killed"));
}

fn killed_after(sandbox: &Sandbox) {
    let (_, attaches) = undisturbed(sandbox);
    let trace = Trace::new(sandbox.scratch.join("trace"));
    let status = Fault::KillAfter(attaches).in_command(trace.of(&mut bind())).status().unwrap();
    assert_eq!(status.signal(), Some(9), "{status}");
    let last = trace.calls().pop().unwrap();
    assert_eq!(last.number, attaches);
    let link = last.made().expect("it was made");
    assert!(link.to_string().starts_with("link "), "{link}");
}

fn failed(sandbox: &Sandbox) {
    let (_, attaches) = undisturbed(sandbox);
    for (fault, errno) in [(Fault::Fail(attaches), "ENOMEM"), (Fault::FailWith(attaches, "E2BIG"), "E2BIG")] {
        let trace = Trace::new(sandbox.scratch.join(errno));
        let mut bind = bind();
        let ran: Ran = fault.in_command(trace.of(bind.stderr(Stdio::piped()))).output().unwrap().into();
        assert_eq!(ran.exit, 2, "{ran:?}");
        assert!(ran.stderr.contains(&format!("({errno})")), "{ran:?}");
        let outcome = format!("failed {errno}");
        assert!(trace.calls().iter().any(|call| call.number == attaches && call.outcome == outcome));
    }
}

fn stopped(sandbox: &Sandbox) {
    let (_, attaches) = undisturbed(sandbox);
    let mut child = Fault::Stop(attaches).in_command(&mut bind()).spawn().unwrap();
    assert!(fault::stops(&child), "it stops");
    assert_eq!(sklookup_testbed::leftovers::attached(sandbox).len(), 0, "before the call");
    fault::go_on(&child);
    assert!(!fault::stops(&child), "once");
    assert!(child.wait().unwrap().success());
    assert_eq!(sklookup_testbed::leftovers::attached(sandbox).len(), 1);
}

fn objects(sandbox: &Sandbox) {
    let trace = Trace::new(sandbox.scratch.join("trace"));
    assert!(trace.of(&mut bind()).status().unwrap().success());
    let made = trace.made();
    assert!(made.iter().any(|object| object.exists().unwrap()), "{made:?}");
    let applied = Leftovers::of(sandbox, &trace);
    assert_eq!(applied.attached.len(), 1, "{applied:?}");
    assert!(applied.objects.is_empty(), "everything that is still there is pinned: {applied:?}");
    assert_eq!(sklookup(&["unload"]).exit, 0);
    assert_eq!(Leftovers::of(sandbox, &trace), Leftovers::default());
    assert!(made.iter().all(|object| !object.exists().unwrap()), "{made:?}");
}
