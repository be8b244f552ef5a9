//! Clients that are slow, many, or send what is no request: whoever asks properly is answered all the same.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use sklookup_testbed::{Sandbox, Trial, kernel_trial};

use crate::world::{Server, bind, value};

pub fn trials() -> Vec<Trial> {
    vec![
        kernel_trial("crowd::hundreds_of_silent_clients_keep_nobody_waiting", silent),
        kernel_trial("crowd::who_does_not_take_the_answer_keeps_nobody_waiting", not_taking),
        kernel_trial("crowd::a_request_without_end_is_refused", endless),
        kernel_trial("crowd::many_scrapes_at_once_are_one_snapshot", at_once),
        kernel_trial("crowd::who_has_asked_when_it_is_let_in_is_answered_at_once", already_asked),
        kernel_trial("crowd::what_comes_in_pieces_is_put_together", pieces),
    ]
}

fn silent(_: &Sandbox) {
    bind("dns udp 127.7.0.0/16 53");
    let server = Server::new(&[]);
    let mut crowd: Vec<TcpStream> = (0..300).map(|_| server.connect()).collect();
    for client in &mut crowd {
        // Whoever was sent away has gone.
        let _ = client.write_all(b"GET /metrics HTTP/1.1\r\n");
    }
    let text = server.scrape();
    assert_eq!(value(&text, "sklookup_up"), 1.0);
    assert!(value(&text, "sklookup_http_connections_dropped_total") >= 300.0 - 64.0, "{text}");
}

fn not_taking(_: &Sandbox) {
    // An answer that fits no buffer of a socket.
    let hosts: Vec<String> = (0..20_000).map(|n| format!("  \"dns udp 127.7.{}.{} 53\",\n", n >> 8, n & 255)).collect();
    let policy = std::env::temp_dir().join(format!("sklookup-crowd-{}.toml", std::process::id()));
    std::fs::write(&policy, format!("bindings = [\n{}]\n", hosts.concat())).unwrap();
    assert_eq!(crate::command::sklookup(&["apply", policy.to_str().unwrap()]).exit, 0);
    std::fs::remove_file(&policy).unwrap();
    let server = Server::new(&["--max-bindings", "20000"]);
    let mut crowd: Vec<TcpStream> = (0..100).map(|_| server.connect()).collect();
    for client in &mut crowd {
        let _ = client.write_all(b"GET /metrics HTTP/1.1\r\n\r\n");
    }
    assert_eq!(server.scrape().matches("\nsklookup_binding_hook_runs_total{").count(), 20_000);
}

fn endless(_: &Sandbox) {
    let server = Server::new(&[]);
    let mut client = server.connect();
    let line = [b'x'; 1024];
    let mut answer = Vec::new();
    for _ in 0..1024 {
        if client.write_all(&line).is_err() {
            break;
        }
    }
    match client.read_to_end(&mut answer) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "it went on sending"),
    }
    let refused = String::from_utf8_lossy(&answer);
    assert!(refused.is_empty() || refused.starts_with("HTTP/1.1 431 "), "{refused}");
    server.scrape_until(r#"sklookup_http_requests_total{code="431"}"#, 1.0);
}

fn at_once(_: &Sandbox) {
    bind("dns udp 127.7.0.0/16 53");
    let server = Server::new(&[]);
    let mut clients: Vec<TcpStream> = (0..8).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
    }
    let took = clients.into_iter().map(|mut client| {
        let mut text = String::new();
        client.read_to_string(&mut text).unwrap();
        value(&text, "sklookup_snapshot_duration_seconds").to_string()
    });
    let took: std::collections::BTreeSet<String> = took.collect();
    // On a busy machine they may be further apart than a snapshot serves.
    assert!(took.len() < 8, "no two shared a snapshot: {took:?}");
}

fn already_asked(_: &Sandbox) {
    let server = Server::new(&[]);
    for _ in 0..20 {
        let mut client = server.connect();
        client.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        // Less than the time to ask: nothing else may have to end for it.
        client.set_read_timeout(Some(Duration::from_secs(4))).unwrap();
        client.read_to_string(&mut String::new()).unwrap();
    }
}

fn pieces(_: &Sandbox) {
    let server = Server::new(&[]);
    let mut client = server.connect();
    client.set_nodelay(true).unwrap();
    for byte in b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" {
        client.write_all(&[*byte]).unwrap();
    }
    let mut text = String::new();
    client.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && text.ends_with("the metrics are at /metrics\n"), "{text}");
}
