//! Registrations: they stand on their own, survive every commit, and never serve a stranger.

use std::net::TcpListener;

use sklookup_kernel::Sandbox;
use sklookup_policy::{Policy, Protocol};
use sklookup_steering::{Error, Placement};
use sklookup_testbed::leftovers::names;
use sklookup_testbed::{Trial, kernel_trial};

use super::world::{Server, apply, bind, datagram_arrives, entries, label, refused, register, state, udp};

pub fn trials() -> Vec<Trial> {
    vec![
        kernel_trial("a_socket_registered_before_any_binding_serves_once_one_names_its_label", before_bindings),
        kernel_trial("registering_again_replaces_the_socket", replaces),
        kernel_trial("when_one_member_of_a_group_closes_the_next_serves", group_member_closes),
        kernel_trial("a_group_larger_than_a_label_serves_until_all_that_are_registered_have_closed", large_group),
        kernel_trial("a_label_removed_and_made_again_does_not_serve_its_old_socket_to_another", no_shared_slots),
        kernel_trial("a_closed_socket_makes_its_label_empty_and_when_empty_decides", closed_socket),
        kernel_trial("unregistering_a_socket_that_has_closed_is_done", unregister_closed),
        kernel_trial("unregistering_under_a_label_that_nobody_has_says_so", unregister_unknown),
        kernel_trial("a_registration_is_never_lost_to_a_commit_that_lets_its_label_go", against_commits),
        kernel_trial("neither_is_it_to_one_that_brings_an_empty_label_of_its_own", against_empty_labels),
        kernel_trial("nor_to_an_unload_of_what_nobody_uses", against_idle_unloads),
        kernel_trial("of_two_registrations_at_once_one_wins_whole", two_at_once),
        kernel_trial("tcp_and_udp_of_one_label_are_apart", protocols_apart),
        kernel_trial("ten_thousand_labels_come_and_go_without_filling_anything", label_churn),
    ]
}

fn before_bindings(sandbox: &Sandbox) {
    let state = state(sandbox);
    let server = Server::new("127.0.0.1");
    register(&state, "web", vec![server.fd()]).unwrap();
    assert!(refused("127.7.0.1:80"));
    apply(&state, &["web tcp 127.7.0.0/16 80"]).unwrap();
    assert!(server.gets("127.7.0.1:80"));
    // Without the binding the registration stays, because its socket lives.
    apply(&state, &["other tcp 127.9.0.0/16 80"]).unwrap();
    assert!(refused("127.7.0.1:80"));
    apply(&state, &["web tcp 127.7.0.0/16 81"]).unwrap();
    assert!(server.gets("127.7.0.1:81"));
}

fn replaces(sandbox: &Sandbox) {
    let state = state(sandbox);
    let (old, new) = (Server::new("127.0.0.1"), Server::new("127.0.0.1"));
    bind(&state, &["web tcp 127.7.0.0/16 80"]).unwrap();
    register(&state, "web", vec![old.fd()]).unwrap();
    assert!(old.gets("127.7.0.1:80"));
    register(&state, "web", vec![new.fd()]).unwrap();
    assert!(new.gets("127.7.0.1:80"));
    assert!(!old.gets("127.7.0.1:80"));
}

/// Listeners that share a port.
fn group(count: usize) -> Vec<TcpListener> {
    use rustix::net::{AddressFamily, SocketType, bind, getsockname, listen, socket, sockopt};
    let mut address: std::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
    (0..count)
        .map(|_| {
            let fd = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
            sockopt::set_socket_reuseport(&fd, true).unwrap();
            bind(&fd, &address).unwrap();
            listen(&fd, 64).unwrap();
            address = getsockname(&fd).unwrap().try_into().unwrap();
            TcpListener::from(fd)
        })
        .collect()
}

fn served_by(listeners: &[TcpListener], to: &str) -> bool {
    let Ok(client) = std::net::TcpStream::connect(to) else { return false };
    let from = client.local_addr().unwrap();
    listeners.iter().any(|listener| {
        listener.set_nonblocking(true).unwrap();
        listener.accept().is_ok_and(|(_, peer)| peer == from)
    })
}

fn group_member_closes(sandbox: &Sandbox) {
    let state = state(sandbox);
    bind(&state, &["web tcp 127.7.0.0/16 80"]).unwrap();
    let mut members = group(3);
    let fds = members.iter().map(|member| member.try_clone().unwrap().into()).collect();
    register(&state, "web", fds).unwrap();
    while !members.is_empty() {
        assert!(served_by(&members, "127.7.0.1:80"), "{} members left", members.len());
        members.remove(0);
    }
    assert!(refused("127.7.0.1:80"));
}

fn large_group(sandbox: &Sandbox) {
    let state = state(sandbox);
    bind(&state, &["web tcp 127.7.0.0/16 80"]).unwrap();
    let members = group(40);
    let fds: Vec<_> = members.iter().map(|member| member.try_clone().unwrap().into()).collect();
    register(&state, "web", fds).unwrap();
    let live = state.generation().unwrap().unwrap().live;
    assert_eq!(live.registered(&label("web")).unwrap().len(), 16);
    // The first fifteen close; the whole group is still behind the sixteenth.
    assert!(served_by(&members[15..], "127.7.0.1:80") || served_by(&members, "127.7.0.1:80"));
    let rest = members.into_iter().skip(15).collect::<Vec<_>>();
    assert!(served_by(&rest, "127.7.0.1:80"));
}

fn no_shared_slots(sandbox: &Sandbox) {
    let state = state(sandbox);
    let (a, b) = (Server::new("127.0.0.1"), Server::new("127.0.0.1"));
    bind(&state, &["a tcp 127.7.0.0/16 80"]).unwrap();
    register(&state, "a", vec![a.fd()]).unwrap();
    drop(a);
    // The peer gave A's number to B here, and A's traffic with it.
    apply(&state, &["b tcp 127.9.0.0/16 80"]).unwrap();
    register(&state, "b", vec![b.fd()]).unwrap();
    bind(&state, &["a tcp 127.7.0.0/16 80"]).unwrap();
    assert!(refused("127.7.0.1:80"));
    assert!(b.gets("127.9.0.1:80"));
    let again = Server::new("127.0.0.1");
    register(&state, "a", vec![again.fd()]).unwrap();
    assert!(again.gets("127.7.0.1:80"));
    assert!(b.gets("127.9.0.1:80"));
}

fn closed_socket(sandbox: &Sandbox) {
    let state = state(sandbox);
    let regular = TcpListener::bind("127.7.0.1:80").unwrap();
    bind(&state, &["web tcp 127.7.0.0/16 80", "soft tcp 127.7.0.0/24 80 when-empty pass"]).unwrap();
    let server = Server::new("127.0.0.1");
    register(&state, "web", vec![server.fd()]).unwrap();
    register(&state, "soft", vec![server.fd()]).unwrap();
    assert!(server.gets("127.7.0.1:80"));
    assert!(server.gets("127.7.1.1:80"));
    // Closing closes our own duplicates too: the registration holds none.
    drop(server);
    assert!(refused("127.7.1.1:80"), "when-empty refuse");
    assert!(served_by(&[regular], "127.7.0.1:80"), "when-empty pass");
}

fn unregister_closed(sandbox: &Sandbox) {
    let state = state(sandbox);
    bind(&state, &["web tcp 127.7.0.0/16 80"]).unwrap();
    let server = Server::new("127.0.0.1");
    register(&state, "web", vec![server.fd()]).unwrap();
    drop(server);
    assert_eq!(state.unregister(&label("web"), &|_| true).unwrap(), 0);
    let server = Server::new("127.0.0.1");
    register(&state, "web", vec![server.fd()]).unwrap();
    assert_eq!(state.unregister(&label("web"), &|slot| slot.protocol == Protocol::Udp).unwrap(), 0);
    assert!(server.gets("127.7.0.1:80"));
    assert_eq!(state.unregister(&label("web"), &|_| true).unwrap(), 1);
    assert!(refused("127.7.0.1:80"));
}

fn unregister_unknown(sandbox: &Sandbox) {
    let state = state(sandbox);
    assert!(matches!(state.unregister(&label("web"), &|_| true), Err(Error::NotLoaded { .. })));
    bind(&state, &["web tcp 127.7.0.0/16 80"]).unwrap();
    assert!(matches!(state.unregister(&label("other"), &|_| true), Err(Error::NoLabel { .. })));
}

fn against_commits(sandbox: &Sandbox) {
    const ROUNDS: usize = 40;
    let state = state(sandbox);
    for round in 0..ROUNDS {
        // The label is there and empty, and no binding names it any more.
        apply(&state, &["web tcp 127.7.0.0/16 80"]).unwrap();
        let server = Server::new("127.0.0.1");
        std::thread::scope(|scope| {
            let (netns, bpffs) = (sklookup_kernel::Netns::current().unwrap(), &sandbox.bpffs);
            scope.spawn(move || {
                let state = sklookup_steering::State::new(bpffs, netns).unwrap();
                apply(&state, &["other tcp 127.9.0.0/16 80"]).unwrap();
            });
            // At another moment of the commit each time.
            for _ in 0..round {
                state.generation().unwrap();
            }
            register(&state, "web", vec![server.fd()]).unwrap();
        });
        let live = state.generation().unwrap().unwrap().live;
        assert_eq!(live.registered(&label("web")).unwrap().len(), 1, "round {round}");
    }
}

/// As a `run` does when it ends and nothing else is applied.
fn against_idle_unloads(sandbox: &Sandbox) {
    const ROUNDS: usize = 300;
    let state = state(sandbox);
    let server = Server::new("127.0.0.1");
    let mut unloaded = 0;
    for round in 0..ROUNDS {
        // Attached for the sake of a label, which is empty now.
        register(&state, "web", vec![server.fd()]).unwrap();
        state.unregister(&label("web"), &|_| true).unwrap();
        std::thread::scope(|scope| {
            let (netns, bpffs) = (sklookup_kernel::Netns::current().unwrap(), &sandbox.bpffs);
            let unload =
                scope.spawn(move || sklookup_steering::State::new(bpffs, netns).unwrap().unload_if_idle().unwrap());
            // At another moment of it each time.
            for _ in 0..round % 30 {
                state.generation().unwrap();
            }
            register(&state, "web", vec![server.fd()]).unwrap();
            unloaded += usize::from(unload.join().unwrap());
        });
        let live = state.generation().unwrap().expect("somebody registered").live;
        assert_eq!(live.registered(&label("web")).unwrap().len(), 1, "round {round}");
        state.unload().unwrap();
    }
    println!("{unloaded} of {ROUNDS} were faster than the registration");
}

/// As a `run` does before it starts its command. What its commit lets go and takes back must not make it wait for itself.
fn against_empty_labels(sandbox: &Sandbox) {
    let state = state(sandbox);
    for round in 0..60 {
        apply(&state, &["web tcp 127.7.0.0/16 80"]).unwrap();
        let server = Server::new("127.0.0.1");
        std::thread::scope(|scope| {
            let (netns, bpffs) = (sklookup_kernel::Netns::current().unwrap(), &sandbox.bpffs);
            scope.spawn(move || {
                let state = sklookup_steering::State::new(bpffs, netns).unwrap();
                let own = Placement { label: label("mine"), members: Vec::new() };
                let other = Policy::new(entries(&["other tcp 127.9.0.0/16 80"])).unwrap();
                state.commit(&[own], &mut |_| Ok(other.clone())).unwrap();
            });
            for _ in 0..round {
                state.generation().unwrap();
            }
            register(&state, "web", vec![server.fd()]).unwrap();
        });
        let live = state.generation().unwrap().unwrap().live;
        assert_eq!(live.registered(&label("web")).unwrap().len(), 1, "round {round}");
    }
}

fn two_at_once(sandbox: &Sandbox) {
    let state = state(sandbox);
    bind(&state, &["web tcp 127.7.0.0/16 80"]).unwrap();
    for round in 0..100 {
        let (many, one) = (group(12), Server::new("127.0.0.1"));
        std::thread::scope(|scope| {
            let (netns, bpffs, many) = (sklookup_kernel::Netns::current().unwrap(), &sandbox.bpffs, &many);
            scope.spawn(move || {
                let state = sklookup_steering::State::new(bpffs, netns).unwrap();
                let fds = many.iter().map(|member| member.try_clone().unwrap().into()).collect();
                register(&state, "web", fds).unwrap();
            });
            register(&state, "web", vec![one.fd()]).unwrap();
        });
        let slots = state.generation().unwrap().unwrap().live.registered(&label("web")).unwrap().len();
        assert!(slots == 1 || slots == 12, "round {round}: {slots} slots are taken");
    }
}

fn protocols_apart(sandbox: &Sandbox) {
    let state = state(sandbox);
    bind(&state, &["svc tcp,udp 127.7.0.0/16 53", "svc tcp,udp ::1 53"]).unwrap();
    let (tcp, udp) = (Server::new("::"), udp("::"));
    register(&state, "svc", vec![tcp.fd()]).unwrap();
    register(&state, "svc", vec![udp.try_clone().unwrap().into()]).unwrap();
    for to in ["127.7.0.1:53", "[::1]:53"] {
        assert!(tcp.gets(to), "{to}");
        assert!(datagram_arrives(&udp, to), "{to}");
    }
}

fn label_churn(sandbox: &Sandbox) {
    let state = state(sandbox);
    // The peer has 1,024 places and never gives one back.
    for round in 0..4 {
        let lines: Vec<String> = (0..2_500).map(|n| format!("l{round}-{n} tcp 127.7.0.0/16 {}", n + 1)).collect();
        apply(&state, &lines.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
    }
    let server = Server::new("127.0.0.1");
    register(&state, "l3-79", vec![server.fd()]).unwrap();
    assert!(server.gets("127.7.0.1:80"));
    let labels = names(state.dir()).iter().filter(|name| name.contains("/labels/")).count();
    assert!(labels <= 2 * 2_500 + 1, "{labels} label maps are pinned");
}
