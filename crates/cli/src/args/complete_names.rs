//! What the scripts of `completions` ask.

use clap::{Args, ValueEnum};

/// Print names for a shell to complete.
#[derive(Debug, Args)]
pub struct CompleteNames {
    /// Names of what
    pub kind: NameKind,
}

/// What has names that only the machine knows.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum NameKind {
    /// Labels of the applied policy.
    Labels,
    /// What `attach` has put on the hook.
    Attached,
    /// Network namespaces that `ip netns` knows.
    Namespaces,
}
