//! Network namespaces and the sandbox.

use std::fs::{self, File};
use std::net::TcpListener;
use std::process::Command;

use rustix::fs::{Mode, mkfifoat};
use sklookup_kernel::{Netns, NetnsError, interface};
use sklookup_testbed::{Trial, plain_trial, sandbox_trial};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        plain_trial("a_pid_names_the_namespace_of_its_process", || {
            let own = Netns::open(&std::process::id().to_string()).unwrap();
            assert_eq!(own.inode(), Netns::current().unwrap().inode());
            assert!(own.is_current());
            assert_eq!(own.describe(), std::process::id().to_string());
        }),
        plain_trial("a_path_names_a_namespace", || {
            assert!(Netns::open("/proc/self/ns/net").unwrap().is_current());
            assert!(matches!(Netns::open("/nowhere/net"), Err(NetnsError::NoFile { .. })));
        }),
        plain_trial("a_pid_that_is_gone_is_told_from_one_that_has_just_ended", || {
            let mut child = Command::new("true").spawn().unwrap();
            let pid = child.id().to_string();
            wait_for_zombie(&pid);
            let zombie = Netns::open(&pid).unwrap_err().to_string();
            assert_eq!(zombie, format!("network namespace of pid {pid}: the process has ended"));
            child.wait().unwrap();
            let gone = Netns::open(&pid).unwrap_err().to_string();
            assert_eq!(gone, format!("network namespace of pid {pid}: no such process"));
        }),
        plain_trial("what_is_no_network_namespace_is_refused", || {
            let mounts = Netns::open("/proc/self/ns/mnt").unwrap_err().to_string();
            assert_eq!(mounts, "/proc/self/ns/mnt is not a network namespace, but another kind of namespace");
            let file = Netns::open("/proc/self/stat").unwrap_err().to_string();
            assert_eq!(file, "/proc/self/stat is not a network namespace");
            for name in ["", ".", "..", "no-such-name"] {
                assert!(matches!(Netns::open(name), Err(NetnsError::NoName { .. })), "{name:?}");
            }
        }),
        plain_trial("running_in_the_current_namespace_stays_on_the_thread", || {
            let here = std::thread::current().id();
            let there = Netns::current().unwrap().run(|| std::thread::current().id()).unwrap();
            assert_eq!(here, there);
        }),
        sandbox_trial("an_interface_moved_to_another_namespace_is_gone_here", |_| {
            let (_, outer) = interface::add_veth("v0", "v1").unwrap();
            let other = Netns::new_private().unwrap();
            interface::move_to(outer, &other).unwrap();
            assert_eq!(interface::index_of("v1").unwrap(), None);
            assert!(other.run(|| interface::index_of("v1").unwrap()).unwrap().is_some());
        }),
        sandbox_trial("a_fifo_in_the_place_of_a_namespace_does_not_hang", |sandbox| {
            let path = sandbox.scratch.join("fifo");
            mkfifoat(rustix::fs::CWD, &path, Mode::RUSR | Mode::WUSR).unwrap();
            let error = Netns::open(path.to_str().unwrap()).unwrap_err();
            assert!(matches!(error, NetnsError::NotNetns { other: false, .. }), "{error}");
        }),
        sandbox_trial("a_name_is_looked_up_where_ip_netns_keeps_it", |sandbox| {
            let path = sandbox.scratch.join("netns");
            fs::create_dir(&path).unwrap();
            File::create(path.join("blue")).unwrap();
            let other = Netns::new_private().unwrap();
            let task = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&std::os::fd::AsFd::as_fd(&other)));
            rustix::mount::mount_bind(task, path.join("blue")).unwrap();
            assert_eq!(Netns::open("blue").unwrap().inode(), other.inode());
        }),
        sandbox_trial("a_namespace_is_entered_and_left", |sandbox| {
            let other = Netns::new_private().unwrap();
            assert_ne!(other.inode(), sandbox.netns.inode());
            let inside = other.run(|| Netns::current().unwrap().inode()).unwrap();
            assert_eq!(inside, other.inode());
            assert!(sandbox.netns.is_current(), "the thread that asked stays where it was");
        }),
        sandbox_trial("a_sandbox_has_loopback_of_its_own_for_both_families", |_| {
            let interfaces = interface::list().unwrap();
            assert_eq!(interfaces.len(), 1);
            assert!(interfaces[0].up && interfaces[0].index == interface::LOOPBACK, "{interfaces:?}");
            TcpListener::bind("127.0.0.1:80").unwrap();
            TcpListener::bind("[::1]:80").unwrap();
        }),
        sandbox_trial("what_a_sandbox_mounts_stays_inside", |sandbox| {
            let inside = fs::read_to_string("/proc/thread-self/mounts").unwrap();
            let outside = fs::read_to_string("/proc/self/mounts").unwrap();
            let wanted = format!(" {} bpf ", sandbox.bpffs.display());
            assert!(inside.contains(&wanted), "{inside}");
            assert_ne!(inside.matches(&wanted).count(), outside.matches(&wanted).count());
        }),
        sandbox_trial("a_process_started_inside_is_inside", |sandbox| {
            let output = Command::new("readlink").arg("/proc/self/ns/net").output().unwrap();
            let link = String::from_utf8(output.stdout).unwrap();
            assert_eq!(link.trim(), format!("net:[{}]", sandbox.netns.inode()));
        }),
    ]
}

/// Waits until a child has ended, without reaping it.
fn wait_for_zombie(pid: &str) {
    let pid = rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap();
    rustix::process::waitid(
        rustix::process::WaitId::Pid(pid),
        rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOWAIT,
    )
    .unwrap();
}
