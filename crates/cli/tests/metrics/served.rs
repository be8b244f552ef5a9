//! What a scraper is told, while things change.

use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};

use rustix::process::Signal;
use sklookup_kernel::Netns;
use sklookup_testbed::{CapabilitySet, Rights, Sandbox, Trial, copy_program, kernel_trial};

use crate::command::{command, sklookup};
use crate::world::{Server, ask, bind, send, udp_server, value};

pub fn trials() -> Vec<Trial> {
    vec![
        kernel_trial("served::a_scrape_tells_what_became_of_hook_runs", counted),
        kernel_trial("served::sockets_are_told_by_their_state", sockets),
        kernel_trial("served::it_follows_what_is_applied", follows),
        kernel_trial("served::the_form_is_the_one_that_was_asked_for", forms),
        kernel_trial("served::beyond_the_limits_all_are_one_series", folded),
        kernel_trial("served::a_unix_socket_is_not_for_others_and_goes_at_the_end", unix),
        kernel_trial("served::another_namespace_is_told_about_at_a_port_of_this_one", elsewhere),
        kernel_trial("served::it_has_no_capability_and_one_thread", without_rights),
        kernel_trial("served::who_may_not_read_the_state_says_so", not_ours),
        kernel_trial("served::an_address_that_others_reach_brings_a_warning", remote),
    ]
}

fn counted(_: &Sandbox) {
    bind("dns udp 127.7.0.0/16 53");
    bind("gone udp 127.8.0.0/16 53 when-empty pass");
    bind("pass udp 127.9.0.0/16 53");
    let _dns = udp_server("dns");
    let server = Server::new(&[]);
    for to in ["127.7.0.1:53", "127.7.0.2:53", "127.8.0.1:53", "127.9.0.1:53", "127.7.0.1:54"] {
        send(to);
    }
    let text = server.scrape();
    for (sample, expected) in [
        (r#"sklookup_up"#, 1.0),
        (r#"sklookup_steering"#, 1.0),
        (r#"sklookup_bindings{outcome="steer"}"#, 2.0),
        (r#"sklookup_hook_runs_total{label="dns",outcome="steer"}"#, 2.0),
        (r#"sklookup_hook_runs_total{label="gone",outcome="steer"}"#, 1.0),
        (r#"sklookup_hook_runs_total{outcome="pass"}"#, 1.0),
        (r#"sklookup_hook_runs_refused_total{label="dns",outcome="steer"}"#, 0.0),
        (r#"sklookup_hook_runs_passed_total{label="gone",outcome="steer"}"#, 1.0),
        (r#"sklookup_hook_runs_passed_total{outcome="pass"}"#, 1.0),
        (r#"sklookup_no_socket_total{label="gone"}"#, 1.0),
        (r#"sklookup_assign_errors_total{label="dns",error="ESOCKTNOSUPPORT"}"#, 0.0),
        (r#"sklookup_label_unserved{label="gone"}"#, 1.0),
        (
            r#"sklookup_binding_hook_runs_total{label="dns",outcome="steer",protocol="udp",destination="127.7.0.0/16",ports="53"}"#,
            2.0,
        ),
        (r#"sklookup_folded_bindings"#, 0.0),
        (r#"sklookup_program_replaced"#, 0.0),
    ] {
        assert_eq!(value(&text, sample), expected, "{sample}");
    }
    assert_eq!(text.matches("sklookup_binding_no_socket_total{").count(), 1, "only where it happened");
}

fn sockets(_: &Sandbox) {
    bind("dns udp 127.7.0.0/16 53");
    let dns = udp_server("dns");
    let server = Server::new(&[]);
    let states = |text: &str| {
        ["selectable", "dead"]
            .map(|state| value(text, &format!(r#"sklookup_label_sockets{{label="dns",state="{state}"}}"#)))
    };
    assert_eq!(states(&server.scrape()), [1.0, 0.0]);
    dns.connect("127.0.0.1:9").unwrap();
    send("127.7.0.1:53");
    let text = server.scrape_until(r#"sklookup_assign_errors_total{label="dns",error="ESOCKTNOSUPPORT"}"#, 1.0);
    assert_eq!(states(&text), [0.0, 1.0]);
}

fn follows(_: &Sandbox) {
    let server = Server::new(&[]);
    assert_eq!(value(&server.scrape(), "sklookup_steering"), 0.0);
    bind("dns udp 127.7.0.0/16 53");
    let runs = r#"sklookup_hook_runs_total{label="dns",outcome="steer"}"#;
    send("127.7.0.1:53");
    let first = server.scrape_until(runs, 1.0);
    assert_eq!(sklookup(&["upgrade"]).exit, 0);
    bind("web tcp 127.7.0.0/16 80");
    send("127.7.0.1:53");
    // Counts go on.
    let second = server.scrape_until(runs, 2.0);
    assert_ne!(value(&first, "sklookup_generation"), value(&second, "sklookup_generation"));
    assert_eq!(sklookup(&["unload"]).exit, 0);
    let third = server.scrape_until("sklookup_steering", 0.0);
    assert_eq!(value(&third, "sklookup_scrape_errors_total"), 0.0);
    assert!(!third.contains("sklookup_hook_runs"), "{third}");
    let (exit, said) = server.end(Signal::TERM);
    assert_eq!((exit, said.as_str()), (Some(0), ""));
}

fn forms(_: &Sandbox) {
    bind("dns udp 127.7.0.0/16 53");
    let server = Server::new(&[]);
    let asked = |request: &str| ask(server.connect(), &format!("{request}\r\nHost: x\r\n\r\n"));
    let open = asked("GET /metrics HTTP/1.1\r\nAccept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5");
    assert!(
        open.head.contains("Content-Type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n"),
        "{open:?}"
    );
    assert!(open.body.ends_with("\n# EOF\n") && open.body.contains("# TYPE sklookup_hook_runs counter\n"), "{open:?}");
    let text = asked("GET /metrics HTTP/1.1");
    assert!(text.head.contains("Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{text:?}");
    assert!(
        !text.body.contains("# EOF") && text.body.contains("# TYPE sklookup_hook_runs_total counter\n"),
        "{text:?}"
    );
    for (request, expected) in [
        ("HEAD /metrics HTTP/1.1", "200 OK"),
        ("GET / HTTP/1.0", "200 OK"),
        ("GET /favicon.ico HTTP/1.1", "404 Not Found"),
        ("POST /metrics HTTP/1.1", "405 Method Not Allowed"),
        ("nonsense", "400 Bad Request"),
    ] {
        let answer = asked(request);
        assert!(answer.head.starts_with(&format!("HTTP/1.1 {expected}\r\n")), "{request}: {answer:?}");
        assert!(answer.body.is_empty() == request.starts_with("HEAD"), "{request}: {answer:?}");
    }
    server.scrape_until(r#"sklookup_http_requests_total{code="404"}"#, 1.0);
}

fn folded(_: &Sandbox) {
    bind("a udp 127.7.0.1,127.7.0.2,127.7.0.3 53");
    bind("b udp 127.7.0.4 53");
    bind("c udp 127.7.0.5 53");
    for host in 1..=5 {
        send(&format!("127.7.0.{host}:53"));
    }
    let server = Server::new(&["--max-bindings", "2", "--max-labels", "1"]);
    let text = server.scrape();
    let id = value(&text, "sklookup_generation");
    let others = format!(r#"{{folded="true",generation="{id}""#);
    assert_eq!(value(&text, &format!("sklookup_binding_hook_runs_total{others}}}")), 3.0);
    assert_eq!(text.matches("sklookup_binding_hook_runs_total{").count(), 3);
    assert_eq!(value(&text, &format!("sklookup_hook_runs_total{others},outcome=\"steer\"}}")), 2.0);
    assert_eq!(value(&text, &format!("sklookup_no_socket_total{others}}}")), 2.0);
    assert_eq!((value(&text, "sklookup_folded_bindings"), value(&text, "sklookup_folded_labels")), (3.0, 2.0));
    assert_eq!(value(&text, "sklookup_labels"), 3.0);
}

fn unix(sandbox: &Sandbox) {
    bind("dns udp 127.7.0.0/16 53");
    let path = sandbox.scratch.join("metrics.sock");
    let at = format!("unix:{}", path.display());
    // What a killed one left.
    drop(UnixListener::bind(&path).unwrap());
    let server = Server::of(&mut command(&["metrics", "--listen", &at]));
    assert_eq!(server.place, at);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
    let answer = ask(UnixStream::connect(&path).unwrap(), "GET /metrics HTTP/1.1\r\n\r\n");
    assert_eq!(value(&answer.body, "sklookup_up"), 1.0);
    let second = sklookup(&["metrics", "--listen", &at]);
    assert!(second.exit == 2 && second.stderr.contains("another process listens there"), "{second:?}");
    assert_eq!(server.end(Signal::INT).0, Some(0));
    assert!(!path.exists());
}

fn elsewhere(_: &Sandbox) {
    let netns = Netns::new_private().unwrap();
    let fd = std::os::fd::AsFd::as_fd(&netns).as_raw_fd();
    let path = format!("/proc/{}/fd/{fd}", std::process::id());
    let ran = sklookup(&["--netns", &path, "bind", "dns", "udp", "127.7.0.0/16", "53"]);
    assert_eq!(ran.exit, 0, "{ran:?}");
    let server = Server::new(&["--netns", &path]);
    assert_eq!(value(&server.scrape(), r#"sklookup_label_bindings{label="dns"}"#), 1.0);
    // It can look again, though it has no right to go there any more.
    assert_eq!(sklookup(&["--netns", &path, "bind", "web", "tcp", "127.7.0.0/16", "80"]).exit, 0);
    server.scrape_until("sklookup_labels", 2.0);
}

fn without_rights(_: &Sandbox) {
    bind("dns udp 127.7.0.0/16 53");
    let server = Server::new(&[]);
    assert_eq!(value(&server.scrape(), "sklookup_up"), 1.0);
    assert!(server.said.contains("keeps user 0, whose state is read, no capability"), "{}", server.said);
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim();
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
        assert_eq!(field(set), "0000000000000000", "{set}");
    }
    assert_eq!((field("NoNewPrivs:"), field("Threads:")), ("1", "1"));
}

fn not_ours(sandbox: &Sandbox) {
    bind("dns udp 127.7.0.0/16 53");
    // The build directory may be closed to others.
    let copy = sandbox.scratch.join("sklookup");
    copy_program(env!("CARGO_BIN_EXE_sklookup"), &copy);
    let nobody = Rights { uid: 65534, caps: CapabilitySet::empty() };
    let server = Server::of(nobody.command(&copy).args(["metrics", "--listen", "127.0.0.1:0"]));
    for errors in [1.0, 2.0] {
        let text = server.scrape_until("sklookup_scrape_errors_total", errors);
        assert_eq!(value(&text, "sklookup_up"), 0.0, "{text}");
    }
    let (exit, said) = server.end(Signal::TERM);
    assert_eq!((exit, said.matches("the state can't be read").count()), (Some(0), 1), "said once: {said}");
}

fn remote(_: &Sandbox) {
    let warned = |at: &str| Server::of(&mut command(&["metrics", "--listen", at])).said.contains("is not loopback");
    assert!(warned("0.0.0.0:0") && warned("[::]:0"));
    assert!(!warned("127.0.0.1:0") && !warned("[::1]:0"));
}
