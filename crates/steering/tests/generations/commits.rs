//! Commits: whole, atomic, and never lost.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use sklookup_kernel::{Netns, Sandbox, interface};
use sklookup_steering::{Committed, Error};
use sklookup_testbed::leftovers::names;
use sklookup_testbed::{Trial, kernel_trial};

use super::world::{Server, applied, apply, attached, bind, label, refused, register, state};

pub fn trials() -> Vec<Trial> {
    vec![
        kernel_trial("a_policy_applied_before_its_socket_steers_once_one_is_registered", steers),
        kernel_trial("unload_leaves_nothing_behind", unload_leaves_nothing),
        kernel_trial("applying_what_is_applied_changes_nothing", unchanged),
        kernel_trial("after_many_commits_only_the_live_generation_and_its_parent_are_kept", swept),
        kernel_trial("an_edit_that_refuses_leaves_not_even_an_empty_policy", refusing_leaves_nothing),
        kernel_trial("a_conflict_with_what_is_applied_changes_nothing", conflict),
        kernel_trial("edits_made_at_once_are_all_there_in_the_end", concurrent_edits),
        kernel_trial("the_very_first_commands_at_once_attach_one_program", concurrent_first),
        kernel_trial("unload_and_bind_at_once_leave_all_or_nothing", unload_against_bind),
        kernel_trial("no_connection_is_refused_while_policies_are_swapped", swap_under_load),
        kernel_trial("an_interface_that_is_not_there_is_an_error_and_nothing_is_applied", no_interface),
        kernel_trial("what_is_applied_can_be_changed_though_its_interface_is_gone", interface_gone),
        kernel_trial("a_first_command_that_fails_leaves_nothing", failing_first),
        kernel_trial("state_that_its_writer_left_half_made_is_swept_with_its_namespace", half_made),
        kernel_trial("a_label_whose_map_is_missing_is_damage_and_not_contention", missing_map),
        kernel_trial("a_namespace_reborn_under_the_same_inode_is_not_taken_for_the_old_one", reborn),
    ]
}

fn steers(sandbox: &Sandbox) {
    let state = state(sandbox);
    apply(&state, &["web tcp 127.7.0.0/16 80,8000-8999", "web tcp ::1 80"]).unwrap();
    assert!(refused("127.7.1.2:80"), "no socket yet, and when-empty is refuse");
    let server = Server::new("::");
    register(&state, "web", vec![server.fd()]).unwrap();
    for to in ["127.7.1.2:80", "127.7.255.1:8999", "[::1]:80"] {
        assert!(server.gets(to), "{to}");
    }
    assert!(refused("127.7.1.2:81"));
    assert!(refused("127.8.1.2:80"));
}

fn unload_leaves_nothing(sandbox: &Sandbox) {
    let state = state(sandbox);
    assert!(!state.unload().unwrap(), "nothing to unload yet");
    apply(&state, &["web tcp 127.7.0.0/16"]).unwrap();
    assert_eq!(attached().len(), 1);
    assert!(state.unload().unwrap());
    assert_eq!(attached(), []);
    assert_eq!(names(&sandbox.bpffs), Vec::<String>::new());
    assert!(!state.unload().unwrap());
}

fn unchanged(sandbox: &Sandbox) {
    let state = state(sandbox);
    let Committed::Generation { id, .. } = apply(&state, &["web tcp 127.7.0.0/16 80"]).unwrap() else {
        panic!("the first apply changes something")
    };
    assert_eq!(apply(&state, &["web tcp 127.7.0.0/16 80"]).unwrap(), Committed::Unchanged { id });
    assert_eq!(attached(), [id]);
}

fn swept(sandbox: &Sandbox) {
    let state = state(sandbox);
    for port in 1..=20 {
        bind(&state, &[&format!("web tcp 127.7.0.0/16 {port}")]).unwrap();
    }
    assert_eq!(applied(&state).len(), 20);
    let generations: Vec<String> =
        names(state.dir()).into_iter().filter(|name| name.starts_with("gen-") && !name.contains('/')).collect();
    assert_eq!(generations.len(), 2, "{generations:?}");
    let live = state.generation().unwrap().unwrap();
    assert!(generations.contains(&format!("gen-{}", live.live.id)));
    assert!(generations.contains(&format!("gen-{}", live.record.parent)));
    assert_eq!(attached(), [live.live.id]);
}

fn refusing_leaves_nothing(sandbox: &Sandbox) {
    let state = state(sandbox);
    let refused = state.commit(&[], &mut |_| Err(Error::Refused("no".to_owned())));
    assert!(matches!(refused, Err(Error::Refused(_))));
    assert_eq!(attached(), []);
    assert_eq!(names(&sandbox.bpffs), Vec::<String>::new());
}

fn conflict(sandbox: &Sandbox) {
    let state = state(sandbox);
    bind(&state, &["web tcp 127.7.0.0/16 80"]).unwrap();
    let problem = bind(&state, &["other tcp 127.7.0.0/16 80"]).unwrap_err();
    assert!(matches!(problem, Error::Policy(_)), "{problem}");
    assert_eq!(applied(&state), ["web tcp 127.7.0.0/16 80"]);
}

fn concurrent_edits(sandbox: &Sandbox) {
    let netns = || Netns::current().unwrap();
    let (a, b) = (netns(), netns());
    let bpffs = &sandbox.bpffs;
    std::thread::scope(|scope| {
        for (who, netns) in [("1", a), ("2", b)] {
            scope.spawn(move || {
                let state = sklookup_steering::State::new(bpffs, netns).unwrap();
                for port in 1..=30 {
                    bind(&state, &[&format!("web tcp 127.{who}.0.0/16 {port}")]).unwrap();
                }
            });
        }
    });
    assert_eq!(applied(&state(sandbox)).len(), 60);
    assert_eq!(attached().len(), 1);
}

fn concurrent_first(sandbox: &Sandbox) {
    for round in 0..10 {
        std::thread::scope(|scope| {
            for who in 1..=4 {
                let (netns, bpffs) = (Netns::current().unwrap(), &sandbox.bpffs);
                scope.spawn(move || {
                    let state = sklookup_steering::State::new(bpffs, netns).unwrap();
                    bind(&state, &[&format!("web tcp 127.{who}.0.0/16 80")]).unwrap();
                });
            }
        });
        let state = state(sandbox);
        assert_eq!(applied(&state).len(), 4, "round {round}");
        assert_eq!(attached().len(), 1, "round {round}");
        state.unload().unwrap();
    }
    assert_eq!(names(&sandbox.bpffs), Vec::<String>::new());
}

fn unload_against_bind(sandbox: &Sandbox) {
    std::thread::scope(|scope| {
        let (netns, bpffs) = (Netns::current().unwrap(), &sandbox.bpffs);
        let binding = scope.spawn(move || {
            let state = sklookup_steering::State::new(bpffs, netns).unwrap();
            for port in 1..=40 {
                bind(&state, &[&format!("web tcp 127.7.0.0/16 {port}")]).unwrap();
            }
        });
        let state = state(sandbox);
        // Bounded, or the one who always finds something to take away would starve the other.
        let mut unloaded = 0;
        while unloaded < 20 && !binding.is_finished() {
            unloaded += usize::from(state.unload().unwrap());
            assert!(attached().len() <= 1);
        }
    });
    let state = state(sandbox);
    let left = applied(&state);
    assert_eq!(left.last().map(String::as_str), Some("web tcp 127.7.0.0/16 40"), "{left:?}");
    assert_eq!(attached().len(), 1);
    state.unload().unwrap();
    assert_eq!(names(&sandbox.bpffs), Vec::<String>::new());
}

/// One service moves between two labels 200 times while a client connects as fast as it can.
fn swap_under_load(sandbox: &Sandbox) {
    const SWAPS: usize = 200;
    let state = state(sandbox);
    let servers = [Server::new("127.0.0.1"), Server::new("127.0.0.1")];
    let elsewhere = Server::new("127.0.0.1");
    for (name, server) in ["a", "b"].into_iter().zip(&servers) {
        register(&state, name, vec![server.fd()]).unwrap();
    }
    register(&state, "elsewhere", vec![elsewhere.fd()]).unwrap();
    apply(&state, &["a tcp 127.7.0.0/16 80"]).unwrap();

    let (done, connected) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let (done, connected) = (&done, &connected);
        // Accepting in threads of their own keeps the backlogs short.
        for server in &servers {
            let listener = server.listener.try_clone().unwrap();
            listener.set_nonblocking(true).unwrap();
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    if let Ok((stream, _)) = listener.accept() {
                        drop(stream);
                    } else {
                        std::thread::yield_now();
                    }
                }
            });
        }
        let client = scope.spawn(move || {
            let mut failed = Vec::new();
            let mut host = 0_u32;
            while !done.load(Ordering::Relaxed) {
                host = (host + 1) % 60_000;
                // A new address each time: the ports of one pair of addresses would run out in TIME_WAIT.
                let to = std::net::SocketAddr::from(([127, 7, (host >> 8) as u8, host as u8], 80));
                match std::net::TcpStream::connect(to) {
                    Ok(_) => drop(connected.fetch_add(1, Ordering::Relaxed)),
                    Err(error) => failed.push(error.to_string()),
                }
            }
            failed
        });
        for swap in 0..SWAPS {
            let lines = if swap % 2 == 0 {
                ["b tcp 127.7.0.0/16 80", "elsewhere tcp 127.9.0.0/16 80"]
            } else {
                ["a tcp 127.7.0.0/16 80", "elsewhere tcp 127.9.0.0/16 81"]
            };
            apply(&state, &lines).unwrap();
        }
        done.store(true, Ordering::Relaxed);
        let failed = client.join().unwrap();
        assert_eq!(failed, Vec::<String>::new());
    });
    assert!(connected.load(Ordering::Relaxed) > SWAPS, "the client was there all the while");
    elsewhere.listener.set_nonblocking(true).unwrap();
    assert!(elsewhere.listener.accept().is_err(), "a server that neither policy names for it got a connection");
}

fn no_interface(sandbox: &Sandbox) {
    let state = state(sandbox);
    let error = apply(&state, &["web tcp 127.7.0.0/16 80 dev eth7"]).unwrap_err();
    assert!(error.to_string().starts_with("interface eth7: "), "{error}");
    assert!(state.generation().unwrap().is_none());
    apply(&state, &["web tcp 127.7.0.0/16 80 dev lo"]).unwrap();
    assert_eq!(state.generation().unwrap().unwrap().record.interfaces.values().collect::<Vec<_>>(), [&1]);
}

fn interface_gone(sandbox: &Sandbox) {
    let state = state(sandbox);
    let (v0, _) = interface::add_veth("v0", "v1").unwrap();
    apply(&state, &["web tcp 127.7.0.0/16 80 dev v0"]).unwrap();
    interface::remove(v0).unwrap();
    bind(&state, &["other tcp 127.9.0.0/16 80"]).unwrap();
    assert_eq!(applied(&state).len(), 2);
    let error = bind(&state, &["web tcp 127.7.0.0/16 81 dev v7"]).unwrap_err();
    assert!(error.to_string().contains("v7"), "{error}");
}

fn failing_first(sandbox: &Sandbox) {
    let state = state(sandbox);
    let mut asked = 0;
    let failed = state.commit(&[], &mut |current| {
        asked += 1;
        // Asked for the second time, the empty policy is attached.
        if asked == 2 { Err(Error::Refused("no".to_owned())) } else { Ok(current.policy.clone()) }
    });
    // An empty policy needs no second look; whatever came of it, an error leaves nothing.
    if failed.is_err() {
        assert_eq!(attached(), []);
        assert_eq!(names(&sandbox.bpffs), Vec::<String>::new());
    }
    assert!(failed.is_err(), "asked {asked} times");
}

fn half_made(sandbox: &Sandbox) {
    let gone = Netns::new_private().unwrap();
    let half = sklookup_steering::State::new(&sandbox.bpffs, gone).unwrap();
    apply(&half, &["web tcp 127.7.0.0/16 80"]).unwrap();
    let dir = half.dir().to_owned();
    // As an unload leaves it that is killed after the link.
    sklookup_kernel::bpffs::unlink(&dir.join("link")).unwrap();
    drop(half);
    bind(&state(sandbox), &["web tcp 127.7.0.0/16 80"]).unwrap();
    assert!(!dir.exists(), "{:?}", names(&dir));
}

fn missing_map(sandbox: &Sandbox) {
    let state = state(sandbox);
    apply(&state, &["web tcp 127.7.0.0/16 80"]).unwrap();
    let live = state.generation().unwrap().unwrap().live;
    sklookup_kernel::bpffs::unlink(&live.dir.join("labels/web")).unwrap();
    let error = bind(&state, &["web tcp 127.7.0.0/16 81"]).unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
    state.unload().unwrap();
    bind(&state, &["web tcp 127.7.0.0/16 81"]).unwrap();
}

fn reborn(sandbox: &Sandbox) {
    // The inode of a dead namespace is given to one of the next: make some until it comes back.
    let first = Netns::new_private().unwrap();
    let inode = first.inode();
    let old = sklookup_steering::State::new(&sandbox.bpffs, first).unwrap();
    apply(&old, &["web tcp 127.7.0.0/16 80"]).unwrap();
    let dir = old.dir().to_owned();
    drop(old);
    let mut others = Vec::new();
    let reborn = (0..500).find_map(|_| {
        let next = Netns::new_private().unwrap();
        if next.inode() == inode {
            return Some(next);
        }
        others.push(next);
        None
    });
    let Some(reborn) = reborn else {
        // The kernel need not reuse it; then the dead state must be swept by the next command at least.
        let state = state(sandbox);
        apply(&state, &["web tcp 127.7.0.0/16 80"]).unwrap();
        assert!(!dir.exists());
        return;
    };
    let state = sklookup_steering::State::new(&sandbox.bpffs, reborn).unwrap();
    assert_eq!(state.dir(), dir);
    assert!(state.generation().unwrap().is_none(), "nothing is attached in the new namespace");
    bind(&state, &["other tcp 127.9.0.0/16 80"]).unwrap();
    assert_eq!(applied(&state), ["other tcp 127.9.0.0/16 80"]);
    let live = state.generation().unwrap().unwrap();
    assert!(live.live.registered(&label("web")).unwrap().is_empty(), "no label is carried from the dead");
    assert_eq!(sklookup_kernel::Link::query(std::os::fd::AsFd::as_fd(state.netns())).unwrap(), [live.live.id]);
}
