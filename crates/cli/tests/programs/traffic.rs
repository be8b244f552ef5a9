//! Real clients land where an attached program sends them, alone and beside the policy.

use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};

use sklookup_testbed::{Sandbox, Trial, kernel_trial};

use crate::command::document;
use crate::services::{REFUSED, Server, reached};
use crate::world::{attached, done, each, map, object, server_in};

pub fn trials() -> Vec<Trial> {
    vec![
        kernel_trial("a_client_lands_at_the_socket_that_an_attached_program_selects", alone),
        kernel_trial("what_it_selects_before_the_policy_is_left_to_it", before),
        kernel_trial("what_the_policy_selects_before_it_is_not_dropped_by_it", after),
        kernel_trial("unload_leaves_it_alone_and_detach_leaves_the_policy_alone", apart),
        kernel_trial("while_it_is_replaced_no_client_is_refused", replaced),
    ]
}

const STEERED: &str = "tcp 127.0.0.1 > 127.7.1.2:7007";

fn alone(_: &Sandbox) {
    let assign = attached(&[&object("assign")]);
    assert_eq!(reached(&[], STEERED), REFUSED, "without a socket it drops");
    let server = server_in(&assign, "theirs");
    assert_eq!(reached(&[&server], STEERED), "theirs");
    assert_eq!(reached(&[&server], "tcp 127.0.0.1 > 127.7.1.2:7009"), REFUSED);
    let regular = Server::open("regular", "tcp 127.7.1.2:7007");
    assert_eq!(reached(&[&server, &regular], STEERED), "theirs");
    done(&["detach", "assign"]);
    assert_eq!(reached(&[&server, &regular], STEERED), "regular");
}

fn before(_: &Sandbox) {
    let assign = attached(&[&object("assign")]);
    let theirs = server_in(&assign, "theirs");
    done(&["bind", "web", "tcp", "127.7.0.0/16", "7007-7010"]);
    let ours = Server::registered("web", "tcp 127.0.0.1:0");
    assert_eq!(each("whose"), ["attached", "policy"]);
    assert_eq!(reached(&[&theirs, &ours], STEERED), "theirs");
    assert_eq!(reached(&[&theirs, &ours], "tcp 127.0.0.1 > 127.7.1.2:7009"), "web");
    let counts = document(&["status"]).1["labels"][0]["counts"].clone();
    assert_eq!((&counts["hits"], &counts["already-selected"]), (&2.into(), &1.into()));
}

fn after(_: &Sandbox) {
    done(&["bind", "web", "tcp", "127.7.0.0/16", "7007"]);
    let ours = Server::registered("web", "tcp 127.0.0.1:0");
    let assign = attached(&[&object("assign")]);
    let theirs = server_in(&assign, "theirs");
    assert_eq!(each("whose"), ["policy", "attached"]);
    // It does not ask to replace, so its selection fails, and it says that the packet is to be dropped.
    assert_eq!(reached(&[&theirs, &ours], STEERED), "web");
    assert_eq!(reached(&[&theirs, &ours], "tcp 127.0.0.1 > 127.8.1.2:7007"), "theirs");
}

fn apart(_: &Sandbox) {
    let assign = attached(&[&object("assign")]);
    let theirs = server_in(&assign, "theirs");
    done(&["bind", "web", "tcp", "127.7.0.0/16", "7009"]);
    let ours = Server::registered("web", "tcp 127.0.0.1:0");
    done(&["unload"]);
    assert_eq!(each("whose"), ["attached"]);
    assert_eq!(reached(&[&theirs, &ours], STEERED), "theirs");
    done(&["bind", "web", "tcp", "127.7.0.0/16", "7009"]);
    ours.register();
    done(&["detach", "assign"]);
    assert_eq!(each("whose"), ["policy"]);
    assert_eq!(reached(&[&theirs, &ours], "tcp 127.0.0.1 > 127.7.1.2:7009"), "web");
    assert_eq!(reached(&[&theirs, &ours], STEERED), REFUSED);
}

fn replaced(_: &Sandbox) {
    let assign = attached(&[&object("assign")]);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    crate::world::put(&map(&assign, "sockets"), 0, &listener);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Acquire) {
                drop(listener.accept().unwrap());
            }
        });
        let clients = scope.spawn(|| {
            let mut landed = 0;
            while !over.load(Ordering::Acquire) {
                TcpStream::connect("127.7.1.2:7007").expect("it is replaced at once, with its sockets");
                landed += 1;
            }
            landed
        });
        let mut before = assign["program"].clone();
        for _ in 0..15 {
            let next = attached(&[&object("assign"), "--replace", "--map", "sockets=kept"]);
            assert_eq!((&next["replaced"], &next["link"]), (&before, &assign["link"]));
            before = next["program"].clone();
        }
        over.store(true, Ordering::Release);
        // The last accept waits for one more.
        let _ = TcpStream::connect(listener.local_addr().unwrap());
        assert!(clients.join().unwrap() > 15);
    });
}
