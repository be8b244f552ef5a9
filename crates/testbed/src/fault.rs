//! Commands to which something happens at a call to the kernel: the fault door of `sklookup_kernel`, from outside.
//!
//! The command has to be built with the feature `fault-door` of that crate, as `cargo test` builds it for a package that
//! asks for it in its dev-dependencies; another one takes no notice.

use std::fmt;
use std::process::{Child, Command};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};

/// What happens to a command, at which of its calls, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is killed instead of making the call.
    KillBefore(u32),
    /// It is killed once the call is made.
    KillAfter(u32),
    /// The call is not made, and fails as such a call does when memory, space or fds are short.
    Fail(u32),
    /// The same with an errno by its C name.
    FailWith(u32, &'static str),
    /// It stops before the call, until it gets SIGCONT.
    Stop(u32),
    /// It stops before this call, and goes on to be killed once the first call of this name is made.
    StopAndKillAfter(u32, &'static str),
}

impl Fault {
    /// Has it happen to a command that is yet to be started.
    pub fn in_command(self, command: &mut Command) -> &mut Command {
        command.env("SKLOOKUP_FAULT", self.to_string())
    }
}

/// As the switch is written by hand.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::KillBefore(number) => write!(f, "kill-before:{number}"),
            Fault::KillAfter(number) => write!(f, "kill-after:{number}"),
            Fault::Fail(number) => write!(f, "fail:{number}"),
            Fault::FailWith(number, errno) => write!(f, "fail:{number}:{errno}"),
            Fault::Stop(number) => write!(f, "stop:{number}"),
            Fault::StopAndKillAfter(number, call) => write!(f, "stop:{number},kill-after:{call}"),
        }
    }
}

/// Waits until a command has stopped or ended; false: it has ended, and can still be waited for.
///
/// # Panics
///
/// When it is no child of ours, or was waited for.
pub fn stops(child: &Child) -> bool {
    let either = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    let status = rustix::io::retry_on_intr(|| rustix::process::waitid(WaitId::Pid(Pid::from_child(child)), either));
    status.expect("a child that was not waited for").is_some_and(|status| status.stopped())
}

/// Lets a command that has stopped go on.
///
/// # Panics
///
/// When it was waited for.
pub fn go_on(child: &Child) {
    rustix::process::kill_process(Pid::from_child(child), Signal::CONT).expect("a child that was not waited for");
}
