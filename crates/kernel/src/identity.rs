//! Who we are.

/// The user id that the file system judges us by.
pub fn effective_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}
