//! Who we are.

/// The user id that the file system judges us by.
pub fn effective_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// The user id with which somebody logged in for this process to be started, whoever it runs as by now: the kernel keeps
/// it for audit. `None` where nobody logged in, or the kernel keeps no such thing.
pub fn login_uid() -> Option<u32> {
    let text = std::fs::read_to_string("/proc/self/loginuid").ok()?;
    text.trim().parse().ok().filter(|uid| *uid != u32::MAX)
}
