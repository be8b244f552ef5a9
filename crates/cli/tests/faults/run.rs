//! `run`, at each of its calls: what it added goes with it, whatever becomes of it.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use sklookup_testbed::trace::Call;
use sklookup_testbed::{Fault, Sandbox, Trace, Trial, fault, kernel_trial};

use crate::command::{Ran, command};
use crate::sites::Sites;
use crate::subjects::{BOUND, OTHER};
use crate::sweep::MODES;
use crate::world::{Effect, Step, World};

/// What it binds, and an address in there.
const BINDING: &str = "tcp 127.8.0.0/16 80";
const ADDRESS: &str = "127.8.0.1:80";

pub fn trials() -> Vec<Trial> {
    let killed_or_failed = MODES.map(|(how, fault)| {
        let name = format!("run::{how}_at_each_call");
        kernel_trial(&name.clone(), move |sandbox| {
            sweep(sandbox, &name, |world, number| survives(world, fault(number)))
        })
    });
    let stopped = kernel_trial("run::stopped_at_each_call_while_another_runs", |sandbox| {
        sweep(sandbox, "run::stopped_at_each_call_while_another_runs", overtaken);
    });
    killed_or_failed.into_iter().chain([stopped]).collect()
}

fn sweep(sandbox: &Sandbox, name: &str, mut disturbed: impl FnMut(&mut World<'_>, u32) -> bool) {
    let mut world = World::new(sandbox);
    world.done(BOUND);
    let old = world.seen();
    let (ran, calls) = Run::start(&mut world, None).end(&mut world);
    assert_eq!(ran.exit, 0, "{ran:?}");
    assert_eq!(world.seen(), old, "undisturbed, it leaves nothing");
    let mut sites = Sites::among(Step::Run, &calls);
    while let Some(number) = sites.next() {
        if !disturbed(&mut world, number) {
            sites.missed(number);
        }
        world.go_to(&old);
    }
    world.end();
    println!("{name}: {}; {} commands", Sites::summary(&[sites]), world.runs);
}

/// A `run` of a server that ends once it was steered to.
struct Run {
    child: Child,
    /// The server ends when this is closed.
    stdin: Arc<Mutex<Option<ChildStdin>>>,
    /// Reads what is said, and ends the server.
    listener: JoinHandle<String>,
    trace: Trace,
}

impl Run {
    fn start(world: &mut World<'_>, fault: Option<Fault>) -> Run {
        let own = std::env::current_exe().unwrap();
        let server = [own.to_str().unwrap(), "serve", "server", "tcp 127.0.0.1:0"];
        let mut run = command(&[&["run", "--bind", BINDING, "--"][..], &server].concat());
        run.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let trace = world.trace();
        trace.of(&mut run);
        if let Some(fault) = fault {
            fault.in_command(&mut run);
        }
        let mut child = run.spawn().unwrap();
        let stdin = Arc::new(Mutex::new(child.stdin.take()));
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let ends = stdin.clone();
        let listener = std::thread::spawn(move || {
            let mut said = String::new();
            for line in stderr.lines() {
                let line = line.unwrap();
                if line.starts_with("sklookup: steering ") {
                    TcpStream::connect(ADDRESS).expect("it said that it steers");
                    drop(ends.lock().unwrap().take());
                }
                said.push_str(&line);
                said.push('\n');
            }
            said
        });
        Run { child, stdin, listener, trace }
    }

    /// Waits until it, and its server, have ended.
    fn end(mut self, world: &mut World<'_>) -> (Ran, Vec<Call>) {
        assert!(!fault::stops(&self.child), "it stops once at most");
        // Killed before it steered, it leaves its server alone.
        drop(self.stdin.lock().unwrap().take());
        let stderr = self.listener.join().unwrap();
        let exit = self.child.wait().unwrap().code().unwrap_or(-1);
        (Ran { exit, stdout: String::new(), stderr }, world.read(&self.trace))
    }
}

/// Runs it with a fault, and another command after it; false: it makes no such call.
fn survives(world: &mut World<'_>, fault: Fault) -> bool {
    let old = world.seen();
    let (ran, calls) = Run::start(world, Some(fault)).end(world);
    let failed = calls.iter().find(|call| call.outcome.starts_with("failed "));
    let call = failed.or(calls.last()).map(|call| format!("{} {}", call.call, call.on)).unwrap_or_default();
    let doing = format!("run {fault}, {call}: {ran:?}");
    let seen = world.seen();
    assert_eq!(seen.without_runs(), old, "{doing}: what others applied");
    let left = seen != old;
    match ran.exit {
        0 => assert!(!left, "{doing}: it said that it ended well: {seen:?}"),
        125 | 126 => {
            assert!(ran.stderr.lines().any(|line| line.starts_with("sklookup: ")), "{doing}: no reason");
            assert!(!left || ran.stderr.contains("take back what this run added"), "{doing}: {seen:?}");
        }
        exit => assert_eq!(exit, -1, "{doing}"),
    }
    next_command_works(world, &old, &doing);
    match fault {
        Fault::KillBefore(_) | Fault::KillAfter(_) => ran.exit == -1,
        _ => failed.is_some(),
    }
}

/// Stops it before a call, and has another command run meanwhile; false: it makes no such call.
fn overtaken(world: &mut World<'_>, number: u32) -> bool {
    let old = world.seen();
    let run = Run::start(world, Some(Fault::Stop(number)));
    if !fault::stops(&run.child) {
        run.end(world);
        return false;
    }
    let stopped = run.child.id();
    let other = if number.is_multiple_of(2) { Step::Unload } else { Step::Bind(OTHER) };
    let at = world.seen();
    let (meanwhile, _) = world.run(&other, None);
    let between = world.seen();
    fault::go_on(&run.child);
    let (ran, calls) = run.end(world);
    let last = world.seen();
    let before = calls.iter().find(|call| call.number == number).expect("it went on there");
    let doing = format!(
        "run stopped before {number}, {} {}, while {other:?}\nthe other: {meanwhile:?}\nthe run: {ran:?}\n\
         when it stopped: {at:?}\nwhen it went on: {between:?}\nin the end: {last:?}\n",
        before.call, before.on
    );
    assert_eq!(at.without_runs(), old, "{doing}what others applied, when it stopped");
    let expected = if meanwhile.exit == 2 {
        let named = format!("locked for more than 5 s by process {stopped}");
        assert!(meanwhile.stderr.contains(&named), "{doing}it could not be done, and not for a lock");
        old
    } else {
        assert_eq!(meanwhile.exit, 0, "{doing}the other one failed");
        old.after(&other)
    };
    assert_eq!(between.without_runs(), expected, "{doing}what others applied, when it went on");
    assert_eq!(ran.exit, 0, "{doing}the run failed");
    assert_eq!(last, expected, "{doing}it leaves what others applied");
    next_command_works(world, &expected, &doing);
    true
}

/// And takes away what a dead `run` has left.
fn next_command_works(world: &mut World<'_>, before: &Effect, doing: &str) {
    world.done(&[Step::Bind(OTHER)]);
    let after = world.seen();
    assert_eq!(after, before.after(&Step::Bind(OTHER)), "{doing}: after the next command");
    world.agrees(&after, doing);
    world.is_tidy(doing);
}
