//! The line on a terminal that says how much of a long capture was read.

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::process::{Child, Stdio};

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Pid, Signal, kill_process};
use sklookup_testbed::{Terminal, Trial, fault, plain_trial};

use crate::command::{Ran, command};

pub fn trials() -> Vec<Trial> {
    vec![
        plain_trial("how_much_was_read_is_shown_on_a_terminal_until_the_end_and_nowhere_else", to_the_end),
        plain_trial("how_much_was_read_is_gone_after_ctrl_c", interrupted),
    ]
}

/// What empties the line on which the cursor is.
const ERASE: &str = "\r\x1b[K";

/// The header of a file, and that of a packet, in bytes.
const HEADERS: [u64; 2] = [24, 16];

/// A capture that nobody reads to its end: a TiB of empty packets, none of which takes any room.
struct Long {
    file: File,
    path: String,
}

impl Long {
    fn new() -> Long {
        let mut file = File::from(memfd_create("long", MemfdFlags::CLOEXEC).unwrap());
        // A pcap of Ethernet, version 2.4, with packets of up to 64 KiB.
        for word in [0xa1b2_c3d4_u32, 4 << 16 | 2, 0, 0, 1 << 16, 1] {
            file.write_all(&word.to_le_bytes()).unwrap();
        }
        file.set_len(HEADERS[0] + (1 << 40)).unwrap();
        let path = format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
        Long { file, path }
    }

    fn replay(&self) -> [&str; 4] {
        ["replay", &self.path, "--policy", "/dev/null"]
    }

    /// Ends the file behind what these have read, and lets them go on.
    fn end(&self, readers: &[&Child]) {
        for reader in readers {
            kill_process(Pid::from_child(reader), Signal::STOP).unwrap();
            assert!(fault::stops(reader));
        }
        let read = readers.iter().map(|reader| position(reader)).max().expect("somebody reads");
        let [header, packet] = HEADERS;
        self.file.set_len(header + (read - header).next_multiple_of(packet)).unwrap();
        readers.iter().for_each(|reader| fault::go_on(reader));
    }
}

/// How far a command has read its capture.
fn position(reader: &Child) -> u64 {
    let fds = format!("/proc/{}/fd", reader.id());
    let is_capture = |fd: &fs::DirEntry| fs::read_link(fd.path()).unwrap().to_string_lossy().starts_with("/memfd:long");
    let fd = fs::read_dir(fds).unwrap().map(Result::unwrap).find(is_capture).expect("it has the capture open");
    let info = format!("/proc/{}/fdinfo/{}", reader.id(), fd.file_name().display());
    let info = fs::read_to_string(info).unwrap();
    info.lines().find_map(|line| line.strip_prefix("pos:")).unwrap().trim().parse().unwrap()
}

/// The lines that a terminal has after this was shown on it.
fn lines(shown: &str) -> Vec<&str> {
    shown.lines().map(|line| line.trim_end_matches('\r').rsplit(ERASE).next().unwrap_or_default()).collect()
}

fn to_the_end() {
    let long = Long::new();
    let mut into_pipe = command(&long.replay());
    let into_pipe = into_pipe.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut terminal = Terminal::open();
    let mut watched = terminal.command(env!("CARGO_BIN_EXE_sklookup"));
    let mut watched = watched.args(long.replay()).env("TERM", "xterm").spawn().unwrap();
    let line = terminal.shows("MiB of ").to_owned();
    assert!(line.contains("sklookup: [........................] ") && line.contains(" of 1048576 MiB of "), "{line:?}");

    long.end(&[&watched, &into_pipe]);
    let shown = terminal.shows_to_the_end().to_owned();
    assert!(watched.wait().unwrap().success(), "{shown}");
    let ran: Ran = into_pipe.wait_with_output().unwrap().into();
    // It was started before the other, and has said nothing.
    assert_eq!((ran.exit, ran.stderr.as_str()), (0, ""), "{ran:?}");
    assert_eq!(lines(&shown), ran.stdout.lines().collect::<Vec<_>>());
}

fn interrupted() {
    let long = Long::new();
    let mut terminal = Terminal::open();
    let mut watched = terminal.command(env!("CARGO_BIN_EXE_sklookup"));
    let mut watched = watched.args(long.replay()).env("TERM", "xterm").spawn().unwrap();
    terminal.shows("MiB of ");
    terminal.types("\x03");
    let shown = terminal.shows_to_the_end().to_owned();
    assert!(watched.wait().unwrap().success(), "{shown}");
    let lines = lines(&shown);
    let said = format!("sklookup: {}: interrupted: this is about what was read until then", long.path);
    assert!(lines.contains(&said.as_str()), "{lines:#?}");
    assert!(lines[0].starts_with("capture  ") || lines[0] == said, "{lines:#?}");
    assert!(!lines.iter().any(|line| line.contains("MiB") || line.contains("^C")), "{lines:#?}");
}
