//! Who started whom.

use std::collections::{HashMap, HashSet};
use std::fs;

use rustix::io::Errno;

use crate::error::Error;
use crate::process::{Result, Stat, every_process, numbers_in, stat_of};

/// Every process that `root` started, or one of those did, by pid; without `root` itself.
///
/// One whose parent ended belongs to whom it was given: a subreaper among its ancestors, or pid 1.
///
/// # Errors
/// /proc could not be read, for want of fds perhaps. Processes that end meanwhile are none.
pub fn descendants(root: u32) -> Result<Vec<u32>> {
    const TRIES: usize = 4;
    for _ in 0..TRIES {
        match listed_descendants(root)? {
            Listed::All(found) => return Ok(found),
            Listed::Perhaps => {}
            Listed::Unknown => break,
        }
    }
    walked_descendants(root)
}

/// The processes that `parent` started and those that were given to it, by pid; also those that have ended and that it has
/// not waited for.
///
/// # Errors
/// As [`descendants`].
pub fn children(parent: u32) -> Result<Vec<u32>> {
    let mut found = match listed_children(parent)? {
        Listed::All(found) => found,
        Listed::Perhaps | Listed::Unknown => every_parent()?.remove(&parent).unwrap_or_default(),
    };
    found.sort_unstable();
    Ok(found)
}

/// The parent of a process, the parent's parent and so on, as far as this pid namespace goes.
pub fn ancestors(pid: u32) -> Vec<u32> {
    let mut found = Vec::new();
    let mut next = stat_of(pid);
    while let Some(Stat { parent, .. }) = next {
        if parent == 0 || found.contains(&parent) {
            break;
        }
        found.push(parent);
        next = stat_of(parent);
    }
    found
}

/// What the lists of children that the kernel keeps say.
enum Listed {
    /// These.
    All(Vec<u32>),
    /// Somebody ended meanwhile, and the kernel may have left out whoever stood behind it in a list.
    Perhaps,
    /// This kernel keeps no lists (CONFIG_PROC_CHILDREN).
    Unknown,
}

fn listed_descendants(root: u32) -> Result<Listed> {
    let mut found = Vec::new();
    let mut seen = HashSet::from([root]);
    let mut next = vec![root];
    while let Some(pid) = next.pop() {
        match listed_children(pid)? {
            Listed::All(children) => {
                // A pid that changed hands while we read can't make a circle.
                let new: Vec<u32> = children.into_iter().filter(|pid| seen.insert(*pid)).collect();
                next.extend(&new);
                found.extend(new);
            }
            Listed::Perhaps => return Ok(Listed::Perhaps),
            Listed::Unknown => return Ok(Listed::Unknown),
        }
    }
    // Whose parent ended while we read was given to a subreaper, which `root` may be.
    match listed_children(root)? {
        Listed::All(children) if !children.iter().all(|pid| seen.contains(pid)) => return Ok(Listed::Perhaps),
        Listed::All(_) => {}
        other => return Ok(other),
    }
    found.sort_unstable();
    Ok(Listed::All(found))
}

/// Each thread has a list of those that it started.
fn listed_children(pid: u32) -> Result<Listed> {
    let path = format!("/proc/{pid}/task");
    let threads = match numbers_in(&path) {
        Ok(threads) => threads,
        Err(Errno::NOENT | Errno::SRCH) => return Ok(Listed::Perhaps),
        Err(errno) => return Err(Error::new("open", path, errno).into()),
    };
    let mut found = Vec::new();
    for thread in threads {
        let file = format!("{path}/{thread}/children");
        match fs::read_to_string(&file) {
            Ok(list) => found.extend(list.split_ascii_whitespace().filter_map(|pid| pid.parse::<u32>().ok())),
            Err(error) => match Errno::from_io_error(&error).unwrap_or(Errno::IO) {
                // Gone, with its list in another's hands; or there are no such files.
                Errno::NOENT | Errno::SRCH if fs::exists("/proc/thread-self/children").unwrap_or(false) => {
                    return Ok(Listed::Perhaps);
                }
                Errno::NOENT => return Ok(Listed::Unknown),
                errno => return Err(Error::new("read", file, errno).into()),
            },
        }
    }
    Ok(Listed::All(found))
}

/// The same by asking every process who its parent is.
fn walked_descendants(root: u32) -> Result<Vec<u32>> {
    let mut children = every_parent()?;
    let mut found = Vec::new();
    let mut next = vec![root];
    while let Some(pid) = next.pop() {
        // Removed, so that a pid that changed hands while we read can't make a circle.
        let children = children.remove(&pid).unwrap_or_default();
        next.extend(&children);
        found.extend(children);
    }
    found.sort_unstable();
    Ok(found)
}

/// The children of every process that has some.
fn every_parent() -> Result<HashMap<u32, Vec<u32>>> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for pid in every_process().map_err(|errno| Error::new("open", "/proc", errno))? {
        let path = format!("/proc/{pid}/stat");
        let stat = match fs::read(&path) {
            Ok(text) => Stat::parse(&text),
            Err(error) => match Errno::from_io_error(&error).unwrap_or(Errno::IO) {
                Errno::NOENT | Errno::SRCH | Errno::ACCESS | Errno::PERM => None,
                errno => return Err(Error::new("read", path, errno).into()),
            },
        };
        if let Some(stat) = stat {
            children.entry(stat.parent).or_default().push(pid);
        }
    }
    Ok(children)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn the_kernels_lists_and_the_walk_agree() {
        let mut shell = Command::new("sh").args(["-c", "sh -c 'cat; :'; :"]).stdin(Stdio::piped()).spawn().unwrap();
        // The shells start theirs at their leisure.
        let walked = loop {
            match walked_descendants(shell.id()).unwrap() {
                both if both.len() == 2 => break both,
                _ => std::thread::yield_now(),
            }
        };
        match listed_descendants(shell.id()).unwrap() {
            Listed::All(listed) => assert_eq!(listed, walked),
            Listed::Perhaps => panic!("nobody has ended"),
            Listed::Unknown => {}
        }
        drop(shell.stdin.take());
        shell.wait().unwrap();
    }
}
