//! The answer about packets of a live namespace, and the reasons for it.

use std::io::Read;
use std::net::{TcpListener, TcpStream, UdpSocket};

use sklookup_kernel::Sandbox;
use sklookup_testbed::{Trial, kernel_trial};

use crate::command::sklookup;
use crate::scene::{as_nobody, bind, cookie, copy_command, explain, other, server, sharing};

pub fn trials() -> Vec<Trial> {
    vec![
        kernel_trial("the_socket_is_named_with_its_process_and_the_binding_with_whom_it_beats", named),
        kernel_trial("a_refusal_is_told_with_its_binding_and_what_the_regular_lookup_would_find", refused),
        kernel_trial("a_socket_that_can_not_be_selected_is_told_with_the_reason", dead),
        kernel_trial("a_connection_is_found_before_any_program", connected),
        kernel_trial("what_a_connection_gets_after_one_that_has_just_ended_is_not_told", ended),
        kernel_trial("what_is_not_for_a_lookup_is_told_apart", astray),
        kernel_trial("an_interface_that_is_not_there_is_an_error", no_interface),
        kernel_trial("a_second_socket_on_the_port_is_told_by_the_kernel", group),
        kernel_trial("an_ordinary_user_is_told_the_socket_and_what_is_not_seen", ordinary),
    ]
}

const PACKET: &str = "tcp 127.0.0.1:4000 > 127.7.0.1:80";

fn named(_: &Sandbox) {
    bind("web tcp 127.7.0.0/16 80");
    bind("all tcp 127.0.0.0/8");
    let server = server("web");
    let (exit, document) = explain(PACKET);
    assert_eq!((exit, &document["answer"], &document["socket"]), (0, &"socket".into(), &cookie(&server).into()));
    assert_eq!(document["disagreement"], serde_json::Value::Null, "{document}");
    assert_eq!(document["arrival"]["how"], "host-local");
    assert_eq!(document["arrival"]["interfaces"][0]["name"], "lo");
    let run = &document["account"]["run"];
    assert_eq!((&run["decision"]["label"], &run["selected"]), (&"web".into(), &cookie(&server).into()));
    assert_eq!(run["runners-up"][0]["reason"], "has the longer destination prefix");
    assert_eq!(document["sockets"][0]["processes"][0]["pid"], std::process::id());

    let ran = sklookup(&["explain", "tcp", "127.0.0.1:4000", "to", "127.7.0.1:80"]);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(lines[0], PACKET);
    assert_eq!(lines[1], format!("=> tcp {}, cookie {}", server.local_addr().unwrap(), cookie(&server)));
    assert!(lines[2].contains(&format!("(pid {}", std::process::id())), "{ran:?}");
    assert!(ran.stdout.contains("web tcp 127.7.0.0/16 80  # `sklookup bind web tcp 127.7.0.0/16 80`"), "{ran:?}");
    assert!(ran.stdout.contains("has the longer destination prefix than `all tcp 127.0.0.0/8`"), "{ran:?}");
}

fn refused(_: &Sandbox) {
    let regular = TcpListener::bind("0.0.0.0:80").unwrap();
    let (exit, document) = explain(PACKET);
    assert_eq!((exit, &document["socket"]), (0, &cookie(&regular).into()), "{document}");
    bind("refuse tcp 127.7.0.0/16 --allow takeover");
    let (exit, document) = explain(PACKET);
    assert_eq!((exit, &document["answer"]), (1, &"refused".into()));
    assert_eq!(document["account"]["run"]["verdict"], "drop");
    assert_eq!(document["account"]["regular"]["matching"][0], cookie(&regular).as_str());
    let text = sklookup(&["explain", PACKET]).stdout;
    assert!(text.contains("=> nobody: a TCP reset"), "{text}");
    assert!(text.contains("not asked; it would find tcp 0.0.0.0:80"), "{text}");
}

fn dead(_: &Sandbox) {
    bind("web tcp 127.7.0.0/16 80");
    let server = server("web");
    rustix::net::shutdown(&server, rustix::net::Shutdown::Both).unwrap();
    let (exit, document) = explain(PACKET);
    assert_eq!(exit, 1, "{document}");
    assert_eq!(document["account"]["run"]["tried"][0]["refused"], "it does not listen, or is connected");
    assert_eq!(document["disagreement"], serde_json::Value::Null, "{document}");
}

fn connected(_: &Sandbox) {
    bind("web tcp 127.7.0.0/16 80");
    let server = server("web");
    let client = TcpStream::connect("127.7.0.1:80").unwrap();
    let (child, _) = server.accept().unwrap();
    bind("refuse tcp 127.7.0.1");
    let (exit, document) = explain(&format!("tcp {} > 127.7.0.1:80", client.local_addr().unwrap()));
    assert_eq!((exit, &document["socket"]), (0, &cookie(&child).into()), "{document}");
    assert_eq!(document["account"]["connected"], cookie(&child).as_str());
    assert_eq!(document["others"], "not-asked");
    let (exit, _) = explain("tcp 127.0.0.1:9 > 127.7.0.1:80");
    assert_eq!(exit, 1, "a new connection is refused");

    let socket = UdpSocket::bind("127.0.0.1:53").unwrap();
    socket.connect("127.0.0.1:4000").unwrap();
    bind("refuse udp 127.0.0.0/8 53");
    let (exit, document) = explain("udp 127.0.0.1:4000 > 127.0.0.1:53");
    assert_eq!((exit, &document["account"]["connected"]), (0, &cookie(&socket).into()), "{document}");
}

fn ended(_: &Sandbox) {
    let server = TcpListener::bind("127.0.0.1:80").unwrap();
    let mut client = TcpStream::connect("127.0.0.1:80").unwrap();
    let packet = format!("tcp {} > 127.0.0.1:80", client.local_addr().unwrap());
    drop(server.accept().unwrap());
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    // The server closed first: what is left of the connection is on its side.
    drop(client);
    let _link = other(None, 1);
    let (exit, document) = explain(&packet);
    assert_eq!((exit, &document["answer"], &document["others"]), (2, &"unknown".into(), &"unknown".into()));
    assert!(document["why"].as_str().unwrap().contains("TIME-WAIT"), "{document}");
    assert_eq!(document["limits"], serde_json::json!([]), "no program ran for the question");
    let (_, document) = crate::command::document(&["explain", &packet, "--run-others"]);
    assert_eq!(document["programs"][0]["alone"]["verdict"], "pass", "{document}");
}

fn astray(_: &Sandbox) {
    for (packet, exit, answer) in [
        ("tcp 127.0.0.1:4000 > 192.0.2.7:80", 1, "not-local"),
        ("tcp 127.0.0.1:4000 > 224.0.0.1:80", 1, "dropped"),
        ("udp 127.0.0.1:4000 > 224.0.0.1:80", 2, "copied"),
        ("udp 192.0.2.9:4000 > 127.0.0.1:80", 1, "dropped"),
    ] {
        let (found, document) = explain(packet);
        assert_eq!((found, &document["answer"]), (exit, &answer.into()), "{packet}: {document}");
        assert!(document["why"].as_str().is_some_and(|why| !why.is_empty()), "{document}");
    }
}

fn no_interface(_: &Sandbox) {
    let ran = sklookup(&["explain", "tcp 127.0.0.1:4000 > 127.7.0.1:80 dev nowhere"]);
    assert_eq!((ran.exit, ran.stdout.as_str()), (2, ""));
    assert!(ran.stderr.contains("interface nowhere: there is none of this name"), "{ran:?}");
}

fn group(_: &Sandbox) {
    let members = ["127.0.0.1:80"; 2].map(sharing);
    let (exit, document) = explain("tcp 127.0.0.1:4000 > 127.0.0.1:80");
    assert_eq!(exit, 0, "{document}");
    assert_eq!(document["account"]["regular"]["matching"].as_array().unwrap().len(), 2, "{document}");
    assert!(members.iter().any(|member| document["socket"] == cookie(member).as_str()), "{document}");
    assert!(document["limits"][0].as_str().unwrap().contains("SO_REUSEPORT"), "{document}");
}

fn ordinary(sandbox: &Sandbox) {
    bind("web tcp 127.7.0.0/16 80");
    let server = server("web");
    let ran = as_nobody(&copy_command(sandbox), &["explain", PACKET]);
    assert_eq!(ran.exit, 0, "{ran:?}");
    assert!(ran.stdout.contains(&format!("cookie {}", cookie(&server))), "{ran:?}");
    assert!(ran.stdout.contains("can't be listed: one of them selects the socket"), "{ran:?}");
    assert!(ran.stdout.contains("not seen     what is steered"), "{ran:?}");
    assert!(!ran.stdout.contains("WITNESSES DIFFER"), "{ran:?}");
}
