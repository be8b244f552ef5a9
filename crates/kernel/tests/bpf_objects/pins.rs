//! The bpf file system: pins, directories, locks.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use sklookup_bpf::{MapSpec, MapType};
use sklookup_kernel::bpffs::{self, Kind};
use sklookup_kernel::{Errno, Link, Map, Program, Sockmap, caps};
use sklookup_testbed::{Sandbox, Trial, kernel_trial};

use crate::samples::returning;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        kernel_trial("pins::a_path_is_pinned_once", pinned_once),
        kernel_trial("pins::a_pin_goes_nowhere_but_into_a_bpf_file_system", nowhere_else),
        kernel_trial("pins::a_pin_opens_as_what_it_holds_only", kinds),
        kernel_trial("pins::a_map_opened_for_reading_cannot_be_written", read_only),
        kernel_trial("pins::a_second_path_of_a_pin_is_the_same_pin", second_path),
        kernel_trial("pins::a_directory_has_exactly_the_mode_asked_for", modes),
        kernel_trial("pins::a_lock_has_one_holder_who_can_be_named", locks),
        kernel_trial("pins::a_removed_directory_is_told_by_its_links", removed_directory),
        kernel_trial("pins::a_symlink_is_replaced_by_rename", symlinks),
        kernel_trial("pins::a_bpf_file_system_mounted_by_us_can_be_passed_through", mounted),
        kernel_trial("pins::every_escaped_label_is_a_name_that_the_file_system_takes", escaped_names),
        kernel_trial("pins::a_pin_opens_without_any_capability", without_capabilities),
    ]
}

/// Since Linux 5.19; this kernel is one of those that tests run on.
fn without_capabilities(sandbox: &Sandbox) {
    assert!(caps::pins_open_without_any(&sandbox.bpffs));
    assert!(
        !caps::Caps::effective().unwrap().missing(&[caps::Cap::Bpf]).contains(&caps::Cap::Bpf),
        "asking costs nothing"
    );
}

fn array() -> Map {
    Map::create(&MapSpec::new("map", MapType::Array, 4, 8, 1)).unwrap()
}

/// An empty directory: the kernel puts files of its own into the root of a bpf file system.
fn own_directory(sandbox: &Sandbox) -> PathBuf {
    let path = sandbox.bpffs.join("own");
    bpffs::create_dir(&path, 0o711).unwrap();
    path
}

fn pinned_once(sandbox: &Sandbox) {
    let path = sandbox.bpffs.join("map");
    let map = array();
    map.pin(&path).unwrap();
    assert_eq!(map.pin(&path).unwrap_err().errno(), Errno::EXIST);
    assert_eq!(array().pin(&path).unwrap_err().to_string(), "pin /sys/fs/bpf/map: file exists (EEXIST)");
    assert_eq!(Map::open(&path).unwrap().id(), map.id());
    assert_eq!(bpffs::status(&path).unwrap().mode, 0o600);
    assert_eq!(Map::open(&sandbox.bpffs.join("none")).unwrap_err().errno(), Errno::NOENT);
}

fn nowhere_else(sandbox: &Sandbox) {
    assert!(bpffs::is_bpffs(&sandbox.bpffs).unwrap());
    assert!(!bpffs::is_bpffs(&sandbox.scratch).unwrap());
    let map = array();
    assert_eq!(map.pin(&sandbox.scratch.join("map")).unwrap_err().errno(), Errno::PERM);
    assert_eq!(map.pin(&sandbox.bpffs.join("a.b")).unwrap_err().errno(), Errno::PERM, "a dot");
    assert_eq!(map.pin(Path::new("/sys/fs/bpf/a\0b")).unwrap_err().errno(), Errno::INVAL);
}

fn kinds(sandbox: &Sandbox) {
    let [map, program, link] = ["map", "program", "link"].map(|name| sandbox.bpffs.join(name));
    array().pin(&map).unwrap();
    let loaded = returning(1);
    loaded.pin(&program).unwrap();
    Link::attach(&loaded, sandbox.netns.as_fd()).unwrap().pin(&link).unwrap();

    assert_eq!(Program::open(&program).unwrap().id(), loaded.id());
    assert_eq!(Program::open_read_only(&program).unwrap().id(), loaded.id());
    assert_eq!(Link::open(&link).unwrap().info().unwrap().program_id, loaded.id());
    for wrong in [&program, &link] {
        assert_eq!(Map::open(wrong).unwrap_err().errno(), Errno::INVAL);
    }
    for wrong in [&map, &link] {
        assert_eq!(Program::open(wrong).unwrap_err().errno(), Errno::INVAL);
    }
    for wrong in [&map, &program] {
        assert_eq!(Link::open(wrong).unwrap_err().errno(), Errno::INVAL);
    }
    assert_eq!(
        Link::open(&map).unwrap_err().to_string(),
        "open pin /sys/fs/bpf/map, which is not a link: invalid argument (EINVAL)"
    );
}

fn read_only(sandbox: &Sandbox) {
    let path = sandbox.bpffs.join("map");
    let map = array();
    map.set_value(&[7; 8]).unwrap();
    map.pin(&path).unwrap();
    let reader = Map::open_read_only(&path).unwrap();
    assert_eq!(reader.value().unwrap(), [7; 8]);
    assert_eq!(reader.set_value(&[8; 8]).unwrap_err().errno(), Errno::PERM);

    let path = sandbox.bpffs.join("sockmap");
    Sockmap::create("web", 1).unwrap().map().pin(&path).unwrap();
    assert_eq!(Sockmap::open_read_only(&path).unwrap().cookie(0).unwrap(), None);
    assert_eq!(Sockmap::open(&path).unwrap().slots(), 1);
}

fn second_path(sandbox: &Sandbox) {
    let [first, second] = ["first", "second"].map(|name| sandbox.bpffs.join(name));
    let map = array();
    map.pin(&first).unwrap();
    bpffs::set_mode(&first, 0o640).unwrap();
    bpffs::set_owner(&first, None, Some(12)).unwrap();
    bpffs::link(&first, &second).unwrap();
    assert_eq!(bpffs::link(&first, &second).unwrap_err().errno(), Errno::EXIST);
    assert_eq!(bpffs::status(&first).unwrap(), bpffs::status(&second).unwrap());
    bpffs::unlink(&first).unwrap();
    let status = bpffs::status(&second).unwrap();
    assert_eq!((status.kind, status.mode, status.gid), (Kind::File, 0o640, 12));
    assert_eq!(Map::open(&second).unwrap().id(), map.id());
}

fn modes(sandbox: &Sandbox) {
    // A sandbox is a thread with a umask of its own.
    rustix::process::umask(Mode::from_raw_mode(0o077));
    let path = sandbox.bpffs.join("state");
    bpffs::create_dir(&path, 0o711).unwrap();
    let status = bpffs::status(&path).unwrap();
    assert_eq!((status.kind, status.mode), (Kind::Directory, 0o711));
    assert_eq!(bpffs::create_dir(&path, 0o711).unwrap_err().errno(), Errno::EXIST);
}

fn locks(sandbox: &Sandbox) {
    let path = sandbox.bpffs.join("state");
    bpffs::create_dir(&path, 0o711).unwrap();
    let first = bpffs::open_dir(&path).unwrap();
    let second = bpffs::open_dir(&path).unwrap();
    assert_eq!(bpffs::lock_holder(second.as_fd()).unwrap(), None);
    assert!(bpffs::try_lock(first.as_fd()).unwrap());
    assert!(!bpffs::try_lock(second.as_fd()).unwrap());
    assert_eq!(bpffs::lock_holder(second.as_fd()).unwrap(), Some(std::process::id()));
    drop(first);
    assert!(bpffs::try_lock(second.as_fd()).unwrap());
}

fn removed_directory(sandbox: &Sandbox) {
    let path = sandbox.bpffs.join("gen-1");
    bpffs::create_dir(&path, 0o711).unwrap();
    let directory = bpffs::open_dir(&path).unwrap();
    assert!(bpffs::nlink(directory.as_fd()).unwrap() > 0);
    array().pin(&path.join("map")).unwrap();
    assert_eq!(bpffs::rmdir(&path).unwrap_err().errno(), Errno::NOTEMPTY);
    assert_eq!(bpffs::list(directory.as_fd()).unwrap(), ["map"]);
    bpffs::unlink(&path.join("map")).unwrap();
    bpffs::rmdir(&path).unwrap();
    assert_eq!(bpffs::nlink(directory.as_fd()).unwrap(), 0);
    assert!(bpffs::try_lock(directory.as_fd()).unwrap(), "which is why the links must be asked for");
    assert_eq!(array().pin(&path.join("map")).unwrap_err().errno(), Errno::NOENT);
    assert_eq!(bpffs::open_dir(&path).unwrap_err().errno(), Errno::NOENT);
}

fn symlinks(sandbox: &Sandbox) {
    let state = own_directory(sandbox);
    let [current, next] = ["current", "next"].map(|name| state.join(name));
    for generation in ["gen-1", "gen-2"] {
        let path = state.join(generation);
        bpffs::create_dir(&path, 0o711).unwrap();
        array().pin(&path.join(generation)).unwrap();
        bpffs::symlink(Path::new(generation), &next).unwrap();
        bpffs::rename(&next, &current).unwrap();
        assert_eq!(bpffs::read_link(&current).unwrap(), Path::new(generation));
        Map::open(&current.join(generation)).unwrap();
    }
    assert_eq!(bpffs::status(&current).unwrap().kind, Kind::Symlink);
    assert_eq!(bpffs::open_dir(&current).unwrap_err().errno(), Errno::NOTDIR, "a lock is not taken through a symlink");
    let state = bpffs::open_dir(&state).unwrap();
    assert_eq!(bpffs::list(state.as_fd()).unwrap(), ["current", "gen-1", "gen-2"]);
}

fn mounted(sandbox: &Sandbox) {
    let path = sandbox.scratch.join("bpf");
    std::fs::create_dir(&path).unwrap();
    bpffs::mount(&path).unwrap();
    assert!(bpffs::is_bpffs(&path).unwrap());
    assert_eq!(bpffs::status(&path).unwrap().mode & 0o777, 0o711);
}

fn escaped_names(sandbox: &Sandbox) {
    let directory = own_directory(sandbox);
    let mut labels = vec!["a.b/c".to_owned(), "x".repeat(255), "@".repeat(85), "-".to_owned(), "_=".to_owned()];
    labels.sort_by_key(|label| bpffs::escape(label));
    for label in &labels {
        bpffs::create_dir(&directory.join(bpffs::escape(label).unwrap()), 0o711).unwrap();
    }
    let directory = bpffs::open_dir(&directory).unwrap();
    let read: Vec<String> =
        bpffs::list(directory.as_fd()).unwrap().iter().map(|n| bpffs::unescape(n).unwrap()).collect();
    assert_eq!(read, labels);
}
