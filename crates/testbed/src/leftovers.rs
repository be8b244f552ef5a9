//! What is left of commands that have ended: names in a bpffs, programs on the hook, objects of bpf(2), fds.
//!
//! Tests run beside each other on one kernel, so objects are not counted but looked for one by one: those that a
//! [`Trace`] says were made.

use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use sklookup_kernel::{Link, Map, Object, Program, Sandbox, grace_period};

use crate::trace::Trace;

/// The kernel frees what nobody holds after a grace period or two, on a busy machine a little later.
const PATIENCE: Duration = Duration::from_secs(20);

/// What commands left in a sandbox.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Leftovers {
    /// Names below the bpffs, relative to it, sorted.
    pub pins: Vec<String>,
    /// Programs attached to the namespace, by their ids.
    pub attached: Vec<u32>,
    /// Objects that were made and are still there, but for those that a pin keeps.
    pub objects: BTreeSet<Object>,
}

impl Leftovers {
    /// What there is once all commands of a trace have ended; what is to be freed is given its time.
    ///
    /// # Panics
    ///
    /// Without the rights to ask.
    pub fn of(sandbox: &Sandbox, trace: &Trace) -> Leftovers {
        Leftovers::among(sandbox, &trace.made())
    }

    /// The same, with the objects that were made by many commands.
    ///
    /// # Panics
    ///
    /// Without the rights to ask.
    pub fn among(sandbox: &Sandbox, made: &BTreeSet<Object>) -> Leftovers {
        let kept = kept(&sandbox.bpffs);
        let mut objects: BTreeSet<Object> = made.difference(&kept).copied().collect();
        let deadline = Instant::now() + PATIENCE;
        loop {
            objects.retain(|object| object.exists().expect("root may ask for ids"));
            if objects.is_empty() || Instant::now() > deadline {
                break;
            }
            grace_period().expect("a grace period");
        }
        Leftovers { pins: names(&sandbox.bpffs), attached: attached(sandbox), objects }
    }
}

/// Every name below a directory of a bpffs, relative to it, sorted; but for the two files that each bpffs has.
pub fn names(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut next = vec![directory.to_owned()];
    while let Some(path) = next.pop() {
        for entry in std::fs::read_dir(&path).into_iter().flatten().flatten() {
            let path = entry.path();
            // Made by the kernel at every mount; no name of ours has a dot.
            if path.extension().is_some_and(|extension| extension == "debug") {
                continue;
            }
            found.push(path.strip_prefix(directory).expect("it is below").display().to_string());
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                next.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The programs that are attached to the namespace of a sandbox, by whomever, in the order in which they run.
///
/// # Panics
///
/// Without the rights to ask.
pub fn attached(sandbox: &Sandbox) -> Vec<u32> {
    Link::query(sandbox.netns.as_fd()).expect("CAP_NET_ADMIN may ask")
}

/// How many fds a process has open.
///
/// # Panics
///
/// When there is no such process, or it may not be looked at.
pub fn fds(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).expect("a process of ours").count()
}

/// The objects that the pins below a directory keep, directly or through a program.
fn kept(bpffs: &Path) -> BTreeSet<Object> {
    let mut kept = BTreeSet::new();
    for name in names(bpffs) {
        let path = bpffs.join(name);
        if let Ok(program) = Program::open_read_only(&path) {
            kept.insert(Object::Program(program.id()));
            let maps = program.info().map(|info| info.map_ids).unwrap_or_default();
            kept.extend(maps.into_iter().map(Object::Map));
        } else if let Ok(map) = Map::open_read_only(&path) {
            kept.insert(Object::Map(map.id()));
        } else if let Ok(info) = Link::open(&path).and_then(|link| link.info()) {
            kept.insert(Object::Link(info.id));
            kept.insert(Object::Program(info.program_id));
        }
    }
    kept
}
