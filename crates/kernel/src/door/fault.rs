//! The door as tests have it: a switch for one call, and a trace of all.
//!
//! `SKLOOKUP_FAULT` says what happens at the n-th call of this process, counted from 1:
//!
//! | | |
//! |---|---|
//! | `kill-before:N` | the process is killed instead of making it |
//! | `kill-after:N` | the process is killed before it learns what came of it |
//! | `fail:N`, `fail:N:EPERM` | it is not made, and answers this errno, or one that such a call gives when memory, space or fds are short |
//! | `stop:N` | the process stops before it, until it gets SIGCONT |
//!
//! In place of N the name of a call stands for the first call of that name. Several switches have commas between them.
//!
//! `SKLOOKUP_FAULT_TRACE` names a file, to which each call appends a line of five columns between tabs: number, pid, call,
//! what it was made on, what came of it. The last is `ok`, an errno, `made map 812` for a new object, or what the switch
//! did: `killed`, `failed ENOMEM`. The line of a call that is killed after it is the usual one.
//!
//! # Safety
//!
//! One libc call: `raise`, with signals that no handler can catch.
#![allow(unsafe_code)]

use std::cell::RefCell;
use std::ffi::OsString;
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use rustix::io::Errno;

use super::On;
use crate::error::{errno_name, errno_named};

const SWITCH: &str = "SKLOOKUP_FAULT";
const TRACE: &str = "SKLOOKUP_FAULT_TRACE";

/// Calls that have come to the door.
static CALLS: AtomicU32 = AtomicU32::new(0);

thread_local! {
    /// The object that the call being made has made.
    static MADE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// What happens at one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    KillBefore,
    KillAfter,
    /// With this errno, or with one that suits the call.
    Fail(Option<Errno>),
    Stop,
}

/// Which call it happens at.
#[derive(Clone, Debug, PartialEq, Eq)]
enum At {
    /// The n-th of all.
    Number(u32),
    /// The first of this name.
    First(String),
}

/// Both variables, read once.
struct Watch {
    faults: Vec<(At, Fault)>,
    /// The calls that a switch names and that were made.
    named: Mutex<Vec<&'static str>>,
    trace: Option<OsString>,
}

pub(super) fn through<T>(call: &'static str, on: On<'_>, make: impl FnOnce() -> Result<T, Errno>) -> Result<T, Errno> {
    let watch = Watch::get();
    if watch.faults.is_empty() && watch.trace.is_none() {
        return make();
    }
    let number = CALLS.fetch_add(1, Ordering::Relaxed) + 1;
    // Described before the call, which may take it away.
    let on = on.to_string();
    let record = |outcome: fmt::Arguments<'_>| watch.record(number, call, &on, outcome);
    let fault = watch.fault_at(number, call);
    match fault {
        Some(Fault::KillBefore) => {
            record(format_args!("killed"));
            raise(libc::SIGKILL);
        }
        Some(Fault::Fail(errno)) => {
            let errno = errno.unwrap_or_else(|| likely(call));
            record(format_args!("failed {}", Named(errno)));
            return Err(errno);
        }
        Some(Fault::Stop) => raise(libc::SIGSTOP),
        Some(Fault::KillAfter) | None => {}
    }
    MADE.take();
    let result = make();
    match (&result, MADE.take()) {
        (Ok(_), Some(object)) => record(format_args!("made {object}")),
        (Ok(_), None) => record(format_args!("ok")),
        (Err(errno), _) => record(format_args!("{}", Named(*errno))),
    }
    if fault == Some(Fault::KillAfter) {
        raise(libc::SIGKILL);
    }
    result
}

pub(super) fn made(object: BorrowedFd<'_>) {
    if Watch::get().trace.is_some() {
        MADE.set(Some(On::Fd(object).to_string()));
    }
}

impl Watch {
    fn get() -> &'static Watch {
        static WATCH: OnceLock<Watch> = OnceLock::new();
        WATCH.get_or_init(|| Watch {
            faults: std::env::var(SWITCH).map_or_else(
                |_| Vec::new(),
                |text| {
                    // Whoever tests would otherwise test nothing, and believe that all is well.
                    text.split(',').map(parse).collect::<Option<_>>().unwrap_or_else(|| {
                        panic!("{SWITCH}={text}: write kill-before:N, kill-after:N, fail:N[:ERRNO] or stop:N")
                    })
                },
            ),
            named: Mutex::default(),
            trace: std::env::var_os(TRACE),
        })
    }

    fn fault_at(&self, number: u32, call: &'static str) -> Option<Fault> {
        let first = {
            let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
            let first = !named.contains(&call) && self.faults.iter().any(|(at, _)| *at == At::First(call.to_owned()));
            named.extend(first.then_some(call));
            first
        };
        let meant = |at: &At| match at {
            At::Number(meant) => *meant == number,
            At::First(name) => first && name == call,
        };
        self.faults.iter().find(|(at, _)| meant(at)).map(|(_, fault)| *fault)
    }

    fn record(&self, number: u32, call: &str, on: &str, outcome: fmt::Arguments<'_>) {
        let Some(file) = &self.trace else { return };
        // One write of a whole line: several processes may share the file. It is not kept open, for a command may count
        // its fds or pass them on.
        let line = format!("{number}\t{}\t{call}\t{on}\t{outcome}\n", std::process::id());
        let written = OpenOptions::new()
            .append(true)
            .create(true)
            .open(file)
            .and_then(|mut file| file.write_all(line.as_bytes()));
        written.unwrap_or_else(|error| panic!("{TRACE}={}: {error}", file.display()));
    }
}

/// Reads a switch: what, at which call.
fn parse(text: &str) -> Option<(At, Fault)> {
    let (what, rest) = text.split_once(':')?;
    let (at, errno) = match rest.split_once(':') {
        Some((at, errno)) => (at, Some(errno_named(errno)?)),
        None => (rest, None),
    };
    let fault = match (what, errno) {
        ("fail", errno) => Fault::Fail(errno),
        ("kill-before", None) => Fault::KillBefore,
        ("kill-after", None) => Fault::KillAfter,
        ("stop", None) => Fault::Stop,
        _ => return None,
    };
    let is_name = at.starts_with(|first: char| first.is_ascii_alphabetic());
    let at = if is_name { At::First(at.to_owned()) } else { At::Number(at.parse().ok().filter(|number| *number > 0)?) };
    Some((at, fault))
}

/// What a call answers when something runs short, or somebody forbids it.
fn likely(call: &str) -> Errno {
    match call {
        "flock" => Errno::NOLCK,
        "open" | "BPF_OBJ_GET" | "pidfd_getfd" => Errno::MFILE,
        "mkdir" | "symlink" | "link" | "BPF_OBJ_PIN" => Errno::NOSPC,
        "rmdir" | "BPF_MAP_FREEZE" => Errno::BUSY,
        "unlink" | "chmod" | "chown" | "mount" | "setns" | "pidfd_send_signal" | "prctl" => Errno::PERM,
        "fork" => Errno::AGAIN,
        "netlink" => Errno::NOBUFS,
        _ => Errno::NOMEM,
    }
}

/// Ends or stops this process. By `raise`, which aims at the calling thread: a signal to the process could be taken by
/// another one while this one goes on for a moment.
fn raise(signal: i32) {
    // SAFETY: takes a number; SIGKILL and SIGSTOP have no handler.
    unsafe { libc::raise(signal) };
}

impl fmt::Display for On<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            On::Nothing => f.write_str("-"),
            // No tab, no line end: the columns are told apart by them.
            On::Path(path) => write!(f, "{}", path.display().to_string().escape_debug()),
            On::Fd(fd) => write!(f, "{}", described(*fd).escape_debug()),
            On::Number(what, number) => write!(f, "{what} {number}"),
        }
    }
}

/// An object of bpf(2) or a process by its id, another file by its path.
fn described(fd: BorrowedFd<'_>) -> String {
    let number = fd.as_raw_fd();
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{number}")).unwrap_or_default();
    let field = |name: &str| info.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim()));
    // A link's info names its program too.
    for (name, what) in [("link_id", "link"), ("prog_id", "program"), ("map_id", "map"), ("Pid", "pid")] {
        if let Some(id) = field(name) {
            return format!("{what} {id}");
        }
    }
    fs::read_link(format!("/proc/self/fd/{number}"))
        .map_or_else(|_| format!("fd {number}"), |path| path.display().to_string())
}

struct Named(Errno);

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match errno_name(self.0) {
            Some(name) => f.write_str(name),
            None => write!(f, "errno {}", self.0.raw_os_error()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_switch_says_what_happens_at_which_call() {
        assert_eq!(parse("kill-before:1"), Some((At::Number(1), Fault::KillBefore)));
        assert_eq!(parse("kill-after:12"), Some((At::Number(12), Fault::KillAfter)));
        assert_eq!(parse("stop:3"), Some((At::Number(3), Fault::Stop)));
        assert_eq!(parse("fail:3"), Some((At::Number(3), Fault::Fail(None))));
        let first = At::First("BPF_LINK_UPDATE".to_owned());
        assert_eq!(parse("kill-after:BPF_LINK_UPDATE"), Some((first, Fault::KillAfter)));
        assert_eq!(parse("fail:3:EPERM"), Some((At::Number(3), Fault::Fail(Some(Errno::PERM)))));
    }

    #[test]
    fn a_switch_that_says_nothing_is_not_a_switch() {
        for text in ["", "fail", "fail:", "fail:0", "fail:3x", "fail:1:EWHAT", "stop:1:EPERM", "kill:1", "fail:1:"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn what_a_call_answers_when_it_is_made_to_fail_has_a_name() {
        for call in ["flock", "open", "mkdir", "rmdir", "unlink", "fork", "netlink", "BPF_PROG_LOAD"] {
            assert!(errno_name(likely(call)).is_some(), "{call}");
        }
    }
}
