//! The command: waiting for what happens to it, passing signals on, and ending it.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use sklookup_kernel::process::Process;
use sklookup_kernel::signals::{self, Origin, Received, Signal, Signals};
use sklookup_kernel::spawn::{self, Exit};

use crate::command::run::watch::Watch;
use crate::output::Failure;

/// What is passed on. Those that stop a job (`SIGTSTP` and its kin) are left alone: they reach the command by themselves
/// or are meant for us, and stop us as they would anyone.
const PASSED_ON: [Signal; 7] =
    [Signal::TERM, Signal::HUP, Signal::INT, Signal::QUIT, Signal::USR1, Signal::USR2, Signal::WINCH];

/// How long the command has to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(5);

/// A command that was started.
#[derive(Debug)]
pub struct Child<'a> {
    command: spawn::Child,
    signals: &'a mut Signals,
    exit: Option<Exit>,
}

/// Makes the signals that concern us wait to be read.
pub fn block_signals() -> Result<Signals, Failure> {
    let mut all = PASSED_ON.to_vec();
    all.push(Signal::CHILD);
    Ok(Signals::block(&all)?)
}

/// The signal that came before there was a command to pass it to, if it means the end.
pub fn told_to_end(signals: &mut Signals) -> Result<Option<i32>, Failure> {
    let ends = [Signal::TERM, Signal::HUP, Signal::INT, Signal::QUIT].map(Signal::as_raw);
    let mut told = None;
    while let Some(received) = signals.read()? {
        told = told.or(ends.contains(&received.number).then_some(received.number));
    }
    Ok(told)
}

impl<'a> Child<'a> {
    /// The command, and the signals that are for it.
    pub fn new(command: spawn::Child, signals: &'a mut Signals) -> Child<'a> {
        Child { command, signals, exit: None }
    }

    /// Its pid.
    pub fn pid(&self) -> u32 {
        self.command.pid()
    }

    /// How it ended; `None`: it runs.
    pub fn exit(&self) -> Option<Exit> {
        self.exit
    }

    /// Waits until something happens, at most this long, and does what there is to do about it.
    pub fn attend(&mut self, timeout: Duration, watch: &Watch<'_>) -> Result<(), Failure> {
        if signals::wait_readable(&[self.signals.as_fd()], Some(timeout))? != [true] {
            return Ok(());
        }
        while let Some(received) = self.signals.read()? {
            if received.number != Signal::CHILD.as_raw() {
                self.pass_on(received, watch);
                continue;
            }
            // One for many: each that has ended is taken leave of.
            if let Some(exit) = spawn::reap(&self.command)? {
                self.exit = Some(exit);
            }
        }
        Ok(())
    }

    /// Ends the command and all that it started.
    pub fn end(&mut self, watch: &Watch<'_>) -> Result<(), Failure> {
        for signal in [Signal::TERM, Signal::KILL] {
            if self.exit.is_none() {
                // By its own fd, whatever becomes of the look at the others.
                let _ = self.command.send(signal);
            }
            let others = watch.pids().unwrap_or_default();
            others.into_iter().filter(|pid| *pid != self.pid()).for_each(|pid| tell(pid, signal));
            let told = Instant::now();
            while self.exit.is_none() || watch.is_alone().is_ok_and(|alone| !alone) {
                let left = GRACE.saturating_sub(told.elapsed());
                if left.is_zero() {
                    break;
                }
                self.attend(left, watch)?;
            }
        }
        Ok(())
    }

    fn pass_on(&self, received: Received, watch: &Watch<'_>) {
        let Some(signal) = Signal::from_named_raw(received.number) else { return };
        let from_terminal = received.origin == Origin::Kernel;
        if self.exit.is_none() {
            let (own, theirs) = (place(std::process::id()), place(self.pid()));
            // A key of the terminal reaches everyone in the foreground group without our help. That the terminal is gone is
            // told to the leader of the session alone.
            let alone = signal == Signal::HUP && own.is_some_and(|own| own.session == std::process::id());
            let reached = from_terminal && !alone && own.map(|own| own.group) == theirs.map(|theirs| theirs.group);
            if !reached {
                let _ = self.command.send(signal);
            }
            return;
        }
        // Gone to the background: the signal is for the daemon, and its workers hear from it.
        for pid in watch.daemons().unwrap_or_default() {
            tell(pid, signal);
        }
    }
}

/// Sends a signal; who has ended meanwhile needs none.
fn tell(pid: u32, signal: Signal) {
    if let Ok(process) = Process::open(pid) {
        let _ = signals::send(process.as_fd(), signal);
    }
}

/// Where a process stands among those of a terminal.
#[derive(Clone, Copy)]
struct Place {
    group: u32,
    session: u32,
}

/// Fields 5 and 6 of its stat; the name before them may hold anything but ends at the last `)`.
fn place(pid: u32) -> Option<Place> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    let after_name = stat.iter().rposition(|byte| *byte == b')')? + 1;
    let mut fields = std::str::from_utf8(&stat[after_name..]).ok()?.split_whitespace().skip(2);
    Some(Place { group: fields.next()?.parse().ok()?, session: fields.next()?.parse().ok()? })
}

/// What people know a process by: its name and pid.
pub fn described(pid: u32) -> String {
    match Process::open(pid).and_then(|process| process.name()) {
        Ok(name) => format!("{name} (pid {pid})"),
        Err(_) => format!("pid {pid}"),
    }
}
