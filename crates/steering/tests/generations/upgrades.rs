//! Generations made anew of the same policy, and state that other versions wrote.

use sklookup_kernel::Sandbox;
use sklookup_kernel::process::Process;
use sklookup_policy::{Owner, Policy};
use sklookup_steering::{Committed, Error, Member, Placement, STATE_VERSION, State};
use sklookup_testbed::leftovers::names;
use sklookup_testbed::{Trial, kernel_trial};

use super::world::{Server, applied, apply, attached, bind, entries, label, register, rewrite, state};

pub fn trials() -> Vec<Trial> {
    vec![
        kernel_trial("an_upgrade_is_another_generation_of_the_same_policy", renewed),
        kernel_trial("an_upgrade_of_nothing_says_so_and_leaves_nothing", of_nothing),
        kernel_trial("upgrades_and_edits_at_once_lose_no_edit", beside_edits),
        kernel_trial("state_of_layout_1_is_read_and_the_next_commit_writes_this_one", older),
        kernel_trial("a_run_of_layout_1_is_judged_by_its_pid", older_run),
        kernel_trial("state_of_a_newer_layout_is_refused_and_can_be_unloaded", newer),
    ]
}

/// What sklookup 0.1.0 left in layout 1, and the policy in it.
const LAYOUT_1: &str = include_str!("../../../../testdata/state/layout-1.txt");
const POLICY_1: [&str; 9] = [
    "web tcp 127.7.0.0/16 80,443",
    "pass tcp 127.7.0.1 22",
    "refuse tcp 127.7.0.66 from 127.0.0.0/8",
    "run:8278.1194932 tcp 127.9.0.0/16 80 when-empty pass",
    "web tcp fd00:7::/64 80,443",
    "web udp 127.7.0.0/16 8000-8999 when-empty pass",
    "dns udp 127.7.0.53 53 dev lo",
    "spare tcp 127.99.0.1",
    "spare udp 127.99.0.1",
];

/// Puts what layout 1 left in the place of a generation of the same policy.
fn left_by_layout_1(state: &State, owner: &str) {
    // The last two are there for their label, which no binding of the text names.
    apply(state, &POLICY_1).unwrap();
    let server = Server::new("127.0.0.1");
    register(state, "spare", vec![server.fd()]).unwrap();
    apply(state, &POLICY_1[..7]).unwrap();
    let parent = state.generation().unwrap().unwrap().record.parent;
    rewrite(state, |_| LAYOUT_1.replace("parent 59184", &format!("parent {parent}")).replace("8278:1194932", owner));
}

fn renewed(sandbox: &Sandbox) {
    let state = state(sandbox);
    let server = Server::new("127.0.0.1");
    register(&state, "web", vec![server.fd()]).unwrap();
    apply(&state, &["web tcp 127.7.0.0/16 80", "pass tcp 127.7.0.1 80"]).unwrap();
    let before = state.generation().unwrap().unwrap();
    for hits in 0..5 {
        let (_, counts) = state.counted().unwrap().unwrap();
        assert_eq!(counts[0].hits, hits, "counted on");
        assert!(server.gets("127.7.0.2:80"), "registered still");
        let parent = state.generation().unwrap().unwrap().live.id;
        let Committed::Generation { id, parent: replaced } = state.upgrade().unwrap() else { panic!("it is another") };
        assert_eq!((replaced, attached()), (parent, vec![id]));
    }
    let after = state.generation().unwrap().unwrap();
    assert_eq!(after.record.policy, before.record.policy, "with its origins");
    assert_eq!(after.record.labels, before.record.labels);
}

fn of_nothing(sandbox: &Sandbox) {
    let error = state(sandbox).upgrade().unwrap_err();
    assert!(matches!(error, Error::NotLoaded { .. }), "{error}");
    assert_eq!(names(&sandbox.bpffs), Vec::<String>::new());
}

fn beside_edits(sandbox: &Sandbox) {
    let state = state(sandbox);
    apply(&state, &["web tcp 127.7.0.0/16 1"]).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..20 {
                state.upgrade().unwrap();
            }
        });
        for port in 2..=20 {
            bind(&state, &[&format!("web tcp 127.7.0.0/16 {port}")]).unwrap();
        }
    });
    assert_eq!(applied(&state).len(), 20);
}

fn older(sandbox: &Sandbox) {
    let state = state(sandbox);
    left_by_layout_1(&state, "8278:1194932");
    let read = state.generation().unwrap().unwrap();
    assert_eq!((read.record.layout, read.record.policy.len()), (1, 9));
    state.upgrade().unwrap();
    let upgraded = state.generation().unwrap().unwrap();
    assert_eq!(upgraded.record.layout, STATE_VERSION);
    let stays = |entry: &&sklookup_policy::Entry| entry.owner.is_none();
    let lasting: Vec<_> = read.record.policy.entries().iter().filter(stays).cloned().collect();
    assert_eq!(upgraded.record.policy.entries(), lasting, "the `run` of that pid and start time has ended long ago");
}

fn older_run(sandbox: &Sandbox) {
    let state = state(sandbox);
    let pid = std::process::id();
    let start = Process::open(pid).unwrap().start_time().unwrap();
    left_by_layout_1(&state, &format!("{pid}:{start}"));
    state.upgrade().unwrap();
    bind(&state, &["web tcp 127.8.0.1"]).unwrap();
    let generation = state.generation().unwrap().unwrap();
    let owners: Vec<Owner> = generation.record.policy.entries().iter().filter_map(|entry| entry.owner).collect();
    assert_eq!(owners, [Owner { pid, start, pid_namespace: None }], "it lives, and is still known by its pid alone");
    assert_eq!(state.status().unwrap().in_effect().unwrap().runs.iter().filter(|run| run.alive).count(), 1);
}

fn newer(sandbox: &Sandbox) {
    let state = state(sandbox);
    apply(&state, &["web tcp 127.7.0.0/16"]).unwrap();
    let map = state.generation().unwrap().unwrap().live.dir.join("labels/web");
    rewrite(&state, |_| "sklookup-state 99\nwriter 9.9\n".to_owned());
    let server = Server::new("127.0.0.1");
    let placement = |name| {
        let members: Vec<Member> = vec![super::world::member(server.fd())];
        Placement { label: label(name), members }
    };
    let added = entries(&["web tcp 127.7.0.0/16 1"]);
    let errors = [
        state.generation().unwrap_err(),
        apply(&state, &["web tcp 127.7.0.0/16 1"]).unwrap_err(),
        state.commit(&[], &mut |_| Policy::new(added.clone()).map_err(Error::Policy)).unwrap_err(),
        state.upgrade().unwrap_err(),
        state.register(placement("web")).unwrap_err(),
        state.register(placement("new")).unwrap_err(),
        state.unregister(&label("web"), &|_| true).unwrap_err(),
        state.status().unwrap_err(),
        state.counted().unwrap_err(),
    ];
    for error in errors {
        assert!(matches!(error, Error::Newer { version: 99, .. }), "{error}");
        assert!(error.help().unwrap().contains("newer sklookup"), "{error}");
    }
    let web = sklookup_kernel::Sockmap::open(&map).unwrap();
    assert!((0..64).all(|slot| web.cookie(slot).unwrap().is_none()), "which slot is whose is a matter of the layout");
    // Taking steering away asks nothing of the layout.
    assert!(state.live_id().unwrap().is_some());
    assert!(state.unload().unwrap());
    assert_eq!(names(&sandbox.bpffs), Vec::<String>::new());
}
