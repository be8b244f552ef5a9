//! The state: whose it is, and who may keep others waiting.

use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use sklookup_kernel::{Link, Netns, bpffs};
use sklookup_testbed::{Sandbox, Trial, kernel_trial};

use crate::command::sklookup;
use crate::world::{done, state_directory, typed};

pub fn trials() -> Vec<Trial> {
    vec![
        kernel_trial("d3_the_state_of_a_dead_namespace_is_not_that_of_the_next_with_its_number", inode_again),
        kernel_trial("d8_nobody_waits_for_a_lock_without_end", locked),
    ]
}

/// tubular finds its state by the number of the namespace alone, and numbers are given again: it says "already loaded"
/// and takes bindings, while nothing is attached.
fn inode_again(sandbox: &Sandbox) {
    let dead = Netns::new_private().unwrap();
    // The file of the namespace, for a process that does not have it open.
    let path = |netns: &Netns| format!("/proc/{}/fd/{}", std::process::id(), netns.as_fd().as_raw_fd());
    done(&format!("--netns {} bind web tcp 127.7.0.0/16 80", path(&dead)));
    let (state, inode) = (state_directory(sandbox, dead.inode()), dead.inode());
    drop(dead);
    wait_until_dead(&state.join("link"), inode);

    // The kernel gives the number again when it likes; the state that is then found is the same.
    let next = Netns::new_private().unwrap();
    bpffs::rename(&state, &state_directory(sandbox, next.inode())).unwrap();
    let status = sklookup(&["--netns", &path(&next), "status"]);
    assert!(status.stdout.contains("nothing is steered here"), "{status:?}");
    assert_eq!(Link::query(next.as_fd()).unwrap(), Vec::<u32>::new());

    done(&format!("--netns {} bind other tcp 127.8.0.0/16 80", path(&next)));
    assert_eq!(Link::query(next.as_fd()).unwrap().len(), 1);
    let exported = done(&format!("--netns {} export", path(&next))).stdout;
    assert!(exported.contains("other tcp") && !exported.contains("web tcp"), "{exported}");
}

/// The kernel takes namespaces away a moment after their last user.
fn wait_until_dead(link: &Path, inode: u64) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while Link::open(link).unwrap().info().unwrap().is_alive_on(inode) {
        assert!(Instant::now() < deadline, "the namespace never died");
        std::thread::yield_now();
    }
}

/// tubular takes its lock without a time limit, and readers take it too: who may read the directory can stop every change
/// for ever. Here only its owner can open the directory, readers take no lock, and writers name who they waited for.
fn locked(sandbox: &Sandbox) {
    done("bind web tcp 127.7.0.0/16 80");
    let directory = state_directory(sandbox, sandbox.netns.inode());
    assert_eq!(std::fs::metadata(&directory).unwrap().permissions().mode() & 0o7777, 0o711);
    let lock = std::fs::File::open(&directory).unwrap();
    lock.lock().unwrap();
    done("export");
    let started = Instant::now();
    let ran = typed("bind web tcp 127.7.0.0/16 81");
    assert_eq!(ran.exit, 2, "{ran:?}");
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
    let holder = format!("by process {}", std::process::id());
    assert!(ran.stderr.contains("locked for more than") && ran.stderr.contains(&holder), "{ran:?}");
    drop(lock);
    done("bind web tcp 127.7.0.0/16 81");
}
