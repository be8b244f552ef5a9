//! Ctrl-C while a capture is read.

use std::fs;
use std::io::Write;
use std::process::Child;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use sklookup_testbed::{Trial, plain_trial};

use crate::command::Ran;
use crate::world::{capture, piped};

pub fn trials() -> Vec<Trial> {
    vec![
        plain_trial("interrupted_it_shows_what_was_read_until_then", shown),
        plain_trial("interrupted_it_reads_what_the_writer_still_writes", last_words),
        plain_trial("interrupted_twice_it_does_not_wait", at_once),
    ]
}

/// A replay of a pipe, which has read so many bytes of a capture.
fn reading(bytes: &[u8]) -> Child {
    let mut child = piped(&["replay", "-", "--policy", "/dev/null"]);
    let pipe = child.stdin.as_mut().unwrap();
    pipe.write_all(bytes).unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while rustix::io::ioctl_fionread(&*pipe).unwrap() > 0 {
        assert!(Instant::now() < deadline, "nobody reads");
        std::thread::yield_now();
    }
    child
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// What it says with the pipe still open.
fn end(mut child: Child) -> Ran {
    let pipe = child.stdin.take();
    let ran = child.wait_with_output().unwrap().into();
    drop(pipe);
    ran
}

fn assert_interrupted(ran: &Ran, packets: usize) {
    assert_eq!(ran.exit, 0, "{ran:?}");
    assert!(ran.stdout.starts_with(&format!("capture    <stdin>: {packets} packets (")), "{ran:?}");
    assert_eq!(ran.stderr, "sklookup: <stdin>: interrupted: this is about what was read until then\n");
}

fn shown() {
    let bytes = fs::read(capture("ethernet.pcap")).unwrap();
    for (which, kept) in [(Signal::INT, bytes.len()), (Signal::TERM, 300)] {
        let child = reading(&bytes[..kept]);
        signal(&child, which);
        // Half a record is what an interrupted writer leaves, and no damage.
        assert_interrupted(&end(child), if kept == 300 { 3 } else { 9 });
    }
}

fn last_words() {
    let bytes = fs::read(capture("ethernet.pcap")).unwrap();
    let mut child = reading(&bytes[..300]);
    signal(&child, Signal::INT);
    let mut pipe = child.stdin.take().unwrap();
    pipe.write_all(&bytes[300..]).unwrap();
    drop(pipe);
    assert_interrupted(&end(child), 9);
}

fn at_once() {
    let bytes = fs::read(capture("ethernet.pcap")).unwrap();
    let child = reading(&bytes);
    signal(&child, Signal::INT);
    signal(&child, Signal::TERM);
    assert_interrupted(&end(child), 9);
}
