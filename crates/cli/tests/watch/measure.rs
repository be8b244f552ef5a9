//! How much is told, and what is said of the rest.

use rustix::process::Signal;
use serde_json::Value;
use sklookup_compiler::EVENT_BYTES;
use sklookup_kernel::Sandbox;
use sklookup_testbed::{Trial, kernel_trial};

use crate::eye::Eye;
use crate::world::{bind, send};

pub fn trials() -> Vec<Trial> {
    vec![
        kernel_trial("more_than_the_rate_is_counted_and_left_out", rate),
        kernel_trial("of_so_many_events_one_is_told", every),
        kernel_trial("what_is_not_taken_out_in_time_is_counted", full),
        kernel_trial("what_is_left_out_is_said_while_it_goes_on", meanwhile),
    ]
}

/// Packets that are refused.
fn packets(number: usize) {
    for _ in 0..number {
        send("127.7.0.1:53");
    }
}

fn left_out(sum: &Value, reason: &str) -> u64 {
    sum["left-out"][reason].as_u64().unwrap_or_else(|| panic!("{reason}: {sum}"))
}

fn rate(_: &Sandbox) {
    bind("refuse udp 127.7.0.0/16");
    let eye = Eye::open(&["--rate", "5"]);
    packets(200);
    let (_, sum) = eye.end();
    let told = sum["told"].as_u64().unwrap();
    // Five at once; more only if these took longer than a second.
    assert!(told >= 5 && told.is_multiple_of(5) && told < 200, "{sum}");
    assert_eq!(told + left_out(&sum, "rate"), 200, "{sum}");
}

fn every(_: &Sandbox) {
    bind("refuse udp 127.7.0.0/16");
    let eye = Eye::open(&["--every", "10", "--rate", "1000"]);
    packets(200);
    let (_, sum) = eye.end();
    assert_eq!((sum["told"].as_u64(), left_out(&sum, "sampled")), (Some(20), 180), "{sum}");
    assert_eq!(left_out(&sum, "full") + left_out(&sum, "rate") + left_out(&sum, "replaced"), 0, "{sum}");
}

fn full(_: &Sandbox) {
    const MANY: usize = 5000;
    bind("refuse udp 127.7.0.0/16");
    let mut eye = Eye::open(&["--rate", "1000000"]);
    eye.signal(Signal::STOP);
    packets(MANY);
    eye.signal(Signal::CONT);
    // The ring buffer holds so many records of 72 bytes and a header.
    let room = u64::from(EVENT_BYTES / 80);
    for _ in 0..room - 1 {
        eye.event();
    }
    let (_, sum) = eye.end();
    let told = sum["told"].as_u64().unwrap();
    assert!(told.abs_diff(room) <= 1, "{told} of {room}");
    assert_eq!(told + left_out(&sum, "full"), MANY as u64, "{sum}");
}

fn meanwhile(_: &Sandbox) {
    bind("refuse udp 127.7.0.0/16");
    let mut eye = Eye::open(&["--rate", "1"]);
    packets(50);
    let mut document = eye.next();
    while document.get("event").is_some() {
        document = eye.next();
    }
    assert!(left_out(&document, "rate") > 0, "{document}");
}
