//! A line on a terminal that says what a command is at, once it has taken a second.
//!
//! A thread draws it, for the work that is waited for never looks at a clock. The line goes when the command ends, and so
//! does the thread. A command that is interrupted leaves the line as it is: nothing about the terminal was changed.

use std::io::{self, IsTerminal, Write};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use sklookup_kernel::signals::{Signal, Signals};

use crate::output::Said;

/// Who is answered sooner than this need not be told that something happens.
const PATIENCE: Duration = Duration::from_secs(1);

/// Goes to the start of the line and empties it.
const ERASE: &str = "\r\x1b[K";

/// What is written between these stays on one line, however narrow the terminal: a second one could not be emptied.
const ONE_LINE: [&str; 2] = ["\x1b[?7l", "\x1b[?7h"];

/// One process is at one thing.
static NOW: Mutex<Now> = Mutex::new(Now { at: String::new(), ended: false, drawn: false });
static CHANGED: Condvar = Condvar::new();

struct Now {
    /// What the command is at.
    at: String,
    ended: bool,
    /// Whether the line is on the terminal.
    drawn: bool,
}

/// Draws the line until it is dropped.
pub struct Progress(Option<JoinHandle<()>>);

impl Progress {
    /// From now on, where stderr is a terminal; never if it is to be `quiet`.
    pub fn begin(quiet: bool) -> Progress {
        if quiet || !io::stderr().is_terminal() || is_dumb() {
            return Progress(None);
        }
        // No thread to be had is no reason not to do what was asked.
        Progress(thread::Builder::new().spawn(draw).ok())
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        let Some(thread) = self.0.take() else { return };
        now().ended = true;
        CHANGED.notify_all();
        // It only writes to stderr, and if that fails there is nobody to tell.
        let _ = thread.join();
    }
}

/// Says what the command is at now.
pub fn at(step: impl ToString) {
    now().at = step.to_string();
    CHANGED.notify_all();
}

/// Says something else on stderr while the command works.
pub fn say(said: &Said) {
    let mut now = now();
    now.erase();
    // Talk that nobody hears is no failure.
    let _ = said.print(&mut io::stderr());
}

fn draw() {
    // Signals are for the thread that works: it may want to read them.
    let _unread = Signals::block(&[Signal::INT, Signal::TERM]);
    let begun = Instant::now();
    let mut now = now();
    while let Some(left) = PATIENCE.checked_sub(begun.elapsed()).filter(|_| !now.ended) {
        now = CHANGED.wait_timeout(now, left).unwrap_or_else(PoisonError::into_inner).0;
    }
    while !now.ended {
        if !now.at.is_empty() {
            now.drawn = true;
            let [begin, end] = ONE_LINE;
            // At once: an interrupted command leaves the terminal as it was.
            let line = format!("{ERASE}{begin}sklookup: {}{end}", now.at);
            let _ = io::stderr().write_all(line.as_bytes());
        }
        now = CHANGED.wait(now).unwrap_or_else(PoisonError::into_inner);
    }
    now.erase();
}

/// Whether the terminal can't empty a line, or does not say what it can.
pub fn is_dumb() -> bool {
    std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb")
}

impl Now {
    fn erase(&mut self) {
        if std::mem::take(&mut self.drawn) {
            let _ = write!(io::stderr(), "{ERASE}");
        }
    }
}

fn now() -> MutexGuard<'static, Now> {
    NOW.lock().unwrap_or_else(PoisonError::into_inner)
}
