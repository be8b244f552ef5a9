//! What every port of an address does.

use std::net::{TcpListener, UdpSocket};

use sklookup_kernel::Sandbox;
use sklookup_testbed::{Trial, kernel_trial, plain_trial};

use crate::command::{document, sklookup};
use crate::policy::by_policy;
use crate::scene::{as_nobody, bind, cookie, copy_command, other, server};

pub fn trials() -> Vec<Trial> {
    vec![
        plain_trial("the_ports_of_an_address_under_a_policy_file_need_no_rights", by_file),
        kernel_trial("ports_are_cut_at_bindings_and_sockets_with_who_gets_each", live),
        kernel_trial("what_others_could_take_or_may_not_be_read_is_said_first", not_whole),
    ]
}

fn by_file() {
    let lines = ["web tcp 192.0.2.0/24 80-89", "api tcp 192.0.2.7 85 from 10.0.0.0/8", "refuse udp 192.0.2.0/24"];
    let ran = by_policy(&lines, &["--ports", "192.0.2.7"]);
    assert_eq!(
        (ran.exit, ran.stdout.as_str()),
        (
            0,
            "tcp to 192.0.2.7
       0-79  regular lookup
      80-84  web  # web tcp 192.0.2.0/24 80-89  (<stdin>:1)
         85  from 10.0.0.0/8: api  # api tcp 192.0.2.7 85 from 10.0.0.0/8  (<stdin>:1)
             else: web  # web tcp 192.0.2.0/24 80-89  (<stdin>:1)
      86-89  web  # web tcp 192.0.2.0/24 80-89  (<stdin>:1)
   90-65535  regular lookup

udp to 192.0.2.7
    0-65535  refuse  # refuse udp 192.0.2.0/24  (<stdin>:1)
"
        )
    );
    assert_eq!(by_policy(&lines, &["--ports", "192.0.2.7 udp"]).exit, 1, "no label gets any");
    let ran = by_policy(&lines, &["--ports", "192.0.2.0/24"]);
    assert_eq!(ran.exit, 2);
    assert!(ran.stderr.contains("192.0.2.0/24 is many addresses"), "{ran:?}");
}

fn live(_: &Sandbox) {
    bind("web tcp 127.7.0.0/16 80-89");
    bind("api tcp 127.7.0.1 85");
    let web = server("web");
    let plain = TcpListener::bind("0.0.0.0:81").unwrap();
    bind("pass tcp 127.7.0.1 81");
    let udp = UdpSocket::bind("127.7.0.1:53").unwrap();

    let (exit, found) = document(&["explain", "--ports", "127.7.0.1"]);
    assert_eq!(exit, 0, "{found}");
    let own = web.local_addr().unwrap().port();
    let tcp = |port: u16| {
        let spans = found["ports"][0]["spans"].as_array().unwrap();
        let holds = |span: &&serde_json::Value| match span["ports"].as_u64() {
            Some(one) => one == u64::from(port),
            None => {
                let (first, last) = span["ports"].as_str().unwrap().split_once('-').unwrap();
                (first.parse().unwrap()..=last.parse().unwrap()).contains(&port)
            }
        };
        spans.iter().find(holds).unwrap()["choices"][0].clone()
    };
    assert_eq!(tcp(80)["selected-of"][0], cookie(&web).as_str());
    assert_eq!(
        (&tcp(81)["binding"]["action"], &tcp(81)["regular"][0]["matching"][0]),
        (&"pass".into(), &cookie(&plain).into())
    );
    assert_eq!(tcp(85)["answer"], "empty");
    assert_eq!((&tcp(22)["binding"], &tcp(22)["answer"]), (&serde_json::Value::Null, &"regular".into()));
    // A listener of 127.0.0.1 takes nothing that goes to 127.7.0.1.
    assert_eq!(tcp(own)["regular"][0]["matching"], serde_json::json!([]));
    let udp_spans = found["ports"][1]["spans"].as_array().unwrap();
    assert_eq!(udp_spans.len(), 3, "before, on and after port 53: {udp_spans:?}");
    assert_eq!(udp_spans[1]["choices"][0]["regular"][0]["matching"][0], cookie(&udp).as_str());

    let ran = sklookup(&["explain", "--ports", "127.7.0.1", "tcp"]);
    let line = format!("         80  web: tcp {} of", web.local_addr().unwrap());
    assert!(ran.stdout.lines().any(|found| found.starts_with(&line)), "{ran:?}");
    assert!(
        ran.stdout.contains("         85  api: refuse, for no socket of it can be selected  # api tcp 127.7.0.1 85"),
        "{ran:?}"
    );

    let ran = sklookup(&["explain", "--ports", "192.0.2.7", "tcp"]);
    assert_eq!(ran.exit, 1);
    assert!(ran.stdout.contains("=> nobody: 192.0.2.7 is no address of this host"), "{ran:?}");
}

fn not_whole(sandbox: &Sandbox) {
    bind("web tcp 127.7.0.0/16 80");
    let _web = server("web");
    let ran = as_nobody(&copy_command(sandbox), &["explain", "--ports", "127.7.0.1", "tcp"]);
    assert_eq!(ran.exit, 2, "{ran:?}");
    let said: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(said[1], "what is steered may not be read: this is what the regular lookup would find");
    assert!(said[2].starts_with("programs on the hook can't be listed"), "{ran:?}");

    let _link = other(None, 1);
    let ran = sklookup(&["explain", "--ports", "127.7.0.1", "tcp"]);
    assert_eq!(ran.exit, 2, "{ran:?}");
    assert_eq!(ran.stdout.lines().nth(1), Some("1 program not ours on the hook could take any of this"), "{ran:?}");
    let ran = sklookup(&["explain", "--to", "web"]);
    assert_eq!(ran.exit, 2, "{ran:?}");
}
