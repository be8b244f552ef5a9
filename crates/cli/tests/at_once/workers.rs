//! Who runs the commands of the stress: six with bindings, a label and a server of their own, one that applies whole
//! policies, and one that takes everything away now and then.

use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use fastrand::Rng;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde_json::Value;
use sklookup_testbed::{Fault, Sandbox, Trace};

use crate::command::{Ran, command, one_document};
use crate::history::{History, Outcome, Span};
use crate::network::{Server, answer};

/// How many workers have bindings of their own.
pub const OWNERS: usize = 6;
/// How many bindings each of them has.
const BINDINGS: usize = 4;
/// One command in so many is killed.
const KILLED: u8 = 5;
/// No command that changes something comes to the fault door more often; most come about half as often.
const CALLS: u32 = 200;
/// One turn in so many, the last worker takes everything away.
const UNLOADED: u8 = 8;

/// What can be so or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Register {
    /// A binding of a worker is applied.
    Bound { worker: usize, binding: usize },
    /// The socket of a worker is under its label.
    Registered { worker: usize },
    /// A worker has a `run`, and its server answers.
    Running { worker: usize },
    /// The bindings that every applied policy has.
    Applied,
    /// The socket of the clients' server is under its label.
    Serving,
}

/// Something that was seen.
#[derive(Debug)]
pub enum Seen {
    /// The value of a register.
    Value(Register, bool),
    /// Who answered at the address of a binding.
    Answer { worker: usize, binding: usize, by: String },
    /// Who answered at the address of a worker's `run`.
    RunAnswer { worker: usize, by: String },
    /// Who answered where every applied policy steers.
    Steered(String),
    /// Who answered where every applied policy refuses.
    Refused(String),
}

/// What all of them write down.
pub struct Log {
    pub writes: History<Register>,
    pub seen: Mutex<Vec<(Span, Seen)>>,
    /// Commands that were run, commands that were killed.
    pub commands: Mutex<(usize, usize)>,
}

impl Log {
    pub fn new() -> Log {
        Log { writes: History::new(), seen: Mutex::default(), commands: Mutex::default() }
    }

    pub fn saw(&self, span: Span, seen: Seen) {
        self.seen.lock().unwrap().push((span, seen));
    }
}

/// Bindings that every applied policy has: what the clients ask for.
pub const ALWAYS: [&str; 2] = ["main tcp 127.90.0.0/16 80 when-empty pass", "refuse tcp 127.91.0.0/16 80"];

/// The address of a binding.
pub fn address(worker: usize, binding: usize) -> String {
    format!("127.70.{worker}.{binding}:80")
}

/// The binding as one line.
pub fn line(worker: usize, binding: usize) -> String {
    format!("w{worker} tcp 127.70.{worker}.{binding} 80")
}

/// All bindings of all workers.
pub fn all_bindings() -> impl Iterator<Item = (usize, usize)> {
    (0..OWNERS).flat_map(|worker| (0..BINDINGS).map(move |binding| (worker, binding)))
}

/// The registers that a list of applied bindings shows.
pub fn shown(bindings: &Value) -> Vec<(Register, bool)> {
    // Where nothing is steered, nobody lists anything.
    let listed = bindings.as_array().map_or(&[][..], Vec::as_slice);
    let has = |destination: &str| listed.iter().any(|binding| binding["destination"] == destination);
    assert_eq!(has("127.90.0.0/16"), has("127.91.0.0/16"), "one policy came in halves");
    let bound = all_bindings()
        .map(|(worker, binding)| (Register::Bound { worker, binding }, has(&format!("127.70.{worker}.{binding}/32"))));
    bound.chain([(Register::Applied, has("127.90.0.0/16"))]).collect()
}

/// One of the eight.
pub struct Worker<'a> {
    pub number: usize,
    pub sandbox: &'a Sandbox,
    pub servers: &'a [Server],
    pub trace: &'a Trace,
    pub log: &'a Log,
    pub random: Rng,
    pub until: Instant,
}

impl Worker<'_> {
    /// Runs commands, each picked by chance, until it is time.
    pub fn work(&mut self) {
        while Instant::now() < self.until {
            match self.number {
                0..OWNERS => self.own_affairs(),
                OWNERS => {
                    self.apply();
                }
                _ if self.random.u8(..UNLOADED) == 0 => self.start_anew(),
                _ => self.look(),
            }
        }
    }

    fn own_affairs(&mut self) {
        let worker = self.number;
        let binding = self.random.usize(..BINDINGS);
        match self.random.u8(..9) {
            0 | 1 => self.bind(binding),
            2 => self.unbind(binding),
            3 => {
                self.register(worker);
            }
            4 => self.unregister(),
            5 => self.look(),
            6 if self.random.bool() => self.serve(),
            7 => {
                self.write(&["upgrade"], &[]);
            }
            _ => {
                let (by, span) = Span::of(|| answer(&address(worker, binding)));
                self.log.saw(span, Seen::Answer { worker, binding, by });
            }
        }
    }

    pub fn bind(&mut self, binding: usize) {
        let register = Register::Bound { worker: self.number, binding };
        let line = line(self.number, binding);
        self.write(&["bind", &line], &[(register, true)]);
    }

    fn unbind(&mut self, binding: usize) {
        let register = Register::Bound { worker: self.number, binding };
        let line = line(self.number, binding);
        if let (Some(1), span) = self.write(&["unbind", &line], &[(register, false)]) {
            self.log.saw(span, Seen::Value(register, false)); // it was not applied
        }
    }

    /// Registers a worker's server, or that of the clients.
    pub fn register(&mut self, worker: usize) -> Option<i32> {
        let server = &self.servers[worker];
        let register = if worker < OWNERS { Register::Registered { worker } } else { Register::Serving };
        let (pid, socket) = (std::process::id().to_string(), server.described());
        self.write(&["register", &server.name, "--pid", &pid, "--match", &socket], &[(register, true)]).0
    }

    fn unregister(&mut self) {
        let register = Register::Registered { worker: self.number };
        let label = format!("w{}", self.number);
        if let (Some(1), span) = self.write(&["unregister", &label], &[(register, false)]) {
            self.log.saw(span, Seen::Value(register, false)); // there was no such label
        }
    }

    fn apply(&mut self) -> Option<i32> {
        let chosen: Vec<(usize, usize, bool)> =
            all_bindings().map(|(worker, binding)| (worker, binding, self.random.bool())).collect();
        let lines: Vec<String> = chosen
            .iter()
            .filter(|(.., is_there)| *is_there)
            .map(|(worker, binding, _)| line(*worker, *binding))
            .chain(ALWAYS.map(str::to_owned))
            .map(|line| format!("  '{line}',\n"))
            .collect();
        let file = self.sandbox.scratch.join(format!("policy-{}.toml", self.number));
        std::fs::write(&file, format!("bindings = [\n{}]\n", lines.concat())).unwrap();
        let values: Vec<(Register, bool)> = chosen
            .into_iter()
            .map(|(worker, binding, is_there)| (Register::Bound { worker, binding }, is_there))
            .chain([(Register::Applied, true)])
            .collect();
        self.write(&["apply", file.to_str().unwrap()], &values).0
    }

    /// Takes all away, and brings back what the clients ask for.
    fn start_anew(&mut self) {
        let nothing: Vec<(Register, bool)> = all_bindings()
            .map(|(worker, binding)| Register::Bound { worker, binding })
            .chain((0..OWNERS).flat_map(|worker| [Register::Registered { worker }, Register::Running { worker }]))
            .chain([Register::Applied, Register::Serving])
            .map(|register| (register, false))
            .collect();
        self.write(&["unload"], &nothing);
        while self.apply() != Some(0) || self.register(OWNERS) != Some(0) {}
    }

    /// Has a `run` of its own for a moment.
    fn serve(&mut self) {
        let worker = self.number;
        let name = format!("r{worker}");
        let binding = format!("tcp 127.71.{worker}.1 80");
        let mut run = self
            .trace
            .of(&mut command(&["run", "--allow", "takeover", "--bind", &binding, "--"]))
            .args([std::env::current_exe().unwrap().to_str().unwrap(), "serve", &name, "tcp 127.0.0.1:0"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = Vec::new();
        let mut stderr = BufReader::new(run.stderr.take().unwrap()).lines().map_while(Result::ok);
        let (steers, span) = Span::of(|| {
            stderr.by_ref().inspect(|line| said.push(line.clone())).any(|line| line.starts_with("sklookup: steering "))
        });
        assert!(steers, "{said:?} {:?}", run.wait());
        let running = Register::Running { worker };
        self.log.writes.wrote(span, Outcome::Done, [(running, true)]);

        let (by, span) = Span::of(|| answer(&format!("127.71.{worker}.1:80")));
        self.log.saw(span, Seen::RunAnswer { worker, by });
        let kill = self.random.u8(..KILLED) == 0;
        let ((), span) = Span::of(|| {
            if kill {
                run.kill().unwrap();
            }
            // Ends the server; its standard output is closed once it has.
            drop(run.stdin.take());
            run.stdout.take().unwrap().read_to_end(&mut Vec::new()).unwrap();
            let status = run.wait().unwrap();
            said.extend(stderr);
            assert!(kill || status.success(), "{status}: {said:?}");
        });
        self.log.writes.wrote(span, Outcome::Done, [(running, false)]);
        let mut commands = self.log.commands.lock().unwrap();
        commands.0 += 1;
        commands.1 += usize::from(kill);
    }

    fn look(&mut self) {
        let which = if self.random.bool() { "list" } else { "status" };
        let (ran, span) = self.run(&[which], false);
        let ran = ran.expect("not killed");
        assert!(matches!(ran.exit, 0 | 1), "{which}: {ran:?}");
        for (register, value) in shown(&one_document(&ran)["bindings"]) {
            self.log.saw(span, Seen::Value(register, value));
        }
    }

    /// Runs a command that changes something, and writes down what it can have done; answers its exit status unless it
    /// was killed.
    fn write(&mut self, words: &[&str], values: &[(Register, bool)]) -> (Option<i32>, Span) {
        let killed = self.random.u8(..KILLED) == 0;
        let (ran, span) = self.run(words, killed);
        let exit = ran.as_ref().map(|ran| ran.exit);
        match exit {
            Some(0) => self.log.writes.wrote(span, Outcome::Done, values.iter().copied()),
            Some(1) => {}
            None => self.log.writes.wrote(span, Outcome::Unknown, values.iter().copied()),
            _ => panic!("{words:?}: {ran:?}"),
        }
        (exit, span)
    }

    /// Runs a command to its end, or kills it: at a call that is picked by chance, or after a while.
    fn run(&mut self, words: &[&str], kill: bool) -> (Option<Ran>, Span) {
        let mut command = command(&["--json"]);
        self.trace.of(&mut command).args(words).stdout(Stdio::piped()).stderr(Stdio::piped());
        if matches!(words[0], "bind" | "unbind" | "apply") {
            command.args(["--allow", "shrink,empty,takeover"]);
        }
        let call = self.random.u32(1..=CALLS);
        let after = match self.random.u8(..4) {
            _ if !kill => None,
            0 => {
                Fault::KillBefore(call).in_command(&mut command);
                None
            }
            1 => {
                Fault::KillAfter(call).in_command(&mut command);
                None
            }
            _ => Some(Duration::from_micros(self.random.u64(..60_000))),
        };
        let (ran, span) = Span::of(|| {
            let mut child = command.spawn().unwrap();
            if let Some(after) = after {
                let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).unwrap();
                let mut ended = [PollFd::new(&pidfd, PollFlags::IN)];
                poll(&mut ended, Some(&Timespec::try_from(after).unwrap())).unwrap();
                child.kill().unwrap();
            }
            Ran::from(child.wait_with_output().unwrap())
        });
        let was_killed = ran.exit == -1;
        assert!(kill || !was_killed, "{words:?} was ended by a signal: {ran:?}");
        let mut commands = self.log.commands.lock().unwrap();
        commands.0 += 1;
        commands.1 += usize::from(was_killed);
        (Some(ran).filter(|_| !was_killed), span)
    }
}
