//! Counters count what happened, each for its own reason.

use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::{Shutdown, shutdown};
use serde_json::json;
use sklookup_compiler::Family;
use sklookup_kernel::socket::Socket;
use sklookup_kernel::{Netns, Sandbox};
use sklookup_policy::Protocol;
use sklookup_steering::{Member, Placement, State};
use sklookup_testbed::{Trial, kernel_trial};

use crate::command::document;
use crate::world::{bind, connects, counts, findings, send, status, tcp_server, udp_server};

pub fn trials() -> Vec<Trial> {
    vec![
        kernel_trial("a_packet_without_a_socket_is_a_hit_and_a_miss", no_socket),
        kernel_trial("a_steered_datagram_is_one_hit", steered),
        kernel_trial("a_socket_that_is_shut_down_or_connected_is_counted_and_reported", unsupported),
        kernel_trial("a_socket_of_the_wrong_family_is_counted_and_reported", wrong_family),
        kernel_trial("each_binding_counts_for_itself_and_keeps_its_counts_when_others_change", per_binding),
    ]
}

fn no_socket(_: &Sandbox) {
    bind("web udp 127.7.0.0/16 53");
    send("127.7.0.1:53");
    send("127.7.0.2:53");
    send("127.7.0.1:54");
    assert_eq!((&counts("web")["hits"], &counts("web")["no-socket"]), (&json!(2), &json!(2)));
}

fn steered(_: &Sandbox) {
    bind("dns udp 127.7.0.0/16 53");
    let _server = udp_server("dns", "127.0.0.1");
    send("127.7.0.1:53");
    let (exit, status) = status();
    assert_eq!((exit, findings(&status)), (0, vec![]));
    assert_eq!((&counts("dns")["hits"], &counts("dns")["no-socket"]), (&json!(1), &json!(0)));
    assert_eq!(status["counts"], counts("dns"), "the sum over one label is the label's");
}

fn unsupported(_: &Sandbox) {
    bind("web tcp 127.7.0.0/16 80");
    bind("dns udp 127.7.0.0/16 53");
    let tcp = tcp_server("web", "127.0.0.1");
    let udp = udp_server("dns", "127.0.0.1");
    assert!(connects("127.7.0.1:80"));
    assert_eq!(status().0, 0);

    shutdown(&tcp, Shutdown::Both).unwrap();
    udp.connect("127.0.0.1:9").unwrap();
    assert!(!connects("127.7.0.1:80"), "when-empty is refuse");
    send("127.7.0.1:53");
    assert_eq!(counts("web")["no-socket"], 0);
    assert_eq!(counts("web")["unsupported"], 1);
    assert_eq!(counts("dns")["unsupported"], 1);

    let (exit, status) = status();
    assert_eq!(exit, 1);
    let said = findings(&status).join("\n");
    for fact in
        ["does not listen any more", "is connected to 127.0.0.1:9", "no socket for tcp over IPv4", "no socket for udp"]
    {
        assert!(said.contains(fact), "{fact}: {said}");
    }
}

fn wrong_family(sandbox: &Sandbox) {
    bind("web tcp 127.7.0.0/16 80");
    // `register` would not do this: an IPv6-only socket in the place for IPv4.
    let listener = TcpListener::bind("[::1]:0").unwrap();
    let fd: OwnedFd = listener.try_clone().unwrap().into();
    let cookie = Socket::inspect(fd.as_fd()).unwrap().unwrap().cookie;
    let member = Member { fd, protocol: Protocol::Tcp, families: vec![Family::V4], cookie };
    let state = State::new(&sandbox.bpffs, Netns::current().unwrap()).unwrap();
    state.register(Placement { label: "web".parse().unwrap(), members: vec![member] }).unwrap();
    assert!(!connects("127.7.0.1:80"));
    assert_eq!(counts("web")["wrong-family"], 1);
    let (exit, status) = status();
    assert_eq!(exit, 1);
    assert!(findings(&status)[0].contains("takes no IPv4 packets"), "{status}");
    assert_eq!(status["labels"][0]["sockets"][0]["selectable"], false);
}

fn per_binding(_: &Sandbox) {
    bind("web udp 127.7.0.0/16 53");
    bind("web udp 127.7.0.0/16 54");
    let _server = udp_server("web", "127.0.0.1");
    send("127.7.0.1:53");
    send("127.7.0.1:54");
    send("127.7.0.1:54");
    // Two more generations: counts are carried over, and not counted twice.
    bind("web udp 127.7.0.0/16 55");
    bind("web udp 127.7.0.0/16 56");
    send("127.7.0.1:54");
    let (_, list) = document(&["list", "--label", "web"]);
    let hits: Vec<_> = list["bindings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|b| (b["ports"].clone(), b["counts"]["hits"].clone()))
        .collect();
    assert_eq!(hits, [(json!(53), json!(1)), (json!(54), json!(3)), (json!(55), json!(0)), (json!(56), json!(0))]);
}
