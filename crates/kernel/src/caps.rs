//! Which capabilities the calling thread has.

use std::fmt;

use rustix::thread::CapabilitySet;

use crate::error::{Error, Result};

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
    fn what_was_split_off_from_sys_admin_is_still_part_of_it() {
        let caps = Caps(CapabilitySet::SYS_ADMIN);
        assert_eq!(caps.missing(&[Cap::Bpf, Cap::NetAdmin, Cap::Perfmon]), [Cap::NetAdmin]);
        assert_eq!(Caps(CapabilitySet::BPF).missing(&[Cap::Bpf, Cap::SysAdmin]), [Cap::SysAdmin]);
    }
}
