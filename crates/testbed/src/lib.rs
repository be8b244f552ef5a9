//! What the tests on a real kernel share.
//!
//! A test that needs more than every machine has shows as ignored, with the reason, where it can't be had; where it could
//! run it runs, and what then goes wrong is a failure. [`plain_trial`] needs nothing, [`sandbox_trial`] namespaces of
//! its own, [`kernel_trial`] the sk_lookup hook besides. Test binaries set `harness = false` and call [`main`].
//!
//! What a command does when the kernel fails it, or when it dies on the way: a [`Fault`] makes that happen, a [`Trace`]
//! tells what it had done and made by then, and [`Leftovers`] what is still there.

#![forbid(unsafe_code)]

use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use libtest_mimic::Arguments;
pub use libtest_mimic::{Completion, Trial};
use rustix::io::Errno;
use rustix::mount::mount_bind;
pub use sklookup_kernel::Sandbox;
use sklookup_kernel::{Netns, SandboxError, in_sandbox};

pub mod fault;
mod hook;
pub mod leftovers;
mod rights;
mod terminal;
pub mod trace;

pub use fault::Fault;
pub use leftovers::Leftovers;
pub use rights::{CapabilitySet, Rights};
pub use terminal::Terminal;
pub use trace::Trace;

/// Runs the tests as cargo asks on the command line, and exits with the outcome.
pub fn main(trials: Vec<Trial>) -> ! {
    rights::become_if_asked();
    terminal::become_if_asked();
    libtest_mimic::run(&Arguments::from_args(), trials).exit()
}

/// The same for tests that wait for the kernel most of the time: many at once, unless the command line says how many.
pub fn main_of_waiting(trials: Vec<Trial>) -> ! {
    const AT_ONCE: usize = 16;
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(AT_ONCE);
    libtest_mimic::run(&arguments, trials).exit()
}

/// A test that needs no rights.
pub fn plain_trial(name: &str, test: impl FnOnce() + Send + 'static) -> Trial {
    Trial::test(name, || {
        test();
        Ok(())
    })
}

/// A test that needs namespaces of its own, and nothing of BPF.
pub fn sandbox_trial(name: &str, test: impl FnOnce(&Sandbox) + Send + 'static) -> Trial {
    Trial::ignorable_test(name, || run(test))
}

/// A test on the sk_lookup hook, in a fresh sandbox.
pub fn kernel_trial(name: &str, test: impl FnOnce(&Sandbox) + Send + 'static) -> Trial {
    Trial::ignorable_test(name, || match why_no_hook() {
        None => run(test),
        Some(reason) => Ok(Completion::ignored_with(reason)),
    })
}

/// The same for a test that needs something besides, which `missing` says is not there.
pub fn kernel_trial_unless(
    missing: impl FnOnce() -> Option<&'static str> + Send + 'static,
    name: &str,
    test: impl FnOnce(&Sandbox) + Send + 'static,
) -> Trial {
    Trial::ignorable_test(name, || match why_no_hook().or_else(missing) {
        None => run(test),
        Some(reason) => Ok(Completion::ignored_with(reason)),
    })
}

/// The same for a test that needs a program which not every machine has.
pub fn kernel_trial_with(program: &'static str, name: &str, test: impl FnOnce(&Sandbox) + Send + 'static) -> Trial {
    Trial::ignorable_test(name, move || match why_no_hook().map(str::to_owned).or_else(|| why_no(program)) {
        None => run(test),
        Some(reason) => Ok(Completion::ignored_with(reason)),
    })
}

/// Why a program can't be started; `None`: it lies on the path.
fn why_no(program: &str) -> Option<String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_there = std::env::split_paths(&path).any(|directory| directory.join(program).is_file());
    (!is_there).then(|| format!("{program} is not installed"))
}

/// Why tests on the hook can't run here; `None`: they can.
pub fn why_no_hook() -> Option<&'static str> {
    static REASON: OnceLock<Option<String>> = OnceLock::new();
    REASON.get_or_init(hook::why_missing).as_deref()
}

/// Why this process can't make a sandbox; `None`: it can.
pub fn why_no_sandbox() -> Option<&'static str> {
    static REASON: OnceLock<Option<String>> = OnceLock::new();
    REASON.get_or_init(|| in_sandbox(|_| ()).err().filter(is_want_of_rights).map(|e| e.to_string())).as_deref()
}

/// Copies a program to where a test wants to start it.
///
/// By another process: what this one has open for writing, a child that another test forks at that moment has too, and
/// the kernel starts no program that is open for writing (ETXTBSY).
///
/// # Panics
///
/// When it can't be copied.
pub fn copy_program(from: impl AsRef<Path>, to: impl AsRef<Path>) {
    let status = Command::new("cp").arg("--").args([from.as_ref(), to.as_ref()]).status().expect("cp is everywhere");
    assert!(status.success(), "cp {} {}", from.as_ref().display(), to.as_ref().display());
}

/// Has `ip netns` know a namespace by a name, in the `/run` of a sandbox.
///
/// # Panics
///
/// When it can't be mounted.
pub fn name_netns(netns: &Netns, name: &str) {
    let file = Path::new("/run/netns").join(name);
    std::fs::create_dir_all("/run/netns").expect("/run is ours");
    std::fs::write(&file, "").expect("/run is ours");
    mount_bind(format!("/proc/self/fd/{}", netns.as_fd().as_raw_fd()), &file).expect("mounts are ours");
}

fn run(test: impl FnOnce(&Sandbox) + Send) -> Result<Completion, libtest_mimic::Failed> {
    if let Some(reason) = why_no_sandbox() {
        return Ok(Completion::ignored_with(reason));
    }
    in_sandbox(test)?;
    Ok(Completion::Completed)
}

/// A machine that won't let us is a reason to ignore a test; a sandbox that breaks in another way is a failure.
fn is_want_of_rights(error: &SandboxError) -> bool {
    matches!(
        error,
        SandboxError::Unshare { errno: Errno::PERM | Errno::NOSYS | Errno::INVAL }
            | SandboxError::Mount { errno: Errno::PERM | Errno::ACCESS | Errno::NODEV | Errno::NOENT, .. }
    )
}
