//! Ports from which this machine asks its own questions.

use std::net::UdpSocket;
use std::os::fd::{AsFd, AsRawFd};

use sklookup_kernel::{Netns, interface};
use sklookup_testbed::{Sandbox, Trial, kernel_trial};

use crate::command::{Ran, sklookup};

pub fn trials() -> Vec<Trial> {
    vec![
        kernel_trial("answers_that_would_be_lost_are_caught_by_the_range_of_the_namespace", range),
        kernel_trial("the_addresses_are_those_of_the_namespace_that_is_steered", addresses),
        kernel_trial("what_the_catch_saves_is_an_answer", answer),
    ]
}

const RANGE: &str = "/proc/sys/net/ipv4/ip_local_port_range";

fn bind(line: &str) -> Ran {
    sklookup(&line.split(' ').collect::<Vec<_>>())
}

fn caught(line: &str, fact: &str) {
    let ran = bind(line);
    assert!(
        ran.exit == 1 && ran.stderr.contains("refused (ephemeral)") && ran.stderr.contains(fact),
        "{line}: {ran:?}"
    );
}

fn range(_: &Sandbox) {
    std::fs::write(RANGE, "20000 20999").unwrap();
    caught("bind game udp 127.0.0.0/8 20999-30000", "covers ports 20000-20999 of 127.0.0.1");
    caught("bind game udp ::1", "pass udp ::1 20000-20999");
    caught("bind refuse tcp 0.0.0.0/0", "127.0.0.1");
    for spared in ["bind game udp 127.0.0.1 21000-65535", "bind game udp 127.7.0.0/16", "bind web tcp 127.0.0.1"] {
        let ran = bind(spared);
        assert_eq!(ran.exit, 0, "{spared}: {ran:?}");
    }
}

fn addresses(_: &Sandbox) {
    let other = Netns::new_private().unwrap();
    let path = format!("/proc/{}/fd/{}", std::process::id(), other.as_fd().as_raw_fd());
    other
        .run(|| {
            interface::add_address(interface::LOOPBACK, "192.0.2.7/32".parse().unwrap()).unwrap();
            std::fs::write(RANGE, "40000 40999").unwrap();
        })
        .unwrap();
    let line = "bind game udp 192.0.2.0/29 --allow not-local";
    caught(&format!("--netns {path} {line}"), "covers ports 40000-40999 of 192.0.2.7");
    // Here nobody has that address.
    assert_eq!(bind(line).exit, 0);
}

/// Without the catch: a question asked from a socket that is not connected is never answered.
fn answer(_: &Sandbox) {
    let asks = UdpSocket::bind("127.0.0.1:0").unwrap();
    let answers = UdpSocket::bind("127.0.0.2:53").unwrap();
    asks.set_nonblocking(true).unwrap();
    // Over loopback what was sent has arrived, or has not, when send returns.
    let answered = || {
        answers.send_to(b"answer", asks.local_addr().unwrap()).unwrap();
        asks.recv(&mut [0; 16]).is_ok()
    };
    assert!(answered());
    let all = "bind refuse udp 127.0.0.1 --allow takeover";
    caught(all, "would go to it");
    assert_eq!(bind(&format!("{all},ephemeral")).exit, 0);
    assert!(!answered());
    // What the catch says to do helps.
    assert_eq!(bind("bind pass udp 127.0.0.1 32768-60999").exit, 0);
    assert!(answered());
}
