//! `list --sockets` and `list --addresses`: what each socket gets, and what is taken of each address.

use serde_json::{Value, json};
use sklookup_kernel::Sandbox;
use sklookup_testbed::{Trial, kernel_trial};

use crate::command::{document, sklookup};
use crate::world::{bind, send, tcp_server, udp_server};

pub fn trials() -> Vec<Trial> {
    vec![
        kernel_trial("each_socket_is_listed_with_its_owner_and_what_it_gets", sockets),
        kernel_trial("bindings_are_picked_by_the_sockets_of_their_label", picked),
        kernel_trial("an_order_by_hits_puts_the_busiest_first", sorted),
    ]
}

fn sockets(_: &Sandbox) {
    bind("dns udp 127.7.0.0/16,127.8.0.0/16 53,5353");
    bind("web tcp 127.7.0.0/16 80");
    let server = udp_server("dns", "127.0.0.1");
    send("127.7.0.1:53");
    let (exit, document) = document(&["list", "--sockets"]);
    let [socket] = &document["sockets"].as_array().unwrap()[..] else { panic!("one socket: {document}") };
    assert_eq!((exit, &socket["local"]), (0, &json!(server.local_addr().unwrap().to_string())));
    assert_eq!(socket["members"][0]["processes"][0]["pid"], std::process::id());
    assert_eq!((&socket["bindings"], &socket["counts"]["steered"]), (&json!(4), &json!(1)));
    let [gets] = &socket["gets"].as_array().unwrap()[..] else { panic!("one line: {socket}") };
    assert_eq!((&gets["prefixes"], &gets["ports"]), (&json!(["127.7.0.0/16", "127.8.0.0/16"]), &json!("53,5353")));
}

fn picked(_: &Sandbox) {
    bind("dns udp 127.7.0.0/16 53");
    bind("web tcp 127.7.0.0/16 80");
    bind("pass tcp 127.7.0.0/16 22");
    let dns = udp_server("dns", "127.0.0.1");
    let _web = tcp_server("web", "127.0.0.1");
    let labels = |arguments: &[&str]| -> Vec<Value> {
        let (_, document) = document(&[&["list"], arguments].concat());
        document["bindings"].as_array().unwrap().iter().map(|binding| binding["label"].clone()).collect()
    };
    let own = std::process::id().to_string();
    assert_eq!(labels(&["--pid", &own]), ["web", "dns"]);
    assert_eq!(labels(&["--match", &format!("udp {}", dns.local_addr().unwrap())]), ["dns"]);
    assert_eq!(labels(&["--match", "udp", "--label", "web"]), [""; 0]);
    assert_eq!(sklookup(&["list", "--pid", "1"]).exit, 1, "pid 1 has none");
}

fn sorted(_: &Sandbox) {
    bind("a udp 127.7.0.0/16 53");
    bind("b udp 127.8.0.0/16 53");
    send("127.8.0.1:53");
    for view in
        [&["list", "--sort", "hits"][..], &["list", "--sort", "faults"], &["list", "--addresses", "--sort", "hits"]]
    {
        let ran = sklookup(view);
        let at = |text: &str| ran.stdout.find(text).unwrap_or_else(|| panic!("{text}: {ran:?}"));
        assert!(at("127.8.0.0/16") < at("127.7.0.0/16"), "{ran:?}");
        assert!(ran.stdout.contains("1 hook run: 1 refused; 1 no socket"), "{ran:?}");
    }
}
