//! Sockets of other processes: found wherever they are, and let go when they close.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::process::Command;

use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sklookup_kernel::process::{Process, ProcessError};
use sklookup_testbed::{Sandbox, Trial, kernel_trial};

use crate::command::{document, one_document, sklookup};
use crate::services::{REFUSED, Server, reached};
use crate::world::{done, exported, label_pins, labels, state_directory, typed};

pub fn trials() -> Vec<Trial> {
    vec![
        kernel_trial("d6_a_listener_at_fd_5000_is_found", far_fd),
        kernel_trial("d7_when_one_member_of_a_group_closes_the_next_serves", group),
        kernel_trial("d9_to_unregister_a_socket_that_has_closed_is_done", closed),
        kernel_trial("d10_labels_whose_sockets_closed_leave_nothing_behind", churn),
        kernel_trial("d11_every_change_works_on_this_kernel", changes),
        kernel_trial("d12_a_pid_that_is_gone_is_never_another_process", gone),
    ]
}

/// tubular stops to look for sockets after 32 unused fd numbers.
fn far_fd(_: &Sandbox) {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    let near = TcpListener::bind("127.0.0.1:0").unwrap();
    let far = rustix::io::fcntl_dupfd_cloexec(&near, 5000).unwrap();
    drop(near);
    let server = Server::of("web", far.into());
    done("bind web tcp 127.7.0.0/16 80");
    let (exit, registered) =
        document(&["register", "web", "--pid", &std::process::id().to_string(), "--match", &server.described()]);
    assert_eq!((exit, registered["sockets"][0]["fd"].as_u64()), (0, Some(5000)), "{registered}");
    assert_eq!(reached(&[&server], "tcp 127.0.0.1 > 127.7.0.1:80"), "web");
}

/// tubular registers one socket of a reuseport group: when that one closes, everything is refused, though others listen.
fn group(_: &Sandbox) {
    let first = in_group("127.0.0.1:0".parse().unwrap());
    let address = first.local_addr().unwrap();
    let second = in_group(address);
    done("bind web tcp 127.7.0.0/16 80");
    let (first, second) = (Server::of("web", first), Server::of("web", second));
    first.register();
    assert_eq!(reached(&[&first, &second], "tcp 127.0.0.1 > 127.7.0.1:80"), "web");
    drop(first);
    for _ in 0..20 {
        assert_eq!(reached(&[&second], "tcp 127.0.0.1 > 127.7.0.1:80"), "web");
    }
    drop(second);
    assert_eq!(reached(&[], "tcp 127.0.0.1 > 127.7.0.1:80"), REFUSED);
}

fn in_group(address: SocketAddr) -> TcpListener {
    let socket: OwnedFd =
        rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
    sockopt::set_socket_reuseport(&socket, true).unwrap();
    rustix::net::bind(&socket, &address).unwrap();
    rustix::net::listen(&socket, 16).unwrap();
    socket.into()
}

/// tubular answers "invalid argument", exit 1.
fn closed(_: &Sandbox) {
    done("bind web tcp 127.7.0.0/16 80");
    drop(Server::registered("web", "tcp 127.0.0.1:0"));
    let ran = done("unregister web");
    assert_eq!(ran.stderr, "", "{ran:?}");
    assert_eq!(typed("unregister nobody").exit, 1);
}

/// tubular keeps the record of a label for ever once its socket has closed, and has room for 1024.
fn churn(sandbox: &Sandbox) {
    done("bind web tcp 127.7.0.0/16 80");
    for n in 0..30 {
        drop(Server::registered(&format!("churn-{n}"), "tcp 127.0.0.1:0"));
    }
    done("bind web tcp 127.7.0.0/16 81");
    assert_eq!(labels(), ["web"]);
    assert_eq!(label_pins(&state_directory(sandbox, sandbox.netns.inode())), 1);
}

/// tubular compares program tags before each change, and computes them as kernels before 6.18 did: on newer ones every
/// change is refused. Nothing here depends on a tag; this runs on whatever kernel there is.
fn changes(sandbox: &Sandbox) {
    done("bind web tcp 127.7.0.0/16 80");
    let server = Server::registered("web", "tcp 127.0.0.1:0");
    assert_eq!(reached(&[&server], "tcp 127.0.0.1 > 127.7.0.1:80"), "web");
    done("bind web tcp 127.7.0.0/16 81");
    assert_eq!(reached(&[&server], "tcp 127.0.0.1 > 127.7.0.1:81"), "web");
    done("unbind web tcp 127.7.0.0/16 80");
    assert_eq!(reached(&[&server], "tcp 127.0.0.1 > 127.7.0.1:80"), REFUSED);
    done("unregister web");
    assert_eq!(reached(&[&server], "tcp 127.0.0.1 > 127.7.0.1:81"), REFUSED);
    let file = sandbox.scratch.join("export.toml");
    std::fs::write(&file, exported()).unwrap();
    let again = done(&format!("apply {}", file.display()));
    assert!(again.stdout.contains("nothing to change"), "{again:?}");
    done("unload");
    assert!(!state_directory(sandbox, sandbox.netns.inode()).exists());
}

/// tubular looks at a pid and opens it afterwards: in between it may have become another process's.
fn gone(_: &Sandbox) {
    done("bind web tcp 127.7.0.0/16 80");
    let mut child = Command::new("sleep").arg("600").spawn().unwrap();
    let pid = child.id();
    let held = Process::open(pid).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    // Whoever has the pid now: what was opened before never speaks of him.
    assert!(matches!(held.sockets(), Err(ProcessError::Gone { .. })), "{:?}", held.sockets());
    assert!(matches!(held.take_fd(0), Err(ProcessError::Gone { .. })));
    let ran = sklookup(&["--json", "register", "web", "--pid", &pid.to_string()]);
    assert_eq!(ran.exit, 2, "{ran:?}");
    let message = one_document(&ran)["errors"][0]["message"].as_str().unwrap().to_owned();
    assert!(message.contains(&format!("pid {pid}: no such process")), "{message}");
}
