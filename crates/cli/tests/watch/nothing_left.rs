//! A `watch` changes nothing, follows the policy, and leaves nothing behind, however it ends.

use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;

use sklookup_kernel::{Link, Netns, Sandbox, program_info_by_id};
use sklookup_testbed::leftovers::names;
use sklookup_testbed::{Leftovers, Trace, Trial, kernel_trial};

use crate::command::{Ran, document, sklookup};
use crate::eye::Eye;
use crate::world::{bind, connects, other_program};

pub fn trials() -> Vec<Trial> {
    vec![
        kernel_trial("a_watch_that_was_killed_leaves_the_program_as_it_was_and_nothing_else", killed),
        kernel_trial("another_policy_is_watched_from_then_on", follows),
        kernel_trial("what_is_steered_later_is_watched_behind_it", later),
        kernel_trial("a_hook_that_has_no_place_left_is_told", full_hook),
        kernel_trial("an_ordinary_user_is_told_what_it_takes", ordinary_user),
        kernel_trial("status_tells_the_watching_program_from_those_of_others", status),
    ]
}

/// The programs on the hook.
fn hook() -> Vec<u32> {
    Link::query(Netns::current().unwrap().as_fd()).unwrap()
}

fn killed(sandbox: &Sandbox) {
    bind("web tcp 127.7.0.0/16 80");
    let before = hook();
    let [ours] = before[..] else { panic!("{before:?}") };
    let steering = program_info_by_id(ours).unwrap();
    let pins = names(&sandbox.bpffs);

    let trace = Trace::new(sandbox.scratch.join("trace"));
    let mut eye = Eye::traced(&trace, &[]);
    assert!(!connects("127.7.0.1:80"));
    eye.event();
    let [first, watching] = hook()[..] else { panic!("{:?}", hook()) };
    assert_eq!(first, ours);
    assert_eq!(program_info_by_id(watching).unwrap().name, "sklookup_watch");
    // Not even while it is watched does the steering program become another, and nothing is pinned.
    assert_eq!(program_info_by_id(ours).unwrap(), steering);
    assert_eq!(names(&sandbox.bpffs), pins);

    eye.kill();
    assert_eq!(hook(), before);
    assert_eq!(program_info_by_id(ours).unwrap(), steering);
    assert_eq!(names(&sandbox.bpffs), pins);
    // Its program, its link and its maps: all that it made is gone.
    let made = trace.made();
    assert!(made.len() >= 4, "{made:?}");
    assert!(Leftovers::among(sandbox, &made).objects.is_empty());
    assert_eq!(document(&["status"]).1["generation"], ours);
}

fn follows(_: &Sandbox) {
    bind("web tcp 127.7.0.0/16 80");
    let mut eye = Eye::open(&[]);
    bind("refuse tcp 127.8.0.0/16");
    let said = eye.says();
    assert!(said.contains("watching 2 bindings of generation "), "{said}");
    assert!(!connects("127.8.0.1:80"));
    assert_eq!(eye.event(), "refused tcp 127.8.0.1:80 dev lo refuse refused");
    let [_, _] = hook()[..] else { panic!("{:?}", hook()) };
    // Of a policy that was replaced meanwhile nothing is told.
    for _ in 0..5 {
        bind("refuse tcp 127.9.0.0/16");
        assert!(!connects("127.9.0.1:80"));
        assert_eq!(sklookup(&["unbind", "refuse", "tcp", "127.9.0.0/16"]).exit, 0);
        assert!(!connects("127.9.0.1:80"));
    }
    let (_, sum) = eye.end();
    let (told, replaced) = (sum["told"].as_u64().unwrap(), sum["left-out"]["replaced"].as_u64().unwrap());
    assert!(told + replaced <= 6, "those behind `unbind` are no events of any policy: {sum}");
}

fn later(_: &Sandbox) {
    let mut eye = Eye::open(&[]);
    for round in 0..2 {
        bind("web tcp 127.7.0.0/16 80");
        // The first generation is empty; which of the two is seen first is a matter of time.
        while !eye.says().contains("watching 1 binding of generation ") {}
        let [ours, watching] = hook()[..] else { panic!("{:?}", hook()) };
        assert_eq!(document(&["status"]).1["generation"], ours, "round {round}: ours runs first");
        assert_eq!(program_info_by_id(watching).unwrap().name, "sklookup_watch");
        assert!(!connects("127.7.0.1:80"));
        assert_eq!(eye.event(), "no-socket tcp 127.7.0.1:80 dev lo web refused");
        assert_eq!(sklookup(&["unload"]).exit, 0);
        let said = eye.says();
        assert!(said.contains("nothing is steered here; waiting for a policy"), "{said}");
        assert!(hook().is_empty());
    }
}

fn full_hook(_: &Sandbox) {
    bind("web tcp 127.7.0.0/16 80");
    let _others: Vec<_> = (1..64).map(|_| other_program()).collect();
    let ran = sklookup(&["watch"]);
    assert_eq!((ran.exit, ran.stdout.as_str()), (2, ""), "{ran:?}");
    assert!(ran.stderr.contains("64 programs are attached") && ran.stderr.contains("`sklookup programs`"), "{ran:?}");
    assert_eq!(hook().len(), 64);
}

fn ordinary_user(sandbox: &Sandbox) {
    bind("web tcp 127.7.0.0/16 80");
    let copy = sandbox.scratch.join("sklookup");
    sklookup_testbed::copy_program(env!("CARGO_BIN_EXE_sklookup"), &copy);
    let output = std::process::Command::new(copy).arg("watch").uid(65534).gid(65534).output().unwrap();
    let ran = Ran::from(output);
    assert_eq!((ran.exit, ran.stdout.as_str()), (2, ""), "{ran:?}");
    assert!(ran.stderr.contains("CAP_BPF") && ran.stderr.contains("CAP_NET_ADMIN"), "{ran:?}");
}

fn status(_: &Sandbox) {
    bind("web tcp 127.7.0.0/16 80");
    let _eye = Eye::open(&[]);
    let text = sklookup(&["status"]).stdout;
    let watching = hook()[1];
    assert!(
        text.contains(&format!(
            "{watching}  by its name of a `sklookup watch`, which selects nothing: sklookup_watch (tag "
        )),
        "{text}"
    );
}
