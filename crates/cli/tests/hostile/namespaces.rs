//! Namespaces that die and come back with the same number.

use std::collections::VecDeque;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::time::{Duration, Instant};

use sklookup_kernel::{Link, Netns};
use sklookup_testbed::{Sandbox, Trial, kernel_trial};

use crate::world::{assert_left, done};

pub fn trials() -> Vec<Trial> {
    vec![
        kernel_trial("a_namespace_with_the_number_of_a_dead_one_starts_empty", again),
        kernel_trial("what_dead_namespaces_left_is_swept_by_any_change", swept),
    ]
}

const LONG: Duration = Duration::from_secs(60);

/// The file of a namespace, for a process that does not have it open.
fn path(netns: &Netns) -> String {
    format!("/proc/{}/fd/{}", std::process::id(), netns.as_fd().as_raw_fd())
}

fn state(sandbox: &Sandbox, inode: u64) -> std::path::PathBuf {
    sandbox.bpffs.join("sklookup").join(inode.to_string())
}

/// The kernel takes a namespace away a moment after its last user.
fn until_dead(link: &Path) {
    let deadline = Instant::now() + LONG;
    while Link::open(link).unwrap().info().unwrap().netns_inode != 0 {
        assert!(Instant::now() < deadline, "the namespace never died");
        std::thread::yield_now();
    }
}

/// A new namespace of this number: the kernel gives the lowest that is free, and others take some too.
fn of_number(inode: u64) -> Netns {
    const HELD: usize = 64;
    let deadline = Instant::now() + LONG;
    let mut others = VecDeque::new();
    loop {
        let netns = Netns::new_private().unwrap();
        if netns.inode() == inode {
            return netns;
        }
        assert!(Instant::now() < deadline, "the number never came again");
        others.push_back(netns);
        if others.len() > HELD {
            others.pop_front();
        }
    }
}

fn again(sandbox: &Sandbox) {
    let dead = Netns::new_private().unwrap();
    let inode = dead.inode();
    done(&format!("--netns {} bind web tcp 127.7.0.0/16 80", path(&dead)));
    drop(dead);
    until_dead(&state(sandbox, inode).join("link"));

    let next = of_number(inode);
    assert!(state(sandbox, inode).join("link").exists(), "what is left is found under the same number");
    let netns = path(&next);
    assert!(done(&format!("--netns {netns} status")).stdout.contains("nothing is steered here"));
    assert_eq!(done(&format!("--netns {netns} export")).stdout, "bindings = [\n]\n");
    assert_eq!(done(&format!("--netns {netns} unload")).stdout, "nothing is steered here\n");

    done(&format!("--netns {netns} bind other tcp 127.8.0.0/16 80"));
    assert_eq!(Link::query(next.as_fd()).unwrap().len(), 1);
    assert_eq!(done(&format!("--netns {netns} export")).stdout, "bindings = [\n  \"other tcp 127.8.0.0/16 80\",\n]\n");
    done(&format!("--netns {netns} unload"));
    assert_left(sandbox, &[]);
}

fn swept(sandbox: &Sandbox) {
    let dead: Vec<Netns> = (0..3).map(|_| Netns::new_private().unwrap()).collect();
    let inodes: Vec<u64> = dead.iter().map(Netns::inode).collect();
    for netns in &dead {
        done(&format!("--netns {} bind web tcp 127.7.0.0/16 80", path(netns)));
    }
    drop(dead);
    for inode in inodes {
        until_dead(&state(sandbox, inode).join("link"));
    }
    done("bind web tcp 127.7.0.0/16 80");
    done("unload");
    assert_left(sandbox, &[]);
}
