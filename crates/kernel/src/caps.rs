//! Which capabilities the calling thread has.

use std::fmt;
use std::path::Path;

use rustix::io::Errno;
use rustix::thread::{CapabilitySet, CapabilitySets};

use crate::error::{Error, Result};
use crate::map::Map;
use crate::netns::on_scratch_thread;

/// A capability that something here needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cap {
    /// `CAP_BPF`: maps and programs.
    Bpf,
    /// `CAP_NET_ADMIN`: sockmaps, attaching, routes.
    NetAdmin,
    /// `CAP_PERFMON`: programs that are not hardened at load, and so run faster.
    Perfmon,
    /// `CAP_SYS_PTRACE`: sockets and namespaces of other users' processes.
    SysPtrace,
    /// `CAP_DAC_READ_SEARCH`: listing the fds of other users' processes.
    DacReadSearch,
    /// `CAP_SYS_ADMIN`: mounting bpffs, entering namespaces.
    SysAdmin,
    /// `CAP_SETUID`: starting a command as another user.
    SetUid,
    /// `CAP_SETGID`: the same, for its groups.
    SetGid,
    /// `CAP_KILL`: passing signals to another user's process.
    Kill,
}

impl Cap {
    fn bits(self) -> CapabilitySet {
        match self {
            Cap::Bpf => CapabilitySet::BPF,
            Cap::NetAdmin => CapabilitySet::NET_ADMIN,
            Cap::Perfmon => CapabilitySet::PERFMON,
            Cap::SysPtrace => CapabilitySet::SYS_PTRACE,
            Cap::DacReadSearch => CapabilitySet::DAC_READ_SEARCH,
            Cap::SysAdmin => CapabilitySet::SYS_ADMIN,
            Cap::SetUid => CapabilitySet::SETUID,
            Cap::SetGid => CapabilitySet::SETGID,
            Cap::Kill => CapabilitySet::KILL,
        }
    }

    /// Whether the kernel takes CAP_SYS_ADMIN instead: the two that were split off from it in 5.8.
    fn is_in_sys_admin(self) -> bool {
        matches!(self, Cap::Bpf | Cap::Perfmon)
    }
}

impl fmt::Display for Cap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Cap::Bpf => "CAP_BPF",
            Cap::NetAdmin => "CAP_NET_ADMIN",
            Cap::Perfmon => "CAP_PERFMON",
            Cap::SysPtrace => "CAP_SYS_PTRACE",
            Cap::DacReadSearch => "CAP_DAC_READ_SEARCH",
            Cap::SysAdmin => "CAP_SYS_ADMIN",
            Cap::SetUid => "CAP_SETUID",
            Cap::SetGid => "CAP_SETGID",
            Cap::Kill => "CAP_KILL",
        })
    }
}

/// The capabilities in effect for a thread, at the time of asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps(CapabilitySet);

impl Caps {
    /// Those of the calling thread.
    pub fn effective() -> Result<Caps> {
        let sets = rustix::thread::capabilities(None).map_err(|errno| Error::new("capget", "this thread", errno))?;
        Ok(Caps(sets.effective))
    }

    /// Whether the thread has `cap`, or the wider one that includes it.
    pub fn has(self, cap: Cap) -> bool {
        self.0.contains(cap.bits()) || (cap.is_in_sys_admin() && self.0.contains(CapabilitySet::SYS_ADMIN))
    }

    /// Those of `wanted` that the thread has not.
    pub fn missing(self, wanted: &[Cap]) -> Vec<Cap> {
        wanted.iter().copied().filter(|cap| !self.has(*cap)).collect()
    }
}

/// Those of `wanted` that the calling thread has not.
pub fn missing(wanted: &[Cap]) -> Result<Vec<Cap>> {
    Ok(Caps::effective()?.missing(wanted))
}

/// Gives up every capability but these, for good: for the calling thread and whatever it starts later. Nothing started
/// from here gains any (`no_new_privs`). Call it before the first thread is started; each has capabilities of its own.
///
/// The user stays: what its files and pins let it do, it still can. A bounding set that may not be changed, for want of
/// CAP_SETPCAP, stays too, and gives nothing back.
///
/// # Errors
/// None that a running kernel is known to give.
#[doc(alias = "capset")]
#[doc(alias = "PR_SET_NO_NEW_PRIVS")]
pub fn keep_only(keep: &[Cap]) -> Result<()> {
    let failed = |call| move |errno| Error::new(call, "this thread", errno);
    let keep = keep.iter().fold(CapabilitySet::empty(), |set, cap| set | cap.bits());
    rustix::thread::set_no_new_privs(true).map_err(failed("PR_SET_NO_NEW_PRIVS"))?;
    for cap in CapabilitySet::all().difference(keep).iter() {
        match rustix::thread::remove_capability_from_bounding_set(cap) {
            // EINVAL: one that this kernel doesn't know.
            Ok(()) | Err(Errno::PERM | Errno::INVAL) => {}
            Err(errno) => return Err(failed("PR_CAPBSET_DROP")(errno)),
        }
    }
    rustix::thread::clear_ambient_capability_set().map_err(failed("PR_CAP_AMBIENT"))?;
    let had = rustix::thread::capabilities(None).map_err(failed("capget"))?;
    let kept = had.permitted & keep;
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    rustix::thread::set_capabilities(None, sets).map_err(failed("capset"))
}

/// Whether a process without any capability can open what is pinned in a bpffs and read it, where mode and owner let it:
/// since Linux 5.19. Before, `kernel.unprivileged_bpf_disabled` stood in the way, and that took CAP_BPF.
pub fn pins_open_without_any(bpffs: &Path) -> bool {
    on_scratch_thread(|| {
        // A name that nothing is pinned under, without a dot, which bpffs refuses: who may ask is told so.
        let nothing = bpffs.join("nothing-is-pinned-here");
        keep_only(&[]).is_ok()
            && Map::open_read_only(&nothing).is_err_and(|error| matches!(error.errno(), Errno::NOENT | Errno::ACCESS))
    })
}

/// Whether this process is in the initial user namespace. bpf(2) counts no capability of any other, so a root that is
/// root of a container only has none of them here. `None`: /proc doesn't say.
pub fn in_initial_user_namespace() -> Option<bool> {
    let map = std::fs::read_to_string("/proc/self/uid_map").ok()?;
    // Every id mapped to itself: no other namespace can have that, unless one was given just this map by the first.
    Some(map.split_whitespace().eq(["0", "0", "4294967295"]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_up_is_gone_and_does_not_come_back() {
        on_scratch_thread(|| {
            let had = Caps::effective().unwrap();
            keep_only(&[Cap::NetAdmin]).unwrap();
            let kept = Caps::effective().unwrap();
            assert_eq!(kept.0, had.0 & CapabilitySet::NET_ADMIN);
            keep_only(&[Cap::NetAdmin, Cap::SysAdmin]).unwrap();
            assert_eq!(Caps::effective().unwrap(), kept);
            assert!(rustix::thread::no_new_privs().unwrap());
        });
        assert!(!rustix::thread::no_new_privs().unwrap(), "another thread is as it was");
    }

    #[test]
    fn what_was_split_off_from_sys_admin_is_still_part_of_it() {
        let caps = Caps(CapabilitySet::SYS_ADMIN);
        assert_eq!(caps.missing(&[Cap::Bpf, Cap::NetAdmin, Cap::Perfmon]), [Cap::NetAdmin]);
        assert_eq!(Caps(CapabilitySet::BPF).missing(&[Cap::Bpf, Cap::SysAdmin]), [Cap::SysAdmin]);
    }
}
