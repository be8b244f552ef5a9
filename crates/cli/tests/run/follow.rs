//! Servers that open, close and hand over their sockets while they are served.

use sklookup_testbed::{Sandbox, Trial, kernel_trial};

use crate::under_test::{Run, assert_clean, server, tcp, udp};

pub fn trials() -> Vec<Trial> {
    vec![
        kernel_trial("a_server_that_opens_its_socket_again_is_served_again", reopened),
        kernel_trial("a_socket_of_the_other_family_or_protocol_joins_when_it_opens", joins_later),
        kernel_trial("the_group_goes_on_serving_when_a_member_closes", group),
        kernel_trial("a_daemon_is_served_after_its_starter_has_ended", daemon),
        kernel_trial("a_child_that_listens_is_found", grandchild),
    ]
}

fn reopened(sandbox: &Sandbox) {
    let mut run = Run::steering(&["--bind", "tcp 127.7.0.0/16 80"], &server("web", &["tcp 127.0.0.1:8080"]));
    assert_eq!(tcp("127.7.0.1:80").unwrap(), "web");
    for address in ["127.0.0.1:8080", "127.0.0.1:8081"] {
        run.tell("close");
        // Nobody has the socket, and nothing holds it open: the regular lookup refuses.
        assert!(tcp("127.7.0.1:80").is_err());
        run.tell(&format!("tcp {address}"));
        let line = run.hear("sklookup: now steering to ");
        assert!(line.ends_with(&format!("on tcp {address}")), "{line}");
        assert_eq!(tcp("127.7.0.1:80").unwrap(), "web");
    }
    run.end();
    assert_clean(sandbox);
}

fn joins_later(sandbox: &Sandbox) {
    sklookup_kernel::route::add_local_route("fd00:7::/64".parse().unwrap()).unwrap();
    let mut run = Run::steering(
        &["--bind", "tcp 127.7.0.0/16 80", "--bind", "tcp fd00:7::/64 80"],
        &server("web", &["tcp 127.0.0.1:8080"]),
    );
    run.hear("sklookup: it has no socket for tcp over IPv6");
    assert!(tcp("[fd00:7::1]:80").is_err());
    run.tell("tcp [::1]:8080");
    run.hear("sklookup: now steering to ");
    assert_eq!(tcp("[fd00:7::1]:80").unwrap(), "web");
    assert_eq!(tcp("127.7.0.1:80").unwrap(), "web");
    run.end();
    assert_clean(sandbox);
}

fn group(sandbox: &Sandbox) {
    let mut run = Run::steering(
        &["--bind", "tcp,udp 127.7.0.0/16 80"],
        &server("web", &["tcp 127.0.0.1:8080", "udp 127.0.0.1:5353"]),
    );
    // A second member joins; then the first ones close, which is what a reload looks like.
    run.tell("tcp 127.0.0.1:8080");
    run.hear("sklookup: now steering to ");
    run.tell("close-first");
    assert_eq!(tcp("127.7.0.1:80").unwrap(), "web");
    assert_eq!(udp("127.7.0.1:80").unwrap(), "web");
    run.end();
    assert_clean(sandbox);
}

fn daemon(sandbox: &Sandbox) {
    let command = server("web", &["tcp 127.0.0.1:8080"]);
    // The server outlives the shell, and ends with its standard input as it does alone.
    let script = format!("exec 3<&0; '{}' serve web 'tcp 127.0.0.1:8080' <&3 & exit 0", command[0]);
    let run = Run::steering(&["--bind", "tcp 127.7.0.0/16 80"], &["sh".into(), "-c".into(), script]);
    for _ in 0..3 {
        assert_eq!(tcp("127.7.0.1:80").unwrap(), "web");
    }
    let ended = run.end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(tcp("127.7.0.1:80").is_err());
    assert_clean(sandbox);
}

fn grandchild(sandbox: &Sandbox) {
    let command = server("web", &["tcp 127.0.0.1:8080"]);
    let script = format!("'{}' serve web 'tcp 127.0.0.1:8080'; exit 9", command[0]);
    let run = Run::steering(&["--bind", "tcp 127.7.0.0/16 80"], &["sh".into(), "-c".into(), script]);
    assert_eq!(tcp("127.7.0.1:80").unwrap(), "web");
    assert_eq!(run.end().code, Some(9));
    assert_clean(sandbox);
}
