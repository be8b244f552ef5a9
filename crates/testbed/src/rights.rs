//! Starting a program with exactly these rights: a user, and some capabilities that nothing adds to.

use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::io::Errno;
use rustix::process::{Gid, Uid};
pub use rustix::thread::CapabilitySet;
use rustix::thread::{self, CapabilitySets};

/// Who a program is, and what it may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    /// User and group; there are no further groups.
    pub uid: u32,
    /// Its capabilities: permitted, effective, inheritable, ambient, and all that the bounding set has.
    pub caps: CapabilitySet,
}

/// The first argument of a test binary that is to become another program.
const BECOME: &str = "become-with-rights";

impl Rights {
    /// A command with these rights.
    ///
    /// Rights belong to threads, and giving some up hides the whole process from those that have fewer. So the test binary
    /// is started again, gives them up, and becomes `program`, which has to lie where that user may go.
    ///
    /// # Panics
    ///
    /// When the test binary can't be found.
    pub fn command(self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(std::env::current_exe().expect("our own path"));
        command.args([BECOME, &self.uid.to_string(), &self.caps.bits().to_string()]).arg(program);
        command
    }
}

/// Where this process was started by [`Rights::command`]: becomes what it is to be.
pub(crate) fn become_if_asked() {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_none_or(|first| first != BECOME) {
        return;
    }
    let mut number =
        || arguments.next().and_then(|text| text.to_str()?.parse().ok()).expect("as Rights::command wrote it");
    let (uid, bits): (u64, u64) = (number(), number());
    let caps = CapabilitySet::from_bits_retain(bits);
    limit(u32::try_from(uid).expect("a user id"), caps).expect("a test that takes rights away has them");
    let program = arguments.next().expect("a program");
    let error = Command::new(&program).args(arguments).exec();
    panic!("{}: {error}", program.display());
}

/// Gives up everything but `caps`, for good.
fn limit(uid: u32, caps: CapabilitySet) -> Result<(), Errno> {
    for bit in 0..u64::BITS {
        let cap = CapabilitySet::from_bits_retain(1 << bit);
        if caps.contains(cap) {
            continue;
        }
        match thread::remove_capability_from_bounding_set(cap) {
            // EINVAL: this kernel has no capability of this number.
            Ok(()) | Err(Errno::INVAL) => {}
            Err(error) => return Err(error),
        }
    }
    thread::set_thread_groups(&[])?;
    thread::set_thread_gid(Gid::from_raw(uid))?;
    thread::set_keep_capabilities(true)?;
    thread::set_thread_uid(Uid::from_raw(uid))?;
    thread::set_capabilities(None, CapabilitySets { effective: caps, permitted: caps, inheritable: caps })?;
    for cap in caps.iter() {
        thread::configure_capability_in_ambient_set(cap, true)?;
    }
    Ok(())
}
