//! Names of network namespaces that mean the same one, or its successor, after a reboot. Inodes do not.

use std::fmt;

use sklookup_kernel::{Netns, bpffs};

/// Such a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// The namespace in which the system booted; in a container, in which that one did.
    Host,
    /// A namespace that `ip netns` knows by this name.
    Named(String),
}

impl Name {
    /// The name of a namespace, if it has one that fits a file.
    pub fn of(netns: &Netns) -> Option<Name> {
        if netns.is_of_the_system() {
            return Some(Name::Host);
        }
        // Longer than a file name once it is one: nobody types such names.
        netns.known_as().filter(|name| file(name).is_some()).map(Name::Named)
    }

    /// The name of its file.
    pub(super) fn file(&self) -> String {
        match self {
            Name::Host => "host.toml".to_owned(),
            Name::Named(name) => file(name).expect("looked at when it was found"),
        }
    }

    /// The name of the file of an earlier policy; no name of a namespace has a dot in the name of its file.
    pub(super) fn earlier_file(&self, number: usize) -> String {
        let file = self.file();
        format!("{}.{number}.toml", file.trim_end_matches(".toml"))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Name::Host => f.write_str("the network namespace in which the system booted"),
            Name::Named(name) => write!(f, "network namespace {}", name.escape_debug()),
        }
    }
}

/// The file of a namespace that has a name. None collides with that of the host, whatever the name is.
fn file(name: &str) -> Option<String> {
    // A file is written under a longer name first, longer than those of earlier policies too.
    const AROUND: usize = "netns-.toml".len() + "..new".len();
    bpffs::escape(name).filter(|name| name.len() + AROUND <= bpffs::NAME_MAX).map(|name| format!("netns-{name}.toml"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn earlier_policies_have_files_of_their_own() {
        assert_eq!(Name::Host.earlier_file(1), "host.1.toml");
        assert_eq!(Name::Named("a.1".into()).earlier_file(9), "netns-a=2E1.9.toml");
    }

    #[test]
    fn any_name_is_one_file_in_the_directory_and_never_the_hosts() {
        assert_eq!(file("blue").as_deref(), Some("netns-blue.toml"));
        assert_eq!(file("host").as_deref(), Some("netns-host.toml"));
        assert_eq!(file("../a b").as_deref(), Some("netns-=2E=2E=2Fa=20b.toml"));
        assert_eq!(file("..").as_deref(), Some("netns-=2E=2E.toml"));
        assert_eq!(file(&"a".repeat(239)).map(|file| file.len()), Some(250));
        assert_eq!(file(&"a".repeat(240)), None);
    }
}
