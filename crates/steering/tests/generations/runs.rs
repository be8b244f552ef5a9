//! Bindings that live as long as a process holds its directory.

use std::os::fd::AsFd;

use sklookup_kernel::{Sandbox, bpffs};
use sklookup_policy::{Entry, Owner, Policy};
use sklookup_steering::{Error, State};
use sklookup_testbed::leftovers::names;
use sklookup_testbed::{Trial, kernel_trial};

use super::world::{applied, apply, bind, entries, state};

pub fn trials() -> Vec<Trial> {
    vec![
        kernel_trial("a_run_that_holds_its_directory_keeps_its_bindings_whatever_its_pid_is", kept),
        kernel_trial("looking_at_a_run_does_not_make_it_look_alive", asked_at_once),
        kernel_trial("what_a_killed_run_left_is_swept_by_the_next_command", swept),
        kernel_trial("unload_takes_a_living_run_away_with_all_else", unloaded),
    ]
}

/// A process that nobody can find under its pid: there is none, or it is in another namespace.
const OWNER: Owner = Owner { pid: 4_194_305, start: 7, pid_namespace: Some(4_026_532_999) };

/// Its directory.
const DIRECTORY: &str = "run-4194305-7-4026532999";

fn bind_own(state: &State) {
    let own: Vec<Entry> = entries(&["run:x tcp 127.9.0.0/16 80 when-empty pass"])
        .into_iter()
        .map(|entry| Entry { owner: Some(OWNER), ..entry })
        .collect();
    let mut edit = |current: &sklookup_steering::Current<'_>| {
        Policy::new(current.policy.entries().iter().chain(&own).cloned().collect()).map_err(Error::Policy)
    };
    state.commit(&[], &mut edit).unwrap();
}

fn kept(sandbox: &Sandbox) {
    let state = state(sandbox);
    let presence = state.announce(OWNER).unwrap();
    bind_own(&state);
    apply(&state, &["web tcp 127.7.0.0/16 80"]).unwrap();
    bind_own(&state);
    for port in 1..4 {
        bind(&state, &[&format!("web tcp 127.7.0.0/16 {port}")]).unwrap();
    }
    state.upgrade().unwrap();
    assert_eq!(applied(&state).len(), 5);
    assert!(state.status().unwrap().in_effect().unwrap().runs[0].alive);
    drop(presence);
    assert!(!state.status().unwrap().in_effect().unwrap().runs[0].alive);
    bind(&state, &["web tcp 127.7.0.0/16 4"]).unwrap();
    assert_eq!(applied(&state).len(), 5, "one more of ours, and none of its");
}

fn asked_at_once(sandbox: &Sandbox) {
    let state = state(sandbox);
    apply(&state, &["web tcp 127.7.0.0/16 80"]).unwrap();
    bpffs::create_dir(&state.dir().join(DIRECTORY), 0o711).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_eq!((0..500).filter(|_| state.is_alive(OWNER)).count(), 0));
        }
    });
    // Nor does it keep the `run` from its own directory.
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| (0..5000).filter(|_| state.is_alive(OWNER)).count());
        while !asking.is_finished() {
            drop(state.announce(OWNER).unwrap());
        }
    });
}

fn swept(sandbox: &Sandbox) {
    let state = state(sandbox);
    apply(&state, &["web tcp 127.7.0.0/16 80"]).unwrap();
    let left = state.dir().join(DIRECTORY);
    bpffs::create_dir(&left, 0o711).unwrap();
    let held = bpffs::open_dir(&left).unwrap();
    assert!(bpffs::try_lock(held.as_fd()).unwrap());
    bind(&state, &["web tcp 127.7.0.0/16 81"]).unwrap();
    assert!(left.exists(), "it lives");
    drop(held);
    bind(&state, &["web tcp 127.7.0.0/16 82"]).unwrap();
    assert!(!left.exists());
}

fn unloaded(sandbox: &Sandbox) {
    let state = state(sandbox);
    let presence = state.announce(OWNER).unwrap();
    assert!(state.live_id().unwrap().is_none(), "to say that one lives steers nothing");
    bind_own(&state);
    assert!(presence.is_there().unwrap());
    assert!(state.unload().unwrap());
    assert_eq!(names(&sandbox.bpffs), Vec::<String>::new());
    assert!(!presence.is_there().unwrap(), "who adds bindings now has to say that it lives");
    let again = state.announce(OWNER).unwrap();
    bind_own(&state);
    drop(presence);
    bind(&state, &["web tcp 127.7.0.0/16 80"]).unwrap();
    assert!(again.is_there().unwrap() && state.is_alive(OWNER) && applied(&state).len() == 2);
    assert!(state.unload().unwrap());
    drop(again);
    assert_eq!(names(&sandbox.bpffs), Vec::<String>::new());
}
