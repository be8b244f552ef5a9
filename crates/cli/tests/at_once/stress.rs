//! Eight processes at once for a minute, some of them killed, while two clients connect all the time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use fastrand::Rng;
use sklookup_testbed::{Leftovers, Sandbox, Trace, Trial, kernel_trial};

use crate::command::{document, sklookup};
use crate::history::Span;
use crate::network::{REFUSED, Server, answer, serve};
use crate::workers::{Log, OWNERS, Register, Seen, Worker, shown};

const LASTS: Duration = Duration::from_secs(60);
const WORKERS: usize = 8;

pub fn trials() -> Vec<Trial> {
    vec![kernel_trial("a_minute_of_eight_processes_with_some_killed_gives_no_wrong_answer_and_loses_nothing", stress)]
}

fn stress(sandbox: &Sandbox) {
    let seed = std::env::var("SEED").ok().map_or_else(|| Rng::new().u64(..), |seed| seed.parse().expect("a number"));
    println!("repeat with SEED={seed}");
    let mut random = Rng::with_seed(seed);

    let mut servers: Vec<Server> =
        (0..OWNERS).map(|worker| Server::open(&format!("w{worker}"), "127.0.0.1:0")).collect();
    servers.push(Server::open("main", "127.0.0.1:0"));
    // Who gets what no policy takes.
    servers.push(Server::open("regular", "0.0.0.0:80"));
    let (log, until) = (Log::new(), Instant::now() + LASTS);
    let trace = Trace::new(sandbox.scratch.join("trace"));
    let (stop, stopped) = rustix::pipe::pipe().unwrap();

    std::thread::scope(|scope| {
        scope.spawn(|| serve(&servers, &stop));
        let stop_serving = stopped;
        std::thread::scope(|scope| {
            for number in 0..WORKERS {
                let random = random.fork();
                let mut worker = Worker { number, sandbox, servers: &servers, trace: &trace, log: &log, random, until };
                scope.spawn(move || worker.work());
            }
            let (mut one, mut other) = (random.fork(), random.fork());
            let log = &log;
            scope.spawn(move || steered(log, &mut one, until));
            scope.spawn(move || refused(log, &mut other, until));
        });
        settle(Worker {
            number: 0,
            sandbox,
            servers: &servers,
            trace: &trace,
            log: &log,
            random: random.fork(),
            until,
        });
        drop(stop_serving);
    });
    let connections = explain(&log);
    let (commands, killed) = *log.commands.lock().unwrap();
    println!("{commands} commands, {killed} of them killed, {connections} connections, {} writes", log.writes.len());
    // A machine on which next to nothing happened has shown nothing.
    assert!(commands > 100 && killed > 5 && connections > 500);

    assert_eq!(sklookup(&["unload"]).exit, 0);
    assert_eq!(Leftovers::of(sandbox, &trace), Leftovers::default());
}

/// A client of the steered address, and of one that no policy knows.
fn steered(log: &Log, random: &mut Rng, until: Instant) {
    step_back();
    while Instant::now() < until {
        let (by, span) = Span::of(|| answer(&format!("127.90.{}.{}:80", random.u8(..), random.u8(1..255))));
        log.saw(span, Seen::Steered(by));
        assert_eq!(answer("127.92.0.1:80"), "regular", "no policy has anything to do with this");
    }
}

/// A client of the refused address.
fn refused(log: &Log, random: &mut Rng, until: Instant) {
    step_back();
    while Instant::now() < until {
        let (by, span) = Span::of(|| answer(&format!("127.91.{}.{}:80", random.u8(..), random.u8(1..255))));
        log.saw(span, Seen::Refused(by));
    }
}

/// Clients never pause, so on a small machine they leave little to the commands; a nice value belongs to the thread.
fn step_back() {
    rustix::process::nice(10).unwrap();
}

/// When all is quiet: everything has its socket, nothing is left over, and what is applied is seen.
fn settle(mut last: Worker<'_>) {
    let sandbox = last.sandbox;
    for worker in (0..=OWNERS).rev() {
        while last.register(worker) != Some(0) {}
    }
    // What the killed have left is swept by the next commit, and that is one for certain.
    last.bind(0);
    let (ran, span) = Span::of(|| document(&["list"]).1);
    for (register, value) in shown(&ran["bindings"]) {
        last.log.saw(span, Seen::Value(register, value));
    }
    assert_eq!(sklookup(&["bind", "last", "tcp", "127.93.0.1", "80", "--allow", "takeover"]).exit, 0);
    assert_eq!(sklookup(&["unbind", "last", "tcp", "127.93.0.1", "80"]).exit, 0);

    let (exit, status) = document(&["status"]);
    assert_eq!(exit, 0, "{status:#}");
    let left = Leftovers::of(sandbox, last.trace);
    let [live] = left.attached[..] else { panic!("{left:?}") };
    let state = format!("sklookup/{}", sandbox.netns.inode());
    let entry = |name: &str| format!("{state}/{name}");
    let generation = |id: String| entry(&format!("gen-{id}"));
    let parent = status["policy"]["parent"].to_string();
    let tops = BTreeSet::from([entry("current"), entry("link"), generation(live.to_string()), generation(parent)]);
    let is_top = |name: &&String| name.strip_prefix(&format!("{state}/")).is_some_and(|rest| !rest.contains('/'));
    assert_eq!(left.pins.iter().filter(is_top).cloned().collect::<BTreeSet<_>>(), tops);
    assert_eq!(left.objects, BTreeSet::new(), "everything that is still there is pinned");
}

/// Whether all that was seen can be explained by what was done; answers how many connections were among it.
fn explain(log: &Log) -> usize {
    let seen = log.seen.lock().unwrap();
    let mut wrong = BTreeMap::new();
    let mut connections = 0;
    for (span, seen) in seen.iter() {
        let possible = |register| log.writes.possible(&register, *span);
        let explained = match seen {
            Seen::Value(register, value) => possible(*register).contains(value),
            Seen::Answer { worker: w, binding, by } => {
                let bound = possible(Register::Bound { worker: *w, binding: *binding });
                let registered = possible(Register::Registered { worker: *w });
                combined(&bound, &registered).any(|state| match state {
                    (false, _) => by == "regular",
                    (true, true) => *by == format!("w{w}"),
                    (true, false) => by == REFUSED,
                })
            }
            Seen::RunAnswer { worker, by } => possible(Register::Running { worker: *worker })
                .iter()
                .any(|runs| *by == if *runs { format!("r{worker}") } else { "regular".to_owned() }),
            Seen::Steered(by) => {
                let (applied, serving) = (possible(Register::Applied), possible(Register::Serving));
                combined(&applied, &serving).any(|state| by == if state == (true, true) { "main" } else { "regular" })
            }
            Seen::Refused(by) => {
                possible(Register::Applied).iter().any(|applied| by == if *applied { REFUSED } else { "regular" })
            }
        };
        connections += usize::from(!matches!(seen, Seen::Value(..)));
        if !explained {
            let what = format!("{seen:?} in {:?}\n{}", span.end - span.start, log.writes.around(*span));
            wrong.insert(span.start, what);
        }
    }
    if let Some((_, first)) = wrong.first_key_value() {
        panic!("{} things that nothing explains, the first: {first}", wrong.len());
    }
    connections
}

fn combined(a: &[bool], b: &[bool]) -> impl Iterator<Item = (bool, bool)> {
    a.iter().flat_map(|a| b.iter().map(|b| (*a, *b)))
}
