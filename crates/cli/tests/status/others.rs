//! Programs of others on the hook are told apart from ours, and what they selected is left to them.

use std::net::TcpListener;

use serde_json::Value;
use sklookup_kernel::Sandbox;
use sklookup_testbed::{Trial, kernel_trial};

use crate::command::{document, sklookup};
use crate::world::{bind, connects, counts, other_program, other_selecting, status, tcp_server};

pub fn trials() -> Vec<Trial> {
    vec![
        kernel_trial("programs_before_and_after_ours_are_listed_in_order_and_told_apart", in_order),
        kernel_trial("what_an_earlier_program_selected_is_left_to_it_and_counted", left_alone),
        kernel_trial("without_steering_the_programs_of_others_are_still_listed", nothing_of_ours),
    ]
}

fn in_order(_: &Sandbox) {
    let (before, _first) = other_program();
    bind("pass tcp 127.7.0.0/16 80");
    let (after, _second) = other_program();
    let (exit, status) = status();
    assert_eq!(exit, 0, "{status}");
    let programs = status["programs"].as_array().unwrap();
    let listed: Vec<(Option<u64>, &Value)> = programs.iter().map(|p| (p["id"].as_u64(), &p["ours"])).collect();
    let ours = status["generation"].as_u64();
    assert_eq!(
        listed,
        [(Some(before.into()), &false.into()), (ours, &true.into()), (Some(after.into()), &false.into())]
    );
    assert_eq!((&programs[0]["name"], &programs[0]["uid"]), (&"other".into(), &0.into()));
    let text = sklookup(&["status"]).stdout;
    assert!(text.contains(&format!("{before}  not of this policy: other (tag ")), "{text}");
    let (_, doctor) = document(&["doctor"]);
    assert!(doctor.to_string().contains(&format!("{after}  not of this policy: other")), "{doctor}");
}

fn left_alone(_: &Sandbox) {
    let theirs = TcpListener::bind("127.0.0.1:0").unwrap();
    let (_, _link) = other_selecting(&theirs);
    bind("web tcp 127.7.0.0/16 80");
    let ours = tcp_server("web", "127.0.0.1");
    assert!(connects("127.7.0.1:80"));
    theirs.set_nonblocking(true).unwrap();
    ours.set_nonblocking(true).unwrap();
    assert!(theirs.accept().is_ok(), "the connection is theirs");
    assert!(ours.accept().is_err());
    let counts = counts("web");
    assert_eq!(counts["already-selected"], counts["hits"]);
    assert!(counts["hits"].as_u64() >= Some(1), "{counts}");
}

fn nothing_of_ours(_: &Sandbox) {
    let (id, _link) = other_program();
    let (exit, status) = status();
    assert_eq!((exit, &status["steering"]), (0, &"none".into()));
    assert_eq!(status["programs"][0]["id"], id);
    let ran = sklookup(&["status"]);
    assert!(ran.stdout.contains("nothing is steered here") && ran.stdout.contains("other (tag "), "{ran:?}");
    let list = sklookup(&["list"]);
    assert_eq!((list.exit, list.stdout.as_str()), (1, ""));
}
