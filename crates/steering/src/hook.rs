//! Getting on the hook of a namespace.

use std::os::fd::AsFd;

use sklookup_kernel::{Errno, Link, Netns, Program};

use crate::Error;

/// The most programs that Linux lets be attached to a namespace: seen on Linux 6.18.
pub const MOST_PROGRAMS: usize = 64;

/// Attaches a program, behind those that are attached.
pub(crate) fn attach(program: &Program, netns: &Netns) -> Result<Link, Error> {
    Link::attach(program, netns.as_fd()).map_err(|error| match error.errno() {
        Errno::TOOBIG => Error::Full { netns: netns.describe().to_owned() },
        _ => error.into(),
    })
}
