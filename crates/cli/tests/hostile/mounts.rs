//! bpf file systems: mounted twice, read-only, of somebody else, full of names.

use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};

use rustix::mount::{MountFlags, mount, mount_bind, mount_remount};
use sklookup_kernel::bpffs;
use sklookup_testbed::leftovers::{attached, names};
use sklookup_testbed::{Sandbox, Trial, kernel_trial};

use crate::world::{assert_left, done, refused, sklookup, typed};

pub fn trials() -> Vec<Trial> {
    vec![
        kernel_trial("a_bpffs_seen_through_two_paths_is_one_state", one_state),
        kernel_trial("a_second_bpffs_is_a_second_state_and_status_names_the_program_of_the_other", two_states),
        kernel_trial("a_read_only_bpffs_is_read_and_changes_name_it", read_only),
        kernel_trial("a_bpffs_of_somebody_else_is_refused_by_every_command", anothers),
        kernel_trial("ten_thousand_names_of_others_are_neither_in_the_way_nor_removed", crowded),
    ]
}

/// Another place for a file system.
fn place(sandbox: &Sandbox, name: &str) -> String {
    let place = sandbox.scratch.join(name);
    std::fs::create_dir(&place).unwrap();
    place.to_str().unwrap().to_owned()
}

fn one_state(sandbox: &Sandbox) {
    let again = place(sandbox, "again");
    mount_bind(&sandbox.bpffs, again.as_str()).unwrap();
    done("bind web tcp 127.7.0.0/16 80");
    done(&format!("--bpffs {again} bind web tcp 127.7.0.0/16 443"));
    assert_eq!(done("export").stdout, done(&format!("--bpffs {again} export")).stdout);
    assert_eq!(done("list").stdout.lines().count(), 2);
    assert_eq!(attached(sandbox).len(), 1);
    // Who waits for a lock waits for it whichever way it is reached.
    let lock = std::fs::File::open(sandbox.bpffs.join("sklookup").join(sandbox.netns.inode().to_string())).unwrap();
    lock.lock().unwrap();
    refused(&format!("--bpffs {again} bind web tcp 127.7.0.0/16 444"), &format!("by process {}", std::process::id()));
    drop(lock);
    done(&format!("--bpffs {again} unload"));
    assert_left(sandbox, &[]);
}

fn two_states(sandbox: &Sandbox) {
    let second = place(sandbox, "second");
    mount("bpf", second.as_str(), "bpf", MountFlags::empty(), Some(c"mode=0711")).unwrap();
    done("bind pass tcp 127.7.0.0/16 80");
    done(&format!("--bpffs {second} bind pass tcp 127.8.0.0/16 80"));
    let programs = attached(sandbox);
    assert_eq!(programs.len(), 2);
    for (at, ours, other) in [("/sys/fs/bpf", programs[0], programs[1]), (&second, programs[1], programs[0])] {
        let status = done(&format!("--bpffs {at} status")).stdout;
        assert!(status.contains(&format!("  {ours}  this policy: ")), "{status}");
        assert!(status.contains(&format!("  {other}  not of this policy: ")), "{status}");
        assert_eq!(done(&format!("--bpffs {at} list")).stdout.lines().count(), 1);
    }
    // Each takes away its own.
    done("unload");
    assert_eq!(attached(sandbox), programs[1..]);
    done(&format!("--bpffs {second} unload"));
    assert_left(sandbox, &[]);
}

fn read_only(sandbox: &Sandbox) {
    done("bind web tcp 127.7.0.0/16 80");
    let exported = done("export").stdout;
    let before = (names(&sandbox.bpffs), attached(sandbox));
    let remount = |flags| mount_remount(&sandbox.bpffs, flags, c"").unwrap();
    let refused = |lines: &[&str]| {
        for line in lines {
            let ran = typed(line);
            let named =
                ["/sys/fs/bpf/sklookup/", "EROFS", "mount -o remount,rw"].iter().all(|fact| ran.stderr.contains(fact));
            assert!(ran.exit == 2 && ran.stdout.is_empty() && named, "{line}: {ran:?}");
            assert_eq!((names(&sandbox.bpffs), attached(sandbox)), before, "{line}");
        }
    };
    let changes = ["bind web tcp 127.7.0.0/16 443", "unload", "upgrade"];
    // The mount alone: what is there can be read.
    remount(MountFlags::BIND | MountFlags::RDONLY);
    refused(&changes);
    let run = sklookup(&["run", "--bind", "tcp 127.9.0.0/16 80", "--", "true"]);
    assert!(run.exit == 125 && run.stderr.contains("EROFS"), "{run:?}");
    assert_eq!(done("export").stdout, exported);
    assert!(typed("status").stdout.contains("web tcp 127.7.0.0/16 80"));
    // The file system itself: the kernel opens no link of it.
    remount(MountFlags::RDONLY);
    refused(&[&changes[..], &["status", "list", "export"]].concat());
    remount(MountFlags::empty());
    done("bind web tcp 127.7.0.0/16 443");
    done("unload");
    assert_left(sandbox, &[]);
}

fn anothers(sandbox: &Sandbox) {
    chown(&sandbox.bpffs, Some(1000), None).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let register = format!("register web --pid {}", std::process::id());
    for line in ["bind web tcp 127.7.0.0/16 80", "status", "list", "export", "unload", &register, "upgrade"] {
        refused(line, "/sys/fs/bpf: a bpffs owned by user 1000");
    }
    drop(listener);
    assert!(typed("doctor").stdout.contains("owner 1000"));
    chown(&sandbox.bpffs, Some(0), None).unwrap();
    assert_left(sandbox, &[]);
}

fn crowded(sandbox: &Sandbox) {
    const NAMES: usize = 10_000;
    // As mounted without options: anybody may.
    std::fs::set_permissions(&sandbox.bpffs, PermissionsExt::from_mode(0o1777)).unwrap();
    let ours = sandbox.bpffs.join("sklookup");
    bpffs::create_dir(&ours, 0o711).unwrap();
    for n in 0..NAMES / 2 {
        std::fs::create_dir(sandbox.bpffs.join(format!("gen-{n}"))).unwrap();
        std::fs::create_dir(ours.join(format!("theirs-{n}"))).unwrap();
    }
    done("bind web tcp 127.7.0.0/16 80");
    done("bind web tcp 127.7.0.0/16 443");
    assert_eq!(done("list").stdout.lines().count(), 2);
    assert!(typed("status").stdout.contains("2 bindings"));
    done("unload");
    let left = names(&sandbox.bpffs);
    assert_eq!(left.len(), NAMES + 1);
    assert_left(sandbox, &left.iter().map(String::as_str).collect::<Vec<_>>());
}
