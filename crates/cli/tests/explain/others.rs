//! Programs of others: what follows from who gets the packet is said, and nothing else.

use std::net::TcpListener;

use sklookup_kernel::Sandbox;
use sklookup_testbed::{Trial, kernel_trial};

use crate::command::sklookup;
use crate::scene::{bind, cookie, explain, other, server};

pub fn trials() -> Vec<Trial> {
    vec![
        kernel_trial("a_program_that_selects_another_socket_is_found_out", selects),
        kernel_trial("a_program_that_drops_is_found_out", drops),
        kernel_trial("a_program_that_changes_nothing_is_not_accused", changes_nothing),
        kernel_trial("programs_are_shown_in_the_order_in_which_they_run", in_order),
    ]
}

const PACKET: &str = "tcp 127.0.0.1:4000 > 127.7.0.1:80";

fn selects(_: &Sandbox) {
    let theirs = TcpListener::bind("127.0.0.1:0").unwrap();
    let _link = other(Some(&theirs), 1);
    bind("web tcp 127.7.0.0/16 80");
    let ours = server("web");
    let (exit, document) = explain(PACKET);
    assert_eq!((exit, &document["socket"]), (0, &cookie(&theirs).into()), "{document}");
    assert_eq!(document["others"], "selected");
    assert_eq!(document["account"]["run"]["selected"], cookie(&ours).as_str(), "by our account alone");
    let text = sklookup(&["explain", PACKET]).stdout;
    assert!(text.contains("it, or another program that is not ours, selects the socket"), "{text}");
}

fn drops(_: &Sandbox) {
    let regular = TcpListener::bind("127.7.0.1:80").unwrap();
    let _link = other(None, 0);
    let (exit, document) = explain(PACKET);
    assert_eq!((exit, &document["answer"], &document["others"]), (1, &"refused".into(), &"dropped".into()));
    assert_eq!(document["account"]["regular"]["matching"][0], cookie(&regular).as_str());
}

fn changes_nothing(_: &Sandbox) {
    bind("web tcp 127.7.0.0/16 80");
    let ours = server("web");
    // A drop does not undo a selection.
    let _link = other(None, 0);
    let (exit, document) = explain(PACKET);
    assert_eq!((exit, &document["socket"], &document["others"]), (0, &cookie(&ours).into(), &"nothing-changed".into()));
}

fn in_order(_: &Sandbox) {
    let _before = other(None, 1);
    bind("web tcp 127.7.0.0/16 80");
    let _after = other(None, 1);
    let (_, document) = explain(PACKET);
    let programs = document["programs"].as_array().unwrap();
    let ours: Vec<bool> = programs.iter().map(|program| program["ours"].as_bool().unwrap()).collect();
    assert_eq!(ours, [false, true, false]);
    let text = sklookup(&["explain", PACKET]).stdout;
    assert_eq!(text.matches("not of this policy: other").count(), 2, "{text}");
}
