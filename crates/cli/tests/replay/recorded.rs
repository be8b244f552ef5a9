//! What is said of a file.

use std::fs;

use sklookup_testbed::{Sandbox, Trial, plain_trial, sandbox_trial};

use crate::command::{one_document, sklookup};
use crate::world::{capture, replay, with_input};

pub fn trials() -> Vec<Trial> {
    vec![
        plain_trial("all_that_a_policy_would_do_is_shown", whole),
        plain_trial("what_can_not_be_known_is_said_with_what_would_tell_it", unknown),
        plain_trial("against_another_policy_only_changes_are_shown", changes),
        plain_trial("a_damaged_capture_is_shown_as_far_as_it_goes_with_exit_status_2", damaged),
        plain_trial("what_is_no_capture_is_told_with_what_to_do", no_capture),
        plain_trial("names_in_a_capture_do_not_command_the_terminal", hostile_names),
        plain_trial("standard_input_is_read_once_only", twice),
        sandbox_trial("a_file_that_bears_control_characters_does_not_command_the_terminal", hostile_path),
    ]
}

const POLICY: [&str; 4] =
    ["web tcp 192.0.2.0/24 80,8080", "refuse tcp 192.0.2.7 25", "dns udp 2001:db8::7 53", "idle tcp 10.0.0.1 80"];
const LOCAL: [&str; 2] = ["--local", "192.0.2.7,2001:db8::7"];

fn whole() {
    let ran = replay("ethernet.pcap", &POLICY, &LOCAL);
    let expected = format!(
        "\
capture    {}: 9 packets (pcap of ethernet), 1 of them kept in part
policy     <stdin>: 5 bindings
direction  of packets: 8 by --local

outcome                                          flows    packets          bytes
steered                                              3          4            178
  dns                                                1          1             58
  web                                                2          3            120
passed by a rule                                     0          0              0
refused by a rule                                    1          1             40
no binding                                           1          1            928
all                                                  5          6           1146

binding                                          flows    packets          bytes
web tcp 192.0.2.0/24 80                              1          2             80  # <stdin>:1
web tcp 192.0.2.0/24 8080                            1          1             40  # <stdin>:1
refuse tcp 192.0.2.7 25                              1          1             40  # <stdin>:1
dns udp 2001:db8::7 53                               1          1             58  # <stdin>:1

1 of 5 bindings got nothing

set aside, in packets
         2 sent by this host
         1 not IP

note  no capture tells which UDP sockets are connected: those get their peer's packets without the hook
",
        capture("ethernet.pcap").display()
    );
    assert_eq!(ran.stdout, expected);
    assert_eq!((ran.exit, ran.stderr.as_str()), (0, ""));
}

fn unknown() {
    let ran = replay("ethernet.pcap", &POLICY, &[]);
    assert_eq!(ran.exit, 0);
    for said in [
        "direction  of packets: 6 by what opened the connection, 2 not known\n",
        "         2 of UDP, and which way they went is not known\n",
        "note  --local PREFIX says which addresses are this host's",
    ] {
        assert!(ran.stdout.contains(said), "{said}: {}", ran.stdout);
    }
    // Which interface it was is an index here, and nothing at all there.
    let policy = ["web tcp 192.0.2.7 80", "lan tcp 192.0.2.7 80 dev eth0", "dns udp 192.0.2.7 53"];
    let ran = replay("cooked-v2.pcap", &policy, &[]);
    assert!(ran.stdout.contains("depends on the interface, which is not told"), "{}", ran.stdout);
    assert!(ran.stdout.contains("note  --dev IF says where"), "{}", ran.stdout);
    let ran = replay("cooked-v2.pcap", &policy, &["--dev", "2=eth0"]);
    assert!(ran.stdout.contains("\n  lan                                                1"), "{}", ran.stdout);
    assert!(!ran.stdout.contains("interface"), "{}", ran.stdout);
}

fn changes() {
    let files = std::env::temp_dir().join(format!("sklookup-replay-{}", std::process::id()));
    fs::write(&files, r#"bindings = ["old tcp 192.0.2.0/24 80", "web tcp 192.0.2.0/24 8080", "pass udp ::/0"]"#)
        .unwrap();
    let old = files.to_str().unwrap();
    let ran = replay("ethernet.pcap", &POLICY, &[&LOCAL[..], &["--against", old]].concat());
    let same = replay("ethernet.pcap", &["old tcp 192.0.2.0/24 80", "web tcp 192.0.2.7 8080"], &["--against", old]);
    fs::remove_file(&files).unwrap();
    let (_, shown) = ran.stdout.split_once("\n\n").unwrap();
    let expected = format!(
        "\
outcome                                          flows    packets          bytes
changes                                              3          4            178
stays                                                2          2            968

old -> web: 1 flow, 2 packets, 80 bytes
  - old tcp 192.0.2.0/24 80  # {old}:1
  + web tcp 192.0.2.0/24 80  # <stdin>:1
  as tcp 198.51.100.9:40000 > 192.0.2.7:80

no binding -> refuse: 1 flow, 1 packet, 40 bytes
  + refuse tcp 192.0.2.7 25  # <stdin>:1
  as tcp 198.51.100.9:40000 > 192.0.2.7:25

pass -> dns: 1 flow, 1 packet, 58 bytes
  - pass udp ::/0  # {old}:1
  + dns udp 2001:db8::7 53  # <stdin>:1
  as udp [2001:db8::9]:5000 > [2001:db8::7]:53
"
    );
    assert!(shown.starts_with(&expected), "{shown}");
    assert_eq!((ran.exit, ran.stderr.as_str()), (1, ""));
    // The same label from another binding, and no binding in place of `pass`.
    assert_eq!(same.exit, 0, "{}", same.stdout);
    assert!(same.stdout.contains("\nchanges                                              0"), "{}", same.stdout);
}

fn damaged() {
    let path = |name| capture(name).display().to_string();
    let ran = replay("damaged.pcapng", &POLICY, &[]);
    assert_eq!(ran.exit, 2);
    assert!(ran.stdout.contains("\nsteered                                              2"), "{}", ran.stdout);
    let said = "damaged at byte 144: a block ends before what must be in it; 1 block left out; the rest was read";
    assert_eq!(ran.stderr, format!("sklookup: {}: {said}\n", path("damaged.pcapng")));

    let ran = replay("cut-off.pcap", &POLICY, &LOCAL);
    assert_eq!(ran.exit, 2);
    assert!(ran.stdout.contains(": 3 packets (pcap of ethernet)"), "{}", ran.stdout);
    let said = "damaged at byte 234: it ends in the middle of a record; the last 66 bytes were not read";
    assert_eq!(ran.stderr, format!("sklookup: {}: {said}\n", path("cut-off.pcap")));

    // What comes through a pipe has no length, and is the same else.
    let bytes = fs::read(capture("cut-off.pcap")).unwrap();
    let ran = with_input(&["replay", "-", "--policy", "/dev/null"], &bytes);
    assert_eq!(ran.exit, 2);
    assert!(ran.stderr.ends_with("in the middle of a record; what follows was not read\n"), "{}", ran.stderr);
}

fn no_capture() {
    for (bytes, why, help) in [
        (&b""[..], "it is empty", "tcpdump -w FILE"),
        (b"GET / HTTP/1.0", "it is no capture: it begins with 47 45 54 20", "pcap and pcapng can be read"),
        (b"\x1f\x8b\x08\x00", "it is compressed by gzip", "zcat <stdin> | sklookup replay -"),
        (b"\x28\xb5\x2f\xfd\x00", "it is compressed by zstd", "zstdcat"),
    ] {
        let ran = with_input(&["replay", "-", "--policy", "/dev/null"], bytes);
        assert_eq!((ran.exit, ran.stdout.as_str()), (2, ""));
        assert!(ran.stderr.contains(why) && ran.stderr.contains(help), "{}", ran.stderr);
    }
    for (path, why) in [("/no/such/file", "No such file or directory"), ("/proc", "is a directory")] {
        let ran = sklookup(&["replay", path, "--policy", "/dev/null"]);
        assert_eq!(ran.exit, 2);
        assert!(ran.stderr.starts_with(&format!("sklookup: {path}: {why}\n    name a capture")), "{}", ran.stderr);
    }
}

fn hostile_names() {
    let file = capture("interfaces.pcapng");
    let policy = std::env::temp_dir().join(format!("sklookup-hostile-{}", std::process::id()));
    // Interfaces matter only where a binding asks for one.
    fs::write(&policy, "bindings = [\"a udp 192.0.2.7 53\", \"b udp 192.0.2.7 53 dev eth0\"]").unwrap();
    let words = ["replay", file.to_str().unwrap(), "--policy", policy.to_str().unwrap(), "--against", "/dev/null"];
    let (text, json) = (sklookup(&words), sklookup(&[&["--json"], &words[..]].concat()));
    fs::remove_file(&policy).unwrap();
    assert!(text.stdout.contains("192.0.2.7:53 dev e\\u{202e}0\n"), "{}", text.stdout);
    assert!(json.stdout.contains("192.0.2.7:53 dev e\\u202e0\""), "{}", json.stdout);
    assert_eq!(one_document(&json)["changed"]["flows"], 1);
}

fn twice() {
    let ran = sklookup(&["replay", "-", "--policy", "-"]);
    assert_eq!(ran.exit, 2);
    assert!(ran.stderr.starts_with("sklookup: standard input can be read once only\n"), "{}", ran.stderr);
}

fn hostile_path(sandbox: &Sandbox) {
    let path = sandbox.scratch.join("a\u{1b}[2Jb");
    fs::copy(capture("cut-off.pcap"), &path).unwrap();
    let ran = sklookup(&["replay", path.to_str().unwrap(), "--policy", "/dev/null"]);
    assert_eq!(ran.exit, 2);
    assert!(!ran.stdout.contains('\u{1b}') && !ran.stderr.contains('\u{1b}'), "{ran:?}");
    assert!(ran.stdout.contains("a\\u{1b}[2Jb: 3 packets") && ran.stderr.contains("a\\u{1b}[2Jb: damaged"), "{ran:?}");
}
