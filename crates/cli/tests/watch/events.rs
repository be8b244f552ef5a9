//! Each kind of event, of real packets.

use std::net::{TcpListener, UdpSocket};
use std::os::fd::AsFd;
use std::path::PathBuf;

use sklookup_compiler::{Family, label_map};
use sklookup_kernel::{Netns, Sandbox, Sockmap};
use sklookup_policy::Protocol;
use sklookup_testbed::{Trial, kernel_trial};

use crate::command::sklookup;
use crate::eye::Eye;
use crate::world::{bind, connects, other_program, other_selecting, send, tcp_server, udp_server};

pub fn trials() -> Vec<Trial> {
    vec![
        kernel_trial("a_label_without_a_socket_is_told_with_what_becomes_of_the_packet", no_socket),
        kernel_trial("a_refusal_is_told_and_a_rule_that_passes_is_not", refused),
        kernel_trial("what_is_steered_is_not_told", steered),
        kernel_trial("a_socket_that_can_not_be_selected_is_told_with_the_error", errors),
        kernel_trial("another_programs_selection_in_the_place_of_ours_is_told", already_selected),
        kernel_trial("a_selection_of_others_beats_our_refusal_and_nothing_is_told", beaten),
        kernel_trial("large_policies_are_watched_by_their_table", table),
        kernel_trial("what_is_printed_is_fit_for_a_terminal", escaped),
    ]
}

fn no_socket(_: &Sandbox) {
    bind("web tcp 127.7.0.0/16 80");
    bind("dns udp 127.7.0.0/16 53 when-empty pass");
    bind("web tcp ::1 81");
    let mut eye = Eye::open(&[]);
    assert!(!connects("127.7.0.1:80") && !connects("[::1]:81"));
    send("127.7.0.1:53");
    assert_eq!(eye.event(), "no-socket tcp 127.7.0.1:80 dev lo web refused");
    assert_eq!(eye.event(), "no-socket tcp [::1]:81 dev lo web refused");
    assert_eq!(eye.event(), "no-socket udp 127.7.0.1:53 dev lo dns regular-lookup");
    let (exit, sum) = eye.end();
    assert_eq!((exit, &sum["told"], &sum["ok"]), (Some(0), &3.into(), &true.into()), "{sum}");
}

fn refused(_: &Sandbox) {
    bind("refuse tcp 127.7.0.0/16");
    bind("pass tcp 127.7.0.1");
    let mut eye = Eye::open(&["--count", "1"]);
    assert!(!connects("127.7.0.1:80") && !connects("127.7.0.2:80"));
    assert_eq!(eye.event(), "refused tcp 127.7.0.2:80 dev lo refuse refused");
    let (exit, sum) = eye.ended();
    assert_eq!((exit, &sum["told"], &sum["left-out"]["rate"]), (Some(0), &1.into(), &0.into()), "{sum}");
}

fn steered(_: &Sandbox) {
    bind("web tcp 127.7.0.0/16 80");
    bind("web udp 127.7.0.0/16 53");
    let (listener, datagrams) = (tcp_server("web", "127.0.0.1"), udp_server("web", "127.0.0.1"));
    let mut eye = Eye::open(&[]);
    assert!(connects("127.7.0.1:80"));
    send("127.7.0.1:53");
    // Whoever watches changes nothing: it comes to the same sockets.
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_ok());
    assert_eq!(datagrams.recv(&mut [0; 16]).unwrap(), 5);
    drop(listener);
    // What another test forks at that moment has the socket too, until it runs its program.
    while connects("127.7.0.1:80") {}
    assert_eq!(eye.event(), "no-socket tcp 127.7.0.1:80 dev lo web refused");
    assert_eq!(eye.end().1["told"], 1);
}

fn errors(_: &Sandbox) {
    bind("dns udp 127.7.0.0/16 53");
    bind("web tcp 127.7.0.0/16 80");
    bind("six tcp ::1 81 when-empty pass");
    let socket = udp_server("dns", "127.0.0.1");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    // No command of ours puts a socket where it doesn't belong; who has the right to write the map may.
    label("web").put(label_map::slot(Family::V4, Protocol::Tcp, 0), socket.as_fd()).unwrap();
    label("six").put(label_map::slot(Family::V6, Protocol::Tcp, 0), listener.as_fd()).unwrap();
    let mut eye = Eye::open(&[]);
    assert!(!connects("127.7.0.1:80") && !connects("[::1]:81"));
    assert_eq!(eye.event(), "wrong-protocol tcp 127.7.0.1:80 dev lo web refused");
    assert_eq!(eye.event(), "wrong-family tcp [::1]:81 dev lo six regular-lookup");
    socket.connect("127.0.0.1:9").unwrap();
    send("127.7.0.1:53");
    assert_eq!(eye.event(), "unsupported udp 127.7.0.1:53 dev lo dns refused");
}

/// The map of a label, as it is pinned.
fn label(label: &str) -> Sockmap {
    let state = PathBuf::from(format!("/sys/fs/bpf/sklookup/{}", Netns::current().unwrap().inode()));
    let live = std::fs::read_link(state.join("current")).unwrap();
    Sockmap::open(&state.join(live).join("labels").join(label)).unwrap()
}

fn already_selected(_: &Sandbox) {
    let theirs = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (_, link) = other_selecting(&theirs);
    bind("dns udp 127.7.0.0/16 53");
    bind("empty udp 127.7.0.0/16 54");
    let _ours = udp_server("dns", "127.0.0.1");
    let mut eye = Eye::open(&[]);
    send("127.7.0.1:53");
    send("127.7.0.1:54");
    assert_eq!(eye.event(), "already-selected udp 127.7.0.1:53 dev lo dns other-program");
    assert_eq!(eye.event(), "no-socket udp 127.7.0.1:54 dev lo empty other-program");
    // Theirs it is, watched or not.
    for _ in 0..2 {
        assert_eq!(theirs.recv(&mut [0; 16]).unwrap(), 5);
    }
    drop(link);
    send("127.7.0.1:53");
    send("127.7.0.1:54");
    assert_eq!(eye.event(), "no-socket udp 127.7.0.1:54 dev lo empty refused");
    assert_eq!(eye.end().1["told"], 3);
}

fn beaten(_: &Sandbox) {
    let theirs = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (_, link) = other_selecting(&theirs);
    bind("refuse udp 127.7.0.0/16");
    let (_, _behind) = other_program();
    let mut eye = Eye::open(&[]);
    send("127.7.0.1:53");
    assert_eq!(theirs.recv(&mut [0; 16]).unwrap(), 5);
    drop(link);
    send("127.7.0.1:54");
    assert_eq!(eye.event(), "refused udp 127.7.0.1:54 dev lo refuse refused");
    assert_eq!(eye.end().1["told"], 1);
}

fn table(sandbox: &Sandbox) {
    let bindings: Vec<String> =
        (0..300).map(|n| format!("'l{n} tcp 127.7.{}.0/24 {}'", n % 256, 80 + n / 256)).collect();
    let policy = sandbox.scratch.join("policy.toml");
    std::fs::write(&policy, format!("bindings = [{}]", bindings.join(","))).unwrap();
    let ran = sklookup(&["apply", policy.to_str().unwrap()]);
    assert_eq!(ran.exit, 0, "{ran:?}");
    let _listener = tcp_server("l7", "127.0.0.1");
    let mut eye = Eye::open(&[]);
    assert!(connects("127.7.7.1:80") && !connects("127.7.8.1:80") && !connects("127.7.43.1:81"));
    assert_eq!(eye.event(), "no-socket tcp 127.7.8.1:80 dev lo l8 refused");
    assert_eq!(eye.event(), "no-socket tcp 127.7.43.1:81 dev lo l299 refused");
    assert_eq!(eye.end().1["told"], 2);
}

fn escaped(sandbox: &Sandbox) {
    let policy = sandbox.scratch.join("\u{1b}]0;x\u{7}.toml");
    std::fs::write(&policy, "bindings = ['web tcp 127.7.0.0/16 80']").unwrap();
    let ran = sklookup(&["apply", policy.to_str().unwrap()]);
    assert_eq!(ran.exit, 0, "{ran:?}");
    let mut eye = Eye::open(&[]);
    assert!(!connects("127.7.0.1:80"));
    let file = eye.next()["binding"]["origin"]["file"].as_str().unwrap().to_owned();
    assert!(file.ends_with("\u{1b}]0;x\u{7}.toml"), "{file:?}");
    drop(eye);
    // As text, until one was told: the packet is sent again as long as nobody watches yet.
    let mut watch = crate::command::command(&["watch", "--count", "1"]);
    let watch = watch.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let printed = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| watch.wait_with_output().unwrap());
        while !waiting.is_finished() {
            // The thread has the namespace of this one.
            connects("127.7.0.1:80");
        }
        waiting.join().unwrap()
    });
    let text = String::from_utf8(printed.stdout).unwrap();
    assert!(text.contains("no socket    tcp 127.0.0.1:") && text.contains("\\u{1b}]0;x\\u{7}.toml"), "{text:?}");
    assert!(!text.contains('\u{1b}') && text.lines().count() == 1, "{text:?}");
}
