//! A `watch` that runs, and what it says.

use std::io::{BufRead, BufReader};
use std::os::fd::AsFd;
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use sklookup_testbed::Trace;

use crate::command::command;

/// Longer than anything here takes; what takes this long has failed.
const LONG: Timespec = Timespec { tv_sec: 60, tv_nsec: 0 };

/// A `watch`, with `--json`. Dropped, it is killed.
pub struct Eye {
    child: Child,
    out: BufReader<ChildStdout>,
    err: BufReader<ChildStderr>,
}

impl Eye {
    /// Begins to watch; answers when it does.
    pub fn open(arguments: &[&str]) -> Eye {
        Eye::start(&mut command(&[&["watch", "--json"], arguments].concat()))
    }

    /// The same, with its calls written down.
    pub fn traced(trace: &Trace, arguments: &[&str]) -> Eye {
        Eye::start(trace.of(&mut command(&[&["watch", "--json"], arguments].concat())))
    }

    fn start(command: &mut Command) -> Eye {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let err = BufReader::new(child.stderr.take().unwrap());
        let mut eye = Eye { child, out, err };
        let said = eye.says();
        assert!(said.starts_with("sklookup: watching ") || said.starts_with("sklookup: nothing is steered"), "{said}");
        eye
    }

    /// The next line that it says besides.
    pub fn says(&mut self) -> String {
        line(&mut self.err)
    }

    /// The next document.
    pub fn next(&mut self) -> Value {
        let line = line(&mut self.out);
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    /// The next event: what, the packet without its source port, by which label or action, and what became of it.
    pub fn event(&mut self) -> String {
        let event = loop {
            let document = self.next();
            if document.get("event").is_some() {
                break document;
            }
        };
        let word = |name: &str| event[name].as_str().unwrap_or_else(|| panic!("{name}: {event}")).to_owned();
        let packet = word("packet");
        let (protocol, rest) = packet.split_once(' ').unwrap();
        let (_, destination) = rest.split_once(" > ").unwrap();
        let binding = &event["binding"];
        let by = binding["label"].as_str().or(binding["action"].as_str()).unwrap();
        format!("{} {protocol} {destination} {by} {}", word("event"), word("fate"))
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Ends it as Ctrl-C does; answers its exit status and its last document.
    pub fn end(mut self) -> (Option<i32>, Value) {
        self.signal(Signal::INT);
        let mut last = Value::Null;
        let mut line = String::new();
        while self.out.read_line(&mut line).unwrap() > 0 {
            last = serde_json::from_str(&line).unwrap();
            line.clear();
        }
        (self.child.wait().unwrap().code(), last)
    }

    /// Waits until it ends by itself; answers its last document.
    pub fn ended(mut self) -> (Option<i32>, Value) {
        let last = self.next();
        (self.child.wait().unwrap().code(), last)
    }

    /// Kills it, so that it can do nothing more.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Eye {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn line(from: &mut BufReader<impl std::io::Read + AsFd>) -> String {
    let mut line = String::new();
    if from.buffer().is_empty() {
        let mut fds = [PollFd::new(from.get_ref(), PollFlags::IN)];
        assert_ne!(poll(&mut fds, Some(&LONG)).unwrap(), 0, "it says nothing");
    }
    from.read_line(&mut line).unwrap();
    line
}
