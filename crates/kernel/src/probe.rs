//! What this kernel can do: tried out, not guessed from its version.
//!
//! A probe makes the thing in question and lets go of it; nothing is left behind and no traffic is touched.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;

use rustix::io::Errno;
use sklookup_bpf::{Builder, MapSpec, MapType, ProgramSpec, Reg, Size, abi};

use crate::error::{Error, NOT_SUPPORTED, Result, errno_of};
use crate::link::Link;
use crate::map::{Map, Sockmap};
use crate::netns::Netns;
use crate::program::{Context, LoadError, Program};

/// Something that steering needs, or is better with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Feature {
    /// Programs on the sk_lookup hook.
    Programs,
    /// Sockmaps that user space can read.
    Sockmaps,
    /// Links that are attached, updated and detached.
    Links,
    /// Arrays of sockmaps: more than a few dozen labels.
    ArraysOfSockmaps,
    /// Maps held by a program that doesn't mention them.
    BoundMaps,
    /// Running a program without a packet.
    TestRuns,
    /// The interface of a packet in the context.
    IngressIfindex,
    /// Programs compiled to machine code.
    Jit,
}

/// What a probe found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It works.
    Yes,
    /// This kernel doesn't have it; the reason as the kernel gave it.
    No(String),
    /// It could not be tried, and why: mostly for want of rights.
    Unknown(String),
}

impl Feature {
    /// All of them, what others rest on first.
    pub const ALL: [Feature; 8] = [
        Feature::Programs,
        Feature::Sockmaps,
        Feature::Links,
        Feature::ArraysOfSockmaps,
        Feature::BoundMaps,
        Feature::TestRuns,
        Feature::IngressIfindex,
        Feature::Jit,
    ];

    /// A few words for a list.
    pub fn name(self) -> &'static str {
        match self {
            Feature::Programs => "sk_lookup programs",
            Feature::Sockmaps => "sockmaps",
            Feature::Links => "links on network namespaces",
            Feature::ArraysOfSockmaps => "arrays of sockmaps",
            Feature::BoundMaps => "maps bound to programs",
            Feature::TestRuns => "test runs of sk_lookup programs",
            Feature::IngressIfindex => "interface in the context",
            Feature::Jit => "JIT compiler",
        }
    }

    /// The first Linux that has it (kernel changelogs; 6.18 is the only one we tried), for telling what to upgrade to.
    pub fn since(self) -> Option<&'static str> {
        match self {
            Feature::Programs | Feature::Links => Some("5.9"),
            // Cookies have been readable since 5.7, listeners allowed too.
            Feature::Sockmaps => Some("5.7"),
            Feature::ArraysOfSockmaps => Some("4.14"),
            Feature::BoundMaps => Some("5.10"),
            Feature::TestRuns => Some("5.13"),
            Feature::IngressIfindex => Some("5.17"),
            // A matter of configuration and architecture.
            Feature::Jit => None,
        }
    }

    /// Tries it.
    pub fn probe(self) -> Answer {
        match self {
            Feature::Programs => answer(reader(abi::context::LOCAL_PORT).map(drop)),
            Feature::IngressIfindex => answer(reader(abi::context::INGRESS_IFINDEX).map(drop)),
            Feature::Sockmaps => answer(Sockmap::create("probe", 1).map(drop)),
            Feature::ArraysOfSockmaps => answer(array_of_sockmaps()),
            Feature::BoundMaps => answer(bound_map()),
            Feature::TestRuns => answer(test_run()),
            Feature::Links => link(),
            Feature::Jit => match reader(abi::context::LOCAL_PORT).and_then(|p| Ok(p.info()?)) {
                Ok(info) if info.jited_len == 0 => Answer::No("programs are interpreted".to_owned()),
                other => answer(other.map(drop)),
            },
        }
    }
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The running kernel's version string: `6.18.44-...`.
pub fn kernel_release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// `net.core.bpf_jit_harden`: 0 off, 1 for users without CAP_BPF, 2 for all, which makes every program slower.
///
/// # Errors
/// EACCES for all but root; ENOENT in any network namespace but the first, where the file isn't shown.
pub fn jit_harden() -> Result<u32> {
    sysctl("/proc/sys/net/core/bpf_jit_harden")
}

/// `kernel.unprivileged_bpf_disabled`: 0 users without CAP_BPF may load some programs (none of ours), 1 not until the
/// next boot, 2 not until root allows it.
///
/// # Errors
/// ENOENT on a kernel without it.
pub fn unprivileged_bpf_disabled() -> Result<u32> {
    sysctl("/proc/sys/kernel/unprivileged_bpf_disabled")
}

/// `kernel.bpf_stats_enabled`: 1 while the kernel counts how often programs run and how long that takes. Somebody who holds
/// an fd of BPF_ENABLE_STATS has it count as well, and this says 0.
///
/// # Errors
/// EACCES for all but root; ENOENT on a kernel without it.
pub fn bpf_stats_enabled() -> Result<bool> {
    Ok(sysctl("/proc/sys/kernel/bpf_stats_enabled")? != 0)
}

fn sysctl(path: &str) -> Result<u32> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::new("read", path, errno_of(&e)))?;
    text.trim().parse().map_err(|_| Error::new("read", format!("{path}: {text:?}"), Errno::INVAL))
}

/// Why a probe failed.
struct Reason {
    errno: Errno,
    text: String,
}

impl From<Error> for Reason {
    fn from(error: Error) -> Reason {
        Reason { errno: error.errno(), text: error.to_string() }
    }
}

impl From<LoadError> for Reason {
    fn from(error: LoadError) -> Reason {
        Reason { errno: error.errno(), text: error.to_string() }
    }
}

fn answer(outcome: std::result::Result<(), impl Into<Reason>>) -> Answer {
    let Err(reason) = outcome else { return Answer::Yes };
    let reason = reason.into();
    match reason.errno {
        Errno::PERM => Answer::Unknown(format!("{}; needs CAP_BPF and CAP_NET_ADMIN", reason.text)),
        // What kernels say to what they don't know; EACCES comes from the verifier.
        Errno::INVAL | Errno::ACCESS | Errno::TOOBIG | Errno::NOSYS | Errno::OPNOTSUPP => Answer::No(reason.text),
        errno if errno == NOT_SUPPORTED => Answer::No(reason.text),
        _ => Answer::Unknown(reason.text),
    }
}

/// Loads a program that reads a 4-byte field of the context and passes.
fn reader(field: i16) -> std::result::Result<Program, Reason> {
    let mut b = Builder::new();
    b.load(Size::B4, Reg::R0, Reg::R1, field);
    b.mov(Reg::R0, abi::SK_PASS);
    b.exit();
    let code = b.finish().expect("a program without jumps");
    Ok(Program::load(&ProgramSpec::sk_lookup("probe", code, Vec::new()), &[])?)
}

fn array_of_sockmaps() -> std::result::Result<(), Reason> {
    let outer = MapSpec {
        inner: Some(Box::new(Sockmap::spec("probe", 1))),
        ..MapSpec::new("probe", MapType::ArrayOfMaps, 4, 4, 1)
    };
    let outer = Map::create(&outer)?;
    let inner = Sockmap::create("probe", 2)?;
    Ok(outer.fill_maps(&[inner.as_fd()])?)
}

fn bound_map() -> std::result::Result<(), Reason> {
    let map = Map::create(&MapSpec::new("probe", MapType::Array, 4, 4, 1))?;
    Ok(reader(abi::context::LOCAL_PORT)?.bind_map(&map)?)
}

fn test_run() -> std::result::Result<(), Reason> {
    let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let packet = Context { protocol: abi::IPPROTO_TCP as u8, source: nowhere, destination: nowhere };
    reader(abi::context::LOCAL_PORT)?.test_run(&packet, 1)?;
    Ok(())
}

/// Attaches in a namespace made for it, so that no traffic can notice.
fn link() -> Answer {
    let netns = match Netns::new_private() {
        Ok(netns) => netns,
        Err(error) => return Answer::Unknown(format!("no namespace to try it in: {error}")),
    };
    let attach = || {
        let (first, second) = (reader(abi::context::LOCAL_PORT)?, reader(abi::context::LOCAL_PORT)?);
        let link = Link::attach(&first, netns.as_fd())?;
        link.update(&second, &first)?;
        link.detach()?;
        Ok::<(), Reason>(())
    };
    answer(attach())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(errno: Errno) -> Answer {
        answer(Err(Error::new("BPF_PROG_LOAD", "`probe`", errno)))
    }

    #[test]
    fn want_of_rights_is_no_answer() {
        assert!(matches!(after(Errno::PERM), Answer::Unknown(reason) if reason.contains("CAP_BPF")));
        assert!(matches!(after(Errno::MFILE), Answer::Unknown(_)));
    }

    #[test]
    fn a_kernel_that_does_not_know_a_thing_says_so_in_several_ways() {
        for errno in [Errno::INVAL, Errno::ACCESS, Errno::NOSYS, NOT_SUPPORTED] {
            assert!(matches!(after(errno), Answer::No(_)), "{errno:?}");
        }
    }

    #[test]
    fn every_feature_is_listed_once() {
        for (index, feature) in Feature::ALL.iter().enumerate() {
            assert!(!Feature::ALL[..index].contains(feature), "{feature} is listed twice");
        }
    }
}
