//! Counts: one for each run of the hook, kept across generations.

use std::sync::Arc;

use sklookup_compiler::Counts;
use sklookup_kernel::Sandbox;
use sklookup_steering::{Sampler, State};
use sklookup_testbed::{Trial, kernel_trial};

use super::world::{Server, apply, bind, refused, register, state};

pub fn trials() -> Vec<Trial> {
    vec![
        kernel_trial("counts_survive_every_commit_and_are_matched_by_the_binding", survive),
        kernel_trial("a_sampler_follows_what_is_in_effect_and_opens_it_once", sampled),
        kernel_trial("why_a_packet_found_no_socket_is_counted_by_name", faults),
    ]
}

fn counts(state: &State, binding: &str) -> Counts {
    let (generation, counts) = state.counted().unwrap().unwrap();
    let entries = generation.record.policy.entries();
    let at = entries.iter().position(|entry| entry.binding.to_string() == binding).expect(binding);
    counts[at]
}

fn survive(sandbox: &Sandbox) {
    let state = state(sandbox);
    let server = Server::new("127.0.0.1");
    register(&state, "web", vec![server.fd()]).unwrap();
    bind(&state, &["web tcp 127.7.0.0/16 80"]).unwrap();
    let mut connections = 0;
    for port in 1..=12 {
        for _ in 0..3 {
            assert!(server.gets("127.7.0.1:80"));
            connections += 1;
        }
        // Sorted before it and after it: its number changes in each generation.
        bind(&state, &[&format!("web tcp 127.6.0.{port}"), &format!("web tcp 127.8.0.{port}")]).unwrap();
        assert_eq!(counts(&state, "web tcp 127.7.0.0/16 80").hits, connections, "after {port} commits");
    }
    assert_eq!(counts(&state, "web tcp 127.6.0.1").hits, 0);
}

fn sampled(sandbox: &Sandbox) {
    let mut sampler = Sampler::new(state(sandbox));
    assert!(sampler.sample().unwrap().is_none(), "nothing is attached");

    let state = state(sandbox);
    let server = Server::new("127.0.0.1");
    register(&state, "web", vec![server.fd()]).unwrap();
    bind(&state, &["web tcp 127.7.0.0/16 80"]).unwrap();
    let first = sampler.sample().unwrap().unwrap();
    assert_eq!((first.fresh, first.counts[0].hits), (true, 0));
    assert!(server.gets("127.7.0.1:80"));
    let second = sampler.sample().unwrap().unwrap();
    assert_eq!((second.fresh, second.counts[0].hits), (false, 1));
    assert!(Arc::ptr_eq(&first.generation, &second.generation), "not read again");

    // Two commits between samples: what is sampled next has a parent and a base, and counts go on.
    for address in ["127.6.0.1", "127.6.0.2"] {
        bind(&state, &[&format!("web tcp {address}")]).unwrap();
        assert!(server.gets("127.7.0.1:80"));
    }
    let third = sampler.sample().unwrap().unwrap();
    let (_, counts) = state.counted().unwrap().unwrap();
    assert_eq!((third.fresh, &third.counts), (true, &counts));
    assert_eq!(counts.iter().map(|counts| counts.hits).collect::<Vec<_>>(), [0, 0, 3]);

    state.unload().unwrap();
    assert!(sampler.sample().unwrap().is_none());
    bind(&state, &["web tcp 127.7.0.0/16 80"]).unwrap();
    assert_eq!(sampler.sample().unwrap().unwrap().counts[0].hits, 0, "an unload ends what was counted");
}

fn faults(sandbox: &Sandbox) {
    let state = state(sandbox);
    apply(&state, &["web tcp 127.7.0.0/16 80", "refuse tcp 127.7.0.0/16 81"]).unwrap();
    let web = || counts(&state, "web tcp 127.7.0.0/16 80");
    assert!(refused("127.7.0.1:80"));
    assert_eq!(web(), Counts { hits: 1, no_socket: 1, ..Counts::default() });

    let server = Server::new("127.0.0.1");
    register(&state, "web", vec![server.fd()]).unwrap();
    assert!(server.gets("127.7.0.1:80"));
    assert_eq!(web(), Counts { hits: 2, no_socket: 1, ..Counts::default() });

    // A listener that was shut down stays in the map, and can't be selected.
    rustix::net::shutdown(&server.listener, rustix::net::Shutdown::Both).unwrap();
    assert!(refused("127.7.0.1:80"));
    assert_eq!(web(), Counts { hits: 3, no_socket: 1, unsupported: 1, ..Counts::default() });

    assert!(refused("127.7.0.1:81"));
    assert_eq!(counts(&state, "refuse tcp 127.7.0.0/16 81").hits, 1);
}
