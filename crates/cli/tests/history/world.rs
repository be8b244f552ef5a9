//! A namespace that has a name, machines that boot again, and what is on disk.

use std::net::TcpListener;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use sklookup_kernel::{Netns, Sandbox};
use sklookup_testbed::name_netns;

use crate::command::{Ran, sklookup};

/// Where the policy of the namespace `blue` is kept.
pub const PAGE: &str = "/var/lib/sklookup/netns-blue.toml";

/// Has this program listen, for `run`, until its standard input ends.
pub const LISTEN: &str = "listen";

pub fn listen() {
    let _listener = TcpListener::bind("127.0.0.1:8080").unwrap();
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

/// Has `ip netns` know a namespace as `blue`.
pub fn name(netns: &Netns) {
    name_netns(netns, "blue");
}

/// What a reboot does: bpffs is empty, and under the name is another namespace.
pub fn reboot(sandbox: &Sandbox) -> Netns {
    unmount(&sandbox.bpffs, UnmountFlags::DETACH).unwrap();
    mount("bpf", &sandbox.bpffs, "bpf", MountFlags::empty(), Some(c"mode=0755")).unwrap();
    unmount("/run/netns/blue", UnmountFlags::DETACH).unwrap();
    let fresh = Netns::new_private().unwrap();
    name(&fresh);
    fresh
}

/// A policy file with these bindings.
pub fn policy(sandbox: &Sandbox, bindings: &[&str]) -> String {
    let path = sandbox.scratch.join("policy.toml");
    let lines: Vec<String> = bindings.iter().map(|binding| format!("  '{binding}',\n")).collect();
    std::fs::write(&path, format!("bindings = [\n{}]\n", lines.concat())).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Runs a command that succeeds and says nothing of the history.
pub fn done(arguments: &[&str]) -> Ran {
    let ran = sklookup(arguments);
    assert_eq!(ran.exit, 0, "{arguments:?}: {ran:?}");
    assert!(!ran.stderr.contains("not kept"), "{arguments:?}: {ran:?}");
    ran
}

/// The same with a binding, written as for `bind`.
pub fn bind(binding: &str) -> Ran {
    done(&[&["bind"], &binding.split(' ').collect::<Vec<_>>()[..]].concat())
}

/// The kept file; empty where there is none.
pub fn page() -> String {
    std::fs::read_to_string(PAGE).unwrap_or_default()
}

/// The kept policy, without the comments above it.
pub fn kept() -> String {
    let page = page();
    page[page.find("bindings = [").unwrap_or(page.len())..].to_owned()
}

/// Whether it says that this is in effect, or was taken away.
pub fn fate() -> String {
    page().lines().find_map(|line| line.strip_prefix("# state    ")).unwrap_or_default().to_owned()
}

/// What is in effect, as a policy file.
pub fn applied() -> String {
    done(&["export"]).stdout
}

/// Names in the directory, but those of earlier policies.
pub fn names() -> Vec<PathBuf> {
    in_directory().into_iter().filter(|path| earlier_number(path).is_none()).collect()
}

/// The numbers of the earlier policies that are there.
pub fn earlier() -> Vec<usize> {
    in_directory().iter().filter_map(|path| earlier_number(path)).collect()
}

fn in_directory() -> Vec<PathBuf> {
    let mut names: Vec<PathBuf> =
        std::fs::read_dir("/var/lib/sklookup").into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    names
}

fn earlier_number(path: &Path) -> Option<usize> {
    path.to_str()?.strip_suffix(".toml")?.rsplit_once('.')?.1.parse().ok()
}
