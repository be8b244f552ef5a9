//! A terminal to type at: what keys, a hang-up and its output look like to a program on it.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

/// Longer than anything on a terminal of a test takes.
const LONG: Duration = Duration::from_secs(30);

/// The first argument of a test binary that is to become a program on a terminal.
const BECOME: &str = "become-on-terminal";

/// A terminal, seen from the side of who types. Dropped, it hangs up.
#[derive(Debug)]
pub struct Terminal {
    master: File,
    path: String,
    shown: String,
}

impl Terminal {
    /// A new one.
    ///
    /// # Panics
    ///
    /// Without /dev/ptmx.
    pub fn open() -> Terminal {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).expect("every Linux has /dev/ptmx");
        grantpt(&master).and_then(|()| unlockpt(&master)).expect("it is ours");
        let path = ptsname(&master, Vec::new()).expect("it has a name").into_string().expect("ASCII");
        Terminal { master: File::from(master), path, shown: String::new() }
    }

    /// A command that leads a session of its own on this terminal, with all of its input and output there.
    ///
    /// # Panics
    ///
    /// When the test binary can't be found.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(std::env::current_exe().expect("our own path"));
        command.args([BECOME, &self.path]).arg(program);
        command
    }

    /// The side of programs, for a command that has only a part of its input and output there.
    ///
    /// # Panics
    ///
    /// When the terminal is gone.
    pub fn other_end(&self) -> File {
        let mut options = File::options();
        // Whoever opens it without this, and has no terminal, has this one from then on.
        options.read(true).write(true).custom_flags(OFlags::NOCTTY.bits().cast_signed());
        options.open(&self.path).expect("the terminal is there")
    }

    /// Types: `\x03` is Ctrl-C, `\x1a` Ctrl-Z, `\x1c` Ctrl-\.
    ///
    /// # Panics
    ///
    /// When nobody is there.
    pub fn types(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).expect("the terminal takes keys");
    }

    /// Waits until this was shown, and answers everything shown so far.
    ///
    /// # Panics
    ///
    /// When it is not.
    pub fn shows(&mut self, text: &str) -> &str {
        while !self.shown.contains(text) {
            assert!(self.read(), "everybody has gone; {text:?} is not in {}", self.shown);
        }
        &self.shown
    }

    /// Waits until nobody has the terminal any more, and answers everything shown.
    ///
    /// # Panics
    ///
    /// When somebody stays.
    pub fn shows_to_the_end(&mut self) -> &str {
        while self.read() {}
        &self.shown
    }

    /// Reads something; false when nobody can write any more.
    fn read(&mut self) -> bool {
        let deadline = Instant::now() + LONG;
        let mut ready = [PollFd::new(&self.master, PollFlags::IN)];
        while poll(&mut ready, Some(&Timespec { tv_sec: 1, tv_nsec: 0 })).expect("poll") == 0 {
            assert!(Instant::now() < deadline, "nothing more is shown; so far: {}", self.shown);
        }
        let mut bytes = [0; 4096];
        match self.master.read(&mut bytes) {
            Ok(0) => false,
            Ok(length) => {
                self.shown.push_str(&String::from_utf8_lossy(&bytes[..length]));
                true
            }
            // The last one has closed it.
            Err(error) if Errno::from_io_error(&error) == Some(Errno::IO) => false,
            Err(error) => panic!("{error}; so far: {}", self.shown),
        }
    }
}

/// Where this process was started by [`Terminal::command`]: becomes what it is to be.
pub(crate) fn become_if_asked() {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let [first, path, program, arguments @ ..] = &arguments[..] else { return };
    if first.as_bytes() != BECOME.as_bytes() {
        return;
    }
    rustix::process::setsid().expect("a child leads no group");
    // The first terminal that the leader of a session opens becomes its own.
    let terminal = || -> Stdio {
        let file = File::options().read(true).write(true).open(path).expect("the terminal is there");
        Stdio::from(OwnedFd::from(file))
    };
    let error = Command::new(program).args(arguments).stdin(terminal()).stdout(terminal()).stderr(terminal()).exec();
    panic!("{}: {error}", program.display());
}
