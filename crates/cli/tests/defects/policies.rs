//! Whose traffic a policy takes, and that it is applied whole.

use sklookup_testbed::{Sandbox, Trial, kernel_trial};

use crate::command::{document, sklookup};
use crate::services::{REFUSED, Server, reached};
use crate::world::{done, exported, labels, policy};

pub fn trials() -> Vec<Trial> {
    vec![
        kernel_trial("d1_a_label_made_again_gets_no_other_labels_socket", labels_stay_apart),
        kernel_trial("d2_every_ipv6_address_leaves_ipv4_alone", families_stay_apart),
        kernel_trial("d4_a_policy_of_600_labels_is_applied_whole_or_not_at_all", whole),
        kernel_trial("d5_an_empty_label_is_an_error_and_removes_nothing", empty_label),
    ]
}

/// tubular numbers its labels, and gives the number of a label whose server has gone to the next one: the traffic of the
/// first then reaches the server of the second.
fn labels_stay_apart(_: &Sandbox) {
    done("bind a tcp 127.7.0.0/16 80");
    drop(Server::registered("a", "tcp 127.0.0.1:0"));
    done("unbind a tcp 127.7.0.0/16 80");
    done("bind b tcp 127.8.0.0/16 80");
    let b = Server::registered("b", "tcp 127.0.0.1:0");
    done("bind a tcp 127.7.0.0/16 80");
    assert_eq!(reached(&[&b], "tcp 127.0.0.1 > 127.7.0.1:80"), REFUSED);
    assert_eq!(reached(&[&b], "tcp 127.0.0.1 > 127.8.0.1:80"), "b");
    assert_eq!(labels(), ["a", "b"]);

    // And registering the first again takes nothing from the second.
    let a = Server::registered("a", "tcp 127.0.0.1:0");
    assert_eq!(reached(&[&a, &b], "tcp 127.0.0.1 > 127.7.0.1:80"), "a");
    assert_eq!(reached(&[&a, &b], "tcp 127.0.0.1 > 127.8.0.1:80"), "b");
}

/// tubular keeps IPv4 addresses as IPv6 addresses in one table: `::/0`, or `::/64`, takes all of IPv4 too.
fn families_stay_apart(_: &Sandbox) {
    let four = Server::open("four", "tcp 127.0.0.1:0");
    let port = four.described().rsplit(':').next().unwrap().to_owned();
    for prefix in ["::/0", "::/64", "::/1"] {
        done(&format!("bind x tcp {prefix} {port} --allow not-local"));
    }
    assert_eq!(reached(&[&four], &format!("tcp 127.0.0.1 > 127.0.0.1:{port}")), "four");
    assert_eq!(reached(&[&four], &format!("tcp ::1 > [::1]:{port}")), REFUSED);
    let x = Server::registered("x", "tcp [::1]:0");
    assert_eq!(reached(&[&four, &x], &format!("tcp 127.0.0.1 > 127.0.0.1:{port}")), "four");
    assert_eq!(reached(&[&four, &x], &format!("tcp ::1 > [::1]:{port}")), "x");
}

/// tubular applies a file binding by binding, and stops at its limit of 1024 labels by protocol and family: half of the
/// file is live then, and nothing says which half.
fn whole(sandbox: &Sandbox) {
    let line = |n: usize| format!("service-{n} tcp,udp 127.7.{}.{} 80", n / 250, n % 250);
    let file = policy(sandbox, (0..600).map(line));
    let (exit, applied) = document(&["apply", &file]);
    assert_eq!((exit, applied["bindings"].as_u64()), (0, Some(1200)), "{applied}");
    let server = Server::registered("service-599", "tcp 127.0.0.1:0");
    assert_eq!(reached(&[&server], "tcp 127.0.0.1 > 127.7.2.99:80"), "service-599");

    let before = exported();
    let conflicts = "other tcp,udp 127.7.2.98 80".to_owned();
    let file = policy(sandbox, (100..599).map(line).chain([conflicts]));
    let ran = sklookup(&["apply", &file]);
    assert_eq!(ran.exit, 2, "{ran:?}");
    assert!(ran.stderr.contains("conflicts") && !ran.stderr.contains('\0'), "{ran:?}");
    assert_eq!(exported(), before);
    assert_eq!(reached(&[&server], "tcp 127.0.0.1 > 127.7.2.99:80"), "service-599");
}

/// tubular drops an entry with an empty label in silence, and with it everything that the file does not name.
fn empty_label(sandbox: &Sandbox) {
    done("bind a tcp 127.7.0.0/16 80");
    let before = exported();
    let file = sandbox.scratch.join("empty.toml");
    let entry = "[[binding]]\nlabel = \"\"\nprotocol = \"tcp\"\ndestination = \"127.7.0.0/16\"\n";
    std::fs::write(&file, entry).unwrap();
    let ran = sklookup(&["apply", file.to_str().unwrap()]);
    assert_eq!(ran.exit, 2, "{ran:?}");
    assert!(ran.stderr.contains("empty.toml:2: "), "{ran:?}");
    assert_eq!(exported(), before);
}
