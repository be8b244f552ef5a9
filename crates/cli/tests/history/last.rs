//! `apply --last`: what was in effect is in effect again.

use std::net::{TcpListener, TcpStream};
use std::process::Stdio;

use sklookup_testbed::{Fault, Sandbox, Trace, Trial, fault, kernel_trial};

use crate::command::{Ran, command, document, sklookup};
use crate::services::{Server, reached};
use crate::world::{PAGE, applied, bind, done, fate, kept, name, page, policy, reboot};

pub fn trials() -> Vec<Trial> {
    vec![
        kernel_trial("after_a_reboot_traffic_is_steered_again_once_a_server_registers", rebooted),
        kernel_trial("where_nothing_was_applied_there_is_nothing_to_bring_back", nothing),
        kernel_trial("where_something_is_applied_the_catches_are_what_they_always_are", beside),
        kernel_trial("a_policy_that_comes_while_the_last_one_is_brought_back_is_guarded_as_ever", overtaken),
        kernel_trial("where_nothing_is_applied_all_catches_but_ssh_only_warn", catches),
        kernel_trial("an_interface_that_is_not_there_yet_is_named_with_the_line", no_interface),
        kernel_trial("a_dry_run_of_the_last_policy_changes_nothing", dry_run),
        kernel_trial("a_file_and_the_last_policy_are_one_too_many", both),
    ]
}

fn rebooted(sandbox: &Sandbox) {
    name(&sandbox.netns);
    let file = policy(sandbox, &["web tcp 127.7.0.0/16 80,8000-8999", "web tcp 127.8.0.0/16 80 dev lo"]);
    done(&["--netns", "blue", "apply", &file]);
    let before = applied();
    let written = page();

    let fresh = reboot(sandbox);
    fresh
        .run(|| {
            // Between boot and `apply --last` nothing is steered, and that is missed.
            let status = sklookup(&["status"]);
            assert_eq!(status.stdout.lines().nth(1), Some("steering    nothing is steered here"));
            assert!(status.exit == 1 && status.stderr.contains("`sklookup apply --last` brings it back"), "{status:?}");
            let server = Server::open("web", "tcp 127.0.0.1:0");
            assert_eq!(reached(&[&server], "tcp 127.0.0.1 > 127.7.1.2:80"), "refused");
            done(&["apply", "--last"]);
            assert_eq!(applied(), before);
            let ran = done(&["list"]);
            assert!(ran.stdout.contains(&format!("# {PAGE}:13")), "each binding says where it is kept: {ran:?}");
            server.register();
            for packet in
                ["tcp 127.0.0.1 > 127.7.1.2:80", "tcp 127.0.0.1 > 127.7.0.1:8500", "tcp 127.0.0.1 > 127.8.0.1:80"]
            {
                assert_eq!(reached(&[&server], packet), "web");
            }
            // And again: there is nothing to be done, and nothing to be written.
            assert_eq!(done(&["apply", "--last"]).stdout, "nothing to change; 3 bindings applied\n");
            assert_eq!(page(), written);
        })
        .unwrap();
}

fn nothing(sandbox: &Sandbox) {
    name(&sandbox.netns);
    let ran = sklookup(&["apply", "--last"]);
    assert_eq!((ran.exit, ran.stdout.as_str()), (1, ""), "{ran:?}");
    assert!(ran.stderr.contains(PAGE) && ran.stderr.contains("`sklookup apply FILE` applies a policy"), "{ran:?}");
    assert_eq!(document(&["apply", "--last"]).1["ok"], false);
    assert!(!std::path::Path::new("/var/lib/sklookup").exists());
}

/// What is on disk is history: a policy that could not be kept is not lost to one that was.
fn beside(sandbox: &Sandbox) {
    name(&sandbox.netns);
    bind("web tcp 127.7.0.0/16 80");
    let old = page();
    done(&["apply", &policy(sandbox, &["a tcp 127.7.0.0/16 81", "b tcp 127.7.0.0/16 82"]), "--allow", "shrink"]);
    std::fs::write(PAGE, old).unwrap();
    let ran = sklookup(&["apply", "--last"]);
    assert!(ran.exit == 1 && ran.stderr.contains("refused (shrink): 2 of 2 applied bindings would go"), "{ran:?}");
    assert_eq!(applied().lines().count(), 4);
    done(&["apply", "--last", "--allow", "shrink"]);
    assert_eq!((applied().lines().count(), fate().as_str()), (3, "applied"));
}

fn overtaken(sandbox: &Sandbox) {
    name(&sandbox.netns);
    bind("web tcp 127.7.0.0/16 80");
    let last = page();
    let fresh = reboot(sandbox);
    fresh
        .run(|| {
            // Rehearsed: at its first map it has seen that nothing is applied.
            let trace = Trace::new(sandbox.scratch.join("trace"));
            assert!(trace.of(&mut command(&["apply", "--last"])).output().unwrap().status.success());
            let maps = trace.calls().into_iter().find(|call| call.call == "BPF_MAP_CREATE").unwrap();
            done(&["unload"]);
            std::fs::write(PAGE, &last).unwrap();

            let mut slow = command(&["apply", "--last"]);
            let slow = Fault::Stop(maps.number).in_command(&mut slow).stderr(Stdio::piped()).spawn().unwrap();
            assert!(fault::stops(&slow));
            done(&["apply", &policy(sandbox, &["a tcp 127.7.0.0/16 81", "b tcp 127.7.0.0/16 82"])]);
            fault::go_on(&slow);
            let ran = Ran::from(slow.wait_with_output().unwrap());
            assert!(ran.exit == 1 && ran.stderr.contains("refused (shrink): 2 of 2 applied"), "{ran:?}");
            assert_eq!((applied(), kept().lines().count()), (kept(), 4));
        })
        .unwrap();
}

fn catches(sandbox: &Sandbox) {
    name(&sandbox.netns);
    let file = policy(sandbox, &["web tcp 192.0.2.0/24 80", "web tcp 127.7.0.0/16 8080", "refuse udp 127.0.0.1"]);
    done(&["apply", &file, "--allow", "not-local,takeover,ephemeral"]);
    let fresh = reboot(sandbox);
    fresh
        .run(|| {
            let _listener = TcpListener::bind("127.7.0.1:8080").unwrap();
            let connection = TcpStream::connect("127.7.0.1:8080").unwrap();
            let variable = format!("127.0.0.1 {} 127.7.0.1 8080", connection.local_addr().unwrap().port());
            let ssh = || {
                let mut last = command(&["apply", "--last"]);
                last.env("SSH_CONNECTION", &variable);
                last
            };
            let ran = Ran::from(ssh().output().unwrap());
            assert!(ran.exit == 1 && ran.stderr.contains("refused (ssh)"), "{ran:?}");
            assert!(!ran.stderr.contains("refused (not-local)"), "{ran:?}");
            let ran = Ran::from(ssh().args(["--allow", "ssh"]).output().unwrap());
            assert_eq!(ran.exit, 0, "{ran:?}");
            for warned in ["allowed: 192.0.2.0/24 is not local", "which listens on tcp 127.7.0.1:8080", "covers ports"]
            {
                assert!(ran.stderr.contains(warned), "{warned}: {ran:?}");
            }
        })
        .unwrap();
}

fn no_interface(sandbox: &Sandbox) {
    name(&sandbox.netns);
    bind("web tcp 127.7.0.0/16 80");
    let text = page().replace("127.7.0.0/16 80", "127.7.0.0/16 80 dev eth7");
    done(&["unload"]);
    std::fs::write(PAGE, text).unwrap();
    let ran = sklookup(&["apply", "--last"]);
    assert!(ran.exit == 2 && ran.stderr.contains(&format!("{PAGE}:13: interface eth7: there is none")), "{ran:?}");
    assert_eq!(fate(), "applied", "it is there to be tried again");
}

fn dry_run(sandbox: &Sandbox) {
    name(&sandbox.netns);
    bind("web tcp 127.7.0.0/16 80");
    let (before, policy) = (page(), kept());
    let fresh = reboot(sandbox);
    fresh
        .run(|| {
            let ran = done(&["apply", "--last", "--dry-run"]);
            assert!(
                ran.stdout.ends_with("1 added, 0 removed, 0 changed; nothing was changed (--dry-run)\n"),
                "{ran:?}"
            );
            assert_eq!(applied(), "bindings = [\n]\n");
            assert_eq!((page(), kept()), (before, policy));
        })
        .unwrap();
}

fn both(sandbox: &Sandbox) {
    let file = policy(sandbox, &["web tcp 127.7.0.0/16 80"]);
    for wrong in [&["apply", "--last", &file][..], &["apply"]] {
        assert_eq!(sklookup(wrong).exit, 2, "{wrong:?}");
    }
}
