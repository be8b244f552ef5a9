//! From the command line to the first connection.

use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::Stdio;

use sklookup_kernel::route::add_local_route;
use sklookup_testbed::{Sandbox, Trial, kernel_trial};

use crate::under_test::{Run, assert_clean, is_udp_refused, server, sklookup, tcp, udp};

pub fn trials() -> Vec<Trial> {
    vec![
        kernel_trial("an_unmodified_server_serves_a_prefix_and_a_thousand_ports", serves_a_prefix),
        kernel_trial("what_binding_and_match_do_not_name_is_left_alone", leaves_the_rest),
        kernel_trial("no_fd_of_ours_reaches_the_command", no_fd_leaks),
        kernel_trial("of_several_services_the_user_chooses", several_services),
        kernel_trial("a_server_that_never_listens_is_ended_and_its_sockets_are_told", timeout),
        kernel_trial("what_is_wrong_never_starts_the_command", wrong_bindings),
        kernel_trial(
            "a_command_that_can_not_be_started_leaves_the_applied_policy_without_a_label_of_it",
            never_started,
        ),
        kernel_trial("a_safety_catch_closes_before_the_command_is_started", safety_catch),
        kernel_trial("the_command_can_be_another_user", another_user),
        kernel_trial("a_listener_passed_as_standard_input_counts_when_match_names_it", passed_listener),
        kernel_trial("the_server_of_another_namespace_is_started_there", another_namespace),
    ]
}

fn serves_a_prefix(sandbox: &Sandbox) {
    add_local_route("fd00:7::/64".parse().unwrap()).unwrap();
    let run = Run::steering(
        &["--bind", "tcp,udp 127.7.0.0/16 8000-8999", "--bind", "tcp,udp fd00:7::/64 8000-8999"],
        &server("web", &["tcp [::]:80", "udp [::]:80"]),
    );
    for (address, port) in [("127.7.0.1", 8000), ("127.7.255.254", 8999), ("[fd00:7::1]", 8500), ("[fd00:7::]", 8000)] {
        let to = format!("{address}:{port}");
        assert_eq!(tcp(&to).unwrap(), "web", "tcp {to}");
        assert_eq!(udp(&to).unwrap(), "web", "udp {to}");
    }
    assert_eq!(run.heard.len(), 1, "one line says it all: {:?}", run.heard);
    assert_eq!(
        run.heard[0].replace(|c: char| c.is_ascii_digit(), "0").split(" to ").next().unwrap(),
        "sklookup: steering tcp,udp 000.0.0.0/00 0000-0000, tcp,udp fd00:0::/00 0000-0000"
    );
    assert!(run.heard[0].ends_with("on tcp [::]:80 and udp [::]:80"), "{}", run.heard[0]);
    assert_eq!(run.end().code, Some(0));
    assert!(tcp("127.7.0.1:8000").is_err());
    assert_clean(sandbox);
}

fn leaves_the_rest(_: &Sandbox) {
    let run = Run::steering(&["--bind", "tcp 127.7.0.0/16 80"], &server("web", &["tcp 127.0.0.1:8080"]));
    assert_eq!(tcp("127.7.0.1:80").unwrap(), "web");
    assert_eq!(tcp("127.0.0.1:8080").unwrap(), "web");
    for outside in ["127.8.0.1:80", "127.7.0.1:81", "[::1]:80"] {
        assert!(tcp(outside).is_err(), "{outside}");
    }
    assert!(is_udp_refused("127.7.0.1:80"));
    run.end();
}

fn no_fd_leaks(_: &Sandbox) {
    // Not close-on-exec: a file that a careless caller leaves open.
    let leaked = rustix::io::dup(std::fs::File::open("/dev/null").unwrap()).unwrap();
    let mut run = Run::steering(&["--bind", "tcp 127.7.0.0/16 80"], &server("web", &["tcp 127.0.0.1:8080"]));
    // 3 is the server's own listener.
    assert_eq!(run.tell("fds"), "0 1 2 3");
    drop(leaked);
    run.end();
}

fn never_started(sandbox: &Sandbox) {
    let ended = |arguments: &[&str]| sklookup(arguments).output().unwrap();
    assert!(ended(&["bind", "pass", "tcp", "127.9.0.0/16", "80"]).status.success());
    let run = ended(&["run", "--bind", "tcp 127.7.0.0/16 80", "--", "/nonexistent"]);
    assert_eq!(run.status.code(), Some(127), "{run:?}");
    let status = ended(&["status"]);
    assert!(status.status.success() && !String::from_utf8_lossy(&status.stdout).contains("run:"), "{status:?}");
    assert!(ended(&["unload"]).status.success());
    assert_clean(sandbox);
}

fn several_services(sandbox: &Sandbox) {
    let two = server("web", &["tcp 127.0.0.1:8080", "tcp 127.0.0.1:9090"]);
    let ended = Run::start(&["--bind", "tcp 127.7.0.0/16 80"], &two).wait();
    assert_eq!(ended.code, Some(125), "{ended:?}");
    assert!(ended.stderr.contains("2 sockets could be meant"), "{ended:?}");
    assert!(ended.stderr.contains("--match 'tcp 127.0.0.1:8080'\n    --match 'tcp 127.0.0.1:9090'"), "{ended:?}");
    assert_clean(sandbox);

    let run = Run::steering(&["--bind", "tcp 127.7.0.0/16 80", "--match", "tcp :9090"], &two);
    assert!(run.heard[0].ends_with("on tcp 127.0.0.1:9090"), "{:?}", run.heard);
    assert_eq!(tcp("127.7.0.1:80").unwrap(), "web");
    run.end();
    assert_clean(sandbox);
}

fn timeout(sandbox: &Sandbox) {
    let silent = ["--timeout", "1", "--bind", "tcp 127.7.0.0/16 80"];
    let ended = Run::start(&silent, &server("web", &["udp 127.0.0.1:53", "connected-udp 127.0.0.1:9"])).wait();
    assert_eq!(ended.code, Some(125));
    assert!(ended.stderr.contains("no tcp socket to steer to within 1 s; it is ended"), "{}", ended.stderr);
    assert!(ended.stderr.contains("udp 127.0.0.1:53"), "{}", ended.stderr);
    assert!(ended.stderr.contains("no --bind names udp"), "{}", ended.stderr);
    assert_clean(sandbox);

    let ended = Run::start(&silent, &server("web", &[])).wait();
    assert!(ended.stderr.contains("it has no socket at all"), "{}", ended.stderr);
    let ended = Run::start(&silent, &server("web", &["connected-udp 127.0.0.1:9"])).wait();
    assert!(ended.stderr.contains("a UDP socket connected to 127.0.0.1:9"), "{}", ended.stderr);
    let other = ["--timeout", "1", "--bind", "tcp 127.7.0.0/16 80", "--match", "tcp :81"];
    let ended = Run::start(&other, &server("web", &["tcp 127.0.0.1:80"])).wait();
    assert!(ended.stderr.contains("--match does not describe it"), "{}", ended.stderr);
    assert_clean(sandbox);
}

fn wrong_bindings(sandbox: &Sandbox) {
    let started = sandbox.scratch.join("started");
    let touch = ["touch".to_owned(), started.to_str().unwrap().to_owned()];
    for (options, says) in [
        (&["--bind", "web tcp 127.7.0.0/16 80"][..], "stands where the protocol is expected"),
        (&["--bind", "tcp 127.7.0.0/16 9000-8000"], "9000-8000"),
        (&["--bind", "tcp 127.7.0.1/16"], "--bind 'tcp 127.7.0.1/16'"),
        (&["--bind", "tcp 127.7.0.0/16 80 dev nosuch0"], "interface nosuch0: there is none"),
        (&["--bind", "tcp 127.7.0.0/16 80", "--user", "no-such-user"], "--user no-such-user"),
        (&["--bind", "tcp 127.7.0.0/16 80", "--netns", "no-such-netns"], "no-such-netns"),
        (&["--bind", "tcp 127.7.0.0/16 80", "--bpffs", "/tmp"], "/tmp: not a bpffs"),
        (&["--bind", "tcp 127.7.0.0/16 80", "--timeout", "31536001"], "31536001"),
        (&["--bind", "tcp 127.7.0.0/16 80", "--timeout", "18446744073709551615"], "18446744073709551615"),
    ] {
        let ended = Run::start(options, &touch).wait();
        assert_eq!(ended.code, Some(125), "{options:?}: {ended:?}");
        assert!(ended.stderr.contains(says), "{options:?}: {ended:?}");
        assert!(!started.exists(), "{options:?}");
        assert_clean(sandbox);
    }
    let two = Run::start(&["--bind", "tcp 127.7.0.0/33", "--bind", "sctp 127.7.0.0/16"], &touch).wait();
    assert!(two.stderr.contains("127.7.0.0/33") && two.stderr.contains("sctp"), "both at once: {two:?}");
}

fn safety_catch(sandbox: &Sandbox) {
    let started = sandbox.scratch.join("started");
    let touch = ["touch".to_owned(), started.to_str().unwrap().to_owned()];
    let far = ["--bind", "tcp 192.0.2.0/24 80"];
    let ended = Run::start(&far, &touch).wait();
    assert_eq!(ended.code, Some(125), "{ended:?}");
    assert!(ended.stderr.contains("refused (not-local)"), "{ended:?}");
    assert!(ended.stderr.contains("ip route add local 192.0.2.0/24 dev lo"), "{ended:?}");
    assert!(!started.exists());
    assert_clean(sandbox);

    let allowed = [&far[..], &["--allow", "not-local"]].concat();
    let run = Run::steering(&allowed, &server("web", &["tcp 127.0.0.1:8080"]));
    assert!(run.heard.iter().any(|line| line.contains("allowed: 192.0.2.0/24 is not local")), "{:?}", run.heard);
    run.end();
}

fn another_user(sandbox: &Sandbox) {
    // The build may lie where only its owner can go.
    let readable = sandbox.scratch.join("server");
    sklookup_testbed::copy_program(std::env::current_exe().unwrap(), &readable);
    let mut command = server("web", &["tcp 127.0.0.1:8080"]);
    command[0] = readable.to_str().unwrap().to_owned();
    let mut run = Run::steering(&["--user", "nobody", "--bind", "tcp 127.7.0.0/16 80"], &command);
    assert_ne!(run.tell("uid"), "0");
    assert_eq!(tcp("127.7.0.1:80").unwrap(), "web");
    run.end();
    assert_clean(sandbox);
}

fn passed_listener(sandbox: &Sandbox) {
    let start = |options: &[&str]| {
        let listener = TcpListener::bind("127.0.0.1:8080").unwrap();
        let mut command = sklookup(&["run", "--timeout", "1", "--bind", "tcp 127.7.0.0/16 80"]);
        command.args(options).args(["--", "sleep", "1000"]).stdin(Stdio::from(OwnedFd::from(listener)));
        Run::spawn(&mut command)
    };
    let ended = start(&[]).wait();
    assert_eq!(ended.code, Some(125), "{ended:?}");
    assert!(ended.stderr.contains("tcp 127.0.0.1:8080"), "{ended:?}");
    assert!(ended.stderr.contains("--match"), "{ended:?}");

    let mut run = start(&["--match", "tcp 127.0.0.1:8080"]);
    run.hear("sklookup: steering ");
    run.signal(rustix::process::Signal::TERM);
    assert_eq!(run.wait().code, Some(143));
    assert_clean(sandbox);
}

fn another_namespace(sandbox: &Sandbox) {
    let other = sklookup_kernel::Netns::new_private().unwrap();
    let path = format!("/proc/{}/fd/{}", std::process::id(), other.as_fd().as_raw_fd());
    let run =
        Run::steering(&["--netns", &path, "--bind", "tcp 127.7.0.0/16 80"], &server("web", &["tcp 127.0.0.1:8080"]));
    assert!(tcp("127.7.0.1:80").is_err(), "nothing is steered here");
    assert_eq!(other.run(|| tcp("127.7.0.1:80").unwrap()).unwrap(), "web");
    run.end();
    assert_clean(sandbox);
}
