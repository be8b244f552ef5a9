//! The bytes of a capture: from a file or a pipe, until Ctrl-C, with what was read shown on the way.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use sklookup_kernel::signals::{Signal, Signals, wait_readable};

use crate::context::named;
use crate::escape::printable;
use crate::output::{Failure, Said};
use crate::progress;

/// Who writes into a pipe is often told to end by the same key: so long it has to write what it still holds.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What is read between two lines about it, in bytes.
const STRIDE: u64 = 16 << 20;

/// A capture's bytes. Interrupted, they end.
pub struct Input {
    file: File,
    /// What it is called in messages.
    pub name: String,
    /// How long it is, where that is known, in bytes.
    pub size: Option<u64>,
    /// Whether it was ended by a signal.
    pub interrupted: bool,
    signals: Signals,
    read: u64,
    told: u64,
    ends: Option<Instant>,
}

impl Input {
    /// Opens it. From now on SIGINT and SIGTERM end what is read, and not the command.
    pub fn open(path: &Path) -> Result<Input, Failure> {
        let name = printable(&named(path));
        let failed = |error: io::Error| {
            let why = error.to_string();
            let why = why.split(" (os error").next().unwrap_or_default();
            Failure::new(Said::with_help(
                format!("{name}: {why}"),
                "name a capture that can be read, or - for standard input",
            ))
        };
        let file = if path == Path::new("-") {
            let stdin = io::stdin();
            if stdin.is_terminal() {
                return Err(Failure::new(Said::with_help(
                    "a capture is expected on standard input, which is a terminal",
                    "sudo tcpdump -i any -U -w - | sklookup replay -",
                )));
            }
            File::from(stdin.as_fd().try_clone_to_owned().map_err(failed)?)
        } else {
            File::open(path).map_err(failed)?
        };
        let metadata = file.metadata().map_err(failed)?;
        if metadata.is_dir() {
            return Err(failed(io::Error::from(io::ErrorKind::IsADirectory)));
        }
        let size = metadata.is_file().then_some(metadata.len());
        let signals = Signals::block(&[Signal::INT, Signal::TERM])?;
        Ok(Input { file, name, size, interrupted: false, signals, read: 0, told: 0, ends: None })
    }

    /// Whether there is something to read; false where it was interrupted.
    fn waits(&mut self) -> io::Result<bool> {
        loop {
            let left = self.ends.map(|ends| ends.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(false);
            }
            let fds = [self.signals.as_fd(), self.file.as_fd()];
            let ready = wait_readable(&fds, left).map_err(io::Error::other)?;
            if ready[0] && self.signals.read().map_err(io::Error::other)?.is_some() {
                // A file has nothing more to say, and who asks twice means it.
                let at_once = self.size.is_some() || self.interrupted;
                self.interrupted = true;
                self.ends = Some(Instant::now() + if at_once { Duration::ZERO } else { LAST_WORDS });
            } else if ready[1] {
                return Ok(true);
            }
        }
    }

    fn tell(&self) {
        const MIB: u64 = 1 << 20;
        let read = self.read / MIB;
        // The name last: it may be longer than the terminal is wide.
        progress::at(match self.size.filter(|&size| size > 0) {
            Some(size) => format!("{} {read} of {} MiB of {}", bar(self.read, size), size / MIB, self.name),
            None => format!("{read} MiB of {}", self.name),
        });
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.read >= self.told {
            self.told = self.read + STRIDE;
            self.tell();
        }
        if !self.waits()? {
            return Ok(0);
        }
        let read = self.file.read(buffer)?;
        self.read += read as u64;
        Ok(read)
    }
}

/// How much of it is done, as a bar. A file may grow while it is read.
fn bar(done: u64, all: u64) -> String {
    const WIDTH: u64 = 24;
    let filled = (done.min(all) * WIDTH / all) as usize;
    format!("[{}{}]", "#".repeat(filled), ".".repeat(WIDTH as usize - filled))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_fills_and_no_more() {
        assert_eq!(bar(0, 1 << 30), format!("[{}]", ".".repeat(24)));
        assert_eq!(bar(1 << 29, 1 << 30), format!("[{}{}]", "#".repeat(12), ".".repeat(12)));
        assert_eq!(bar(2 << 30, 1 << 30), format!("[{}]", "#".repeat(24)));
    }
}
