//! Whether the sk_lookup hook can be used here.

use sklookup_kernel::caps::{self, Cap};

/// Says what could not be had.
pub(crate) fn why_missing() -> Option<String> {
    match caps::missing(&[Cap::Bpf, Cap::NetAdmin, Cap::SysAdmin]) {
        Ok(missing) => missing.first().map(|cap| format!("needs {cap}")),
        Err(error) => Some(error.to_string()),
    }
}
