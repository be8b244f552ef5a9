//! Running with fewer rights than the test has.

use rustix::thread::CapabilitySet;

/// Leaves this thread CAP_BPF and CAP_NET_ADMIN, without CAP_PERFMON or CAP_SYS_ADMIN, which stands for it: what it
/// loads from now on is hardened against speculation.
pub fn drop_perfmon() {
    let mut sets = rustix::thread::capabilities(None).unwrap();
    let left = CapabilitySet::BPF | CapabilitySet::NET_ADMIN;
    sets.effective = left;
    sets.permitted = left;
    sets.inheritable = CapabilitySet::empty();
    rustix::thread::set_capabilities(None, sets).unwrap();
}
