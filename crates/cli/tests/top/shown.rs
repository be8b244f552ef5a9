//! What it shows, and what keys do to that.

use std::net::{SocketAddr, TcpListener, TcpStream};

use sklookup_kernel::Sandbox;
use sklookup_testbed::{Trial, kernel_trial_with};

use crate::command::sklookup;
use crate::rename::Renamed;
use crate::tmux::Tmux;

pub fn trials() -> Vec<Trial> {
    vec![
        kernel_trial_with("tmux", "runs_and_errors_are_shown_while_they_are_counted", counted),
        kernel_trial_with("tmux", "keys_turn_filter_and_say_more", keys),
        kernel_trial_with("tmux", "it_follows_what_is_in_effect", follows),
        kernel_trial_with("tmux", "another_size_is_drawn_anew", resized),
        kernel_trial_with("tmux", "no_name_commands_the_terminal", hostile),
    ]
}

fn bind(binding: &str) {
    let ran = sklookup(&["bind", binding]);
    assert_eq!(ran.exit, 0, "{binding}: {ran:?}");
}

/// A listener of this process, under a label.
fn server(label: &str) -> TcpListener {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let socket = format!("tcp {}", listener.local_addr().unwrap());
    let ran = sklookup(&["register", label, "--pid", &std::process::id().to_string(), "--match", &socket]);
    assert_eq!(ran.exit, 0, "{ran:?}");
    listener
}

/// The line of the screen that ends so.
fn row(screen: &str, end: &str) -> Option<Vec<String>> {
    let line = screen.lines().find(|line| line.trim_end().ends_with(end))?;
    Some(line.split_whitespace().map(str::to_owned).collect())
}

fn counted(sandbox: &Sandbox) {
    bind("web tcp 127.7.0.0/16 80");
    bind("api tcp 127.8.0.0/16 80");
    let _web = server("web");
    let tmux = Tmux::open(sandbox, 120, 20);
    tmux.top("--interval 0.2");
    let to = |address: &str| TcpStream::connect(address.parse::<SocketAddr>().unwrap());
    for _ in 0..5 {
        to("127.7.1.1:80").unwrap();
    }
    let screen = tmux.until("five runs", |screen| {
        row(screen, "web tcp 127.7.0.0/16 80").is_some_and(|row| row.contains(&"5".to_owned()))
    });
    assert!(screen.contains("5 steered, 0 refused"), "{screen}");
    // Errors are marked for as long as they happen.
    tmux.until("errors", |screen| {
        assert!(to("127.8.1.1:80").is_err());
        row(screen, "api tcp 127.8.0.0/16 80").is_some_and(|row| row[1].ends_with('!'))
    });
    tmux.keys(&["e"]);
    tmux.shows("sorted by errors");
    tmux.keys(&["Tab"]);
    let screen = tmux.until("labels", |screen| row(screen, " web").is_some_and(|row| row.contains(&"5".to_owned())));
    assert!(screen.contains("LABEL"), "{screen}");
}

fn keys(sandbox: &Sandbox) {
    bind("web tcp 127.7.0.0/16 80");
    bind("api tcp 127.7.1.0/24 80");
    bind("dns udp 127.7.0.0/16 53");
    let web = server("web");
    let tmux = Tmux::open(sandbox, 120, 24);
    tmux.top("--interval 0.2");
    tmux.keys(&["/"]);
    tmux.shows("/_");
    tmux.keys(&["w", "e", "b"]);
    tmux.until("only web", |screen| screen.contains("/web_") && !screen.contains("dns udp"));
    tmux.keys(&["Enter", "Enter"]);
    let screen = tmux.shows("less api tcp 127.7.1.0/24 80");
    assert!(screen.contains(&format!("tcp over IPv4: tcp {}", web.local_addr().unwrap())), "{screen}");
    tmux.keys(&["q"]);
    tmux.until("back", |screen| screen.contains("BINDING") && !screen.contains("less api"));
    tmux.keys(&["Escape"]);
    tmux.shows("dns udp 127.7.0.0/16 53");
    tmux.keys(&["2", "n", "G", "Enter"]);
    tmux.shows("label web");
    tmux.keys(&["x", "3"]);
    let screen = tmux.shows(&format!("tcp {}  ipv4  web", web.local_addr().unwrap()));
    assert!(screen.contains(&format!("(pid {})", std::process::id())), "{screen}");
}

fn follows(sandbox: &Sandbox) {
    let tmux = Tmux::open(sandbox, 120, 20);
    tmux.top("--interval 0.2");
    tmux.shows("nothing is steered here");
    bind("web tcp 127.7.0.0/16 80");
    tmux.shows("web tcp 127.7.0.0/16 80");
    bind("api tcp 127.8.0.0/16 80");
    tmux.until("both", |screen| screen.contains("2 bindings, 2 labels") && screen.contains("api tcp 127.8.0.0/16 80"));
    assert_eq!(sklookup(&["unload"]).exit, 0);
    let screen = tmux.shows("nothing is steered here");
    assert!(!screen.contains("api tcp"), "{screen}");
    bind("web tcp 127.9.0.0/16 80");
    tmux.shows("web tcp 127.9.0.0/16 80");
}

fn resized(sandbox: &Sandbox) {
    for port in 1..=40 {
        bind(&format!("web tcp 127.7.0.1 {port}"));
    }
    let tmux = Tmux::open(sandbox, 120, 12);
    tmux.top("--interval 0.2");
    tmux.until("seven rows", |screen| screen.matches("web tcp").count() == 7);
    tmux.resize(90, 30);
    tmux.until("more rows", |screen| screen.matches("web tcp").count() == 25);
    tmux.resize(40, 8);
    tmux.until("fewer", |screen| screen.lines().count() <= 8 && screen.contains("q leave"));
    tmux.resize(120, 50);
    tmux.until("all", |screen| screen.matches("web tcp").count() == 40);
}

fn hostile(sandbox: &Sandbox) {
    let server = Renamed::new("x\u{1b}[2J\u{202e}y");
    bind("web tcp 127.7.0.0/16 80");
    let ran = sklookup(&["register", "web", "--pid", &server.0.id().to_string()]);
    assert_eq!(ran.exit, 0, "{ran:?}");
    let tmux = Tmux::open(sandbox, 120, 20);
    tmux.top("--interval 0.2");
    tmux.keys(&["3"]);
    let screen = tmux.shows("x\\u{1b}[2J\\u{202e}y");
    assert!(screen.contains("3 sockets"), "nothing was cleared: {screen}");
    tmux.keys(&["1", "Enter"]);
    tmux.shows("x\\u{1b}[2J\\u{202e}y (pid");
}
