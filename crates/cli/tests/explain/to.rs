//! Who sends to a label, or to a socket.

use std::net::TcpListener;

use sklookup_kernel::Sandbox;
use sklookup_testbed::{Trial, kernel_trial, plain_trial};

use crate::command::{document, one_document, sklookup};
use crate::policy::by_policy;
use crate::scene::{bind, cookie, server};

pub fn trials() -> Vec<Trial> {
    vec![
        plain_trial("a_label_is_told_what_others_take_from_its_bindings", by_file),
        plain_trial("people_are_shown_some_of_many_bindings_and_documents_have_all", many),
        kernel_trial("a_label_is_told_with_the_socket_that_serves_it", label),
        kernel_trial("a_socket_is_told_what_comes_by_label_and_what_its_bind_still_gets", socket),
    ]
}

fn by_file() {
    let lines = [
        "web tcp 192.0.2.0/24 80",
        "api tcp 192.0.2.7 80",
        "web tcp 192.0.2.8 80",
        "pass tcp 192.0.2.9 from 10.0.0.0/8",
        "old tcp 192.0.2.7 80-90 from 10.0.0.0/8",
        "older tcp 192.0.2.7 80",
    ];
    let ran = by_policy(&lines[..5], &["--to", "web"]);
    let expected = "web: 2 bindings
  web tcp 192.0.2.0/24 80  # <stdin>:1
      less api tcp 192.0.2.7 80  # <stdin>:1
      less pass tcp 192.0.2.9 from 10.0.0.0/8  # <stdin>:1
  web tcp 192.0.2.8 80  # <stdin>:1
";
    assert_eq!((ran.exit, ran.stdout.as_str()), (0, expected));
    let shadowed = ["old tcp 192.0.2.7 80", "a tcp 192.0.2.7 80 from 0.0.0.0/1", "b tcp 192.0.2.7 80 from 128.0.0.0/1"];
    let ran = by_policy(&shadowed, &["--to", "old"]);
    assert_eq!(ran.exit, 1, "{ran:?}");
    assert!(ran.stdout.contains("old tcp 192.0.2.7 80  # <stdin>:1  never used: others take all of it"), "{ran:?}");
    let ran = by_policy(&lines[..1], &["--to", "nobody"]);
    assert_eq!((ran.exit, ran.stderr.as_str()), (1, "sklookup: label nobody: no binding names it\n"));
    let ran = by_policy(&lines[..1], &["--to", "tcp :80"]);
    assert_eq!(ran.exit, 2, "{ran:?}");
}

fn many() {
    let lines: Vec<String> = (1..=100).map(|port| format!("web tcp 192.0.2.0/24 {port}")).collect();
    let mut lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    lines.extend(["refuse tcp 192.0.2.1", "refuse tcp 192.0.2.2", "refuse tcp 192.0.2.3", "a tcp 192.0.2.4"]);
    lines.extend(["a tcp 192.0.2.5", "a tcp 192.0.2.6", "a tcp 192.0.2.7"]);
    let ran = by_policy(&lines, &["--to", "web"]);
    assert!(ran.stdout.contains("and 80 bindings more; --json has them all"), "{ran:?}");
    assert!(ran.stdout.contains("less 2 bindings more"), "{ran:?}");
    assert!(ran.stdout.lines().count() < 200);
    let found = one_document(&by_policy(&lines, &["--json", "--to", "web"]));
    let bindings = found["bindings"].as_array().unwrap();
    assert_eq!(bindings.len(), 100);
    assert!(bindings.iter().all(|binding| binding["taken-by"].as_array().unwrap().len() == 7));
}

fn label(_: &Sandbox) {
    bind("web tcp 127.7.0.0/16 80");
    let (exit, found) = document(&["explain", "--to", "web"]);
    assert_eq!((exit, &found["reached"]), (1, &false.into()), "nothing is registered: {found}");
    let web = server("web");
    bind("refuse tcp 127.7.0.1");
    let (exit, found) = document(&["explain", "--to", "web"]);
    assert_eq!((exit, &found["reached"]), (0, &true.into()), "{found}");
    assert_eq!(found["serving"][0]["selected-of"][0], cookie(&web).as_str());
    assert_eq!(found["bindings"][0]["taken-by"][0]["action"], "refuse");
    let ran = sklookup(&["explain", "--to", "web"]);
    assert!(ran.stdout.contains(&format!("tcp over IPv4: tcp {} of", web.local_addr().unwrap())), "{ran:?}");
    let ran = sklookup(&["explain", "--to", "nix"]);
    assert_eq!(ran.exit, 1, "{ran:?}");
    assert!(ran.stderr.contains("label nix: no binding names it"), "{ran:?}");
}

fn socket(_: &Sandbox) {
    let all = TcpListener::bind("0.0.0.0:80").unwrap();
    let exact = TcpListener::bind("127.8.0.1:80");
    // A second listener on the port of one bound to any address is refused without SO_REUSEPORT.
    assert!(exact.is_err());
    bind("refuse tcp 127.7.0.0/16 80 --allow takeover");
    bind("pass tcp 127.7.1.0/24");
    bind("web tcp 127.9.0.1 --allow takeover");
    let web = server("web");
    let (exit, found) = document(&["explain", "--to", "tcp :80"]);
    assert_eq!(exit, 0, "{found}");
    let receiver = &found["receivers"][0];
    assert_eq!(receiver["cookie"], cookie(&all).as_str());
    let bind_of = &receiver["binds"][0];
    assert_eq!((&bind_of["destination"], &bind_of["gets"]), (&"0.0.0.0/0".into(), &true.into()));
    let diverted = bind_of["diverted-by"].as_array().unwrap();
    let destinations: Vec<&str> = diverted.iter().map(|binding| binding["destination"].as_str().unwrap()).collect();
    assert_eq!(destinations, ["127.7.0.0/16", "127.9.0.1/32"]);

    let pid = std::process::id().to_string();
    let (_, found) = document(&["explain", "--to", "pid", &pid]);
    let of_web = found["receivers"].as_array().unwrap().iter().find(|found| found["cookie"] == cookie(&web).as_str());
    let label = &of_web.expect("both are ours")["labels"][0];
    assert_eq!((&label["label"], &label["bindings"][0]["destination"]), (&"web".into(), &"127.9.0.1/32".into()));
    let ran = sklookup(&["explain", "--to", "tcp", "0.0.0.0:80"]);
    assert!(
        ran.stdout.contains("by its bind, port 80 of every IPv4 address\n  less refuse tcp 127.7.0.0/16 80"),
        "{ran:?}"
    );
    let ran = sklookup(&["explain", "--to", "udp :9"]);
    assert_eq!((ran.exit, ran.stdout.as_str()), (1, ""));
}
