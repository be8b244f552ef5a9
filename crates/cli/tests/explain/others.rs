//! Programs of others: what follows from who gets the packet is said, and nothing else.

use std::net::TcpListener;

use sklookup_kernel::{Link, Sandbox};
use sklookup_testbed::{Trial, kernel_trial};

use crate::command::sklookup;
use crate::scene::{bind, cookie, explain, other, program, server};

pub fn trials() -> Vec<Trial> {
    vec![
        kernel_trial("a_program_that_selects_another_socket_is_found_out", selects),
        kernel_trial("a_program_that_drops_is_found_out", drops),
        kernel_trial("a_program_that_changes_nothing_is_not_accused", changes_nothing),
        kernel_trial("programs_are_shown_in_the_order_in_which_they_run", in_order),
        kernel_trial("that_the_witnesses_differ_is_said_first", differ),
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

/// A program that drops everything is put in the place of ours, with all that belongs to ours: what is to be read says
/// that the policy is in effect, and it is not.
fn differ(sandbox: &Sandbox) {
    bind("web tcp 127.7.0.0/16 80");
    let ours = server("web");
    let state = sandbox.bpffs.join("sklookup").join(sandbox.netns.inode().to_string());
    let link = Link::open(&state.join("link")).unwrap();
    let live = state.join(format!("gen-{}", link.info().unwrap().program_id));
    let impostor = program(None, 0);
    std::fs::remove_file(live.join("program")).unwrap();
    impostor.pin(&live.join("program")).unwrap();
    std::fs::rename(&live, state.join(format!("gen-{}", impostor.id()))).unwrap();
    link.update_any(&impostor).unwrap();

    let (exit, document) = explain(PACKET);
    assert_eq!((exit, &document["answer"]), (1, &"refused".into()), "the kernel's answer counts: {document}");
    let by_us = format!("by our account the socket with cookie {} gets it, and the kernel says nobody", cookie(&ours));
    assert_eq!(document["disagreement"], by_us.as_str());
    let ran = sklookup(&["explain", PACKET]);
    assert_eq!(ran.stdout.lines().next(), Some(&*format!("THE TWO WITNESSES DIFFER: {by_us}.")), "{ran:?}");
    assert_eq!(
        document["limits"][0],
        "the kernel was asked 3 times, and the programs on the hook counted it as packets"
    );
}
