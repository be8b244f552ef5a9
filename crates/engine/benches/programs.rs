//! What a run of a program costs: the interpreter, and beside it the kernel on the same instructions.
//!
//! `cargo bench -p sklookup-engine --bench programs` prints the median of five rounds, and the range. The kernel's figure is
//! BPF_PROG_TEST_RUN's own, without the system call around it; where BPF can't be loaded the reason stands in its place.
//! That both give the same verdict is checked.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::time::Instant;

use sklookup_bpf::{Code, MapSpec, MapType, Parsed, ProgramSpec, parse};
use sklookup_compiler::{Family, MapRole, Options, Strategy, compile, label_map};
use sklookup_engine as engine;
use sklookup_kernel as kernel;
use sklookup_policy::{Origin, Policy, Protocol, parse_binding};

const ROUNDS: usize = 5;
/// Instructions of a round on the interpreter, about.
const INSTRUCTIONS: u64 = 10_000_000;
/// Runs of a round in the kernel.
const KERNEL_RUNS: u32 = 20_000;

/// A thousand rounds of arithmetic on a number that nobody knows before.
const ARITHMETIC: &str = "
    r0 = *(u32 *)(r1 +60)
    r1 = 1000
    again:
    r2 = r1
    r2 *= 31
    r2 ^= r0
    r2 >>= 3
    r0 += r2
    r1 -= 1
    if r1 != 0 goto again
    r0 = 1
    exit";

/// Fifty calls of a subprogram that counts in a map, in two ways.
const CALLS: &str = "
    r6 = map[counters][0]+0 ll
    r7 = 50
    again:
    r1 = r6
    r2 = r7
    call count
    r7 -= 1
    if r7 != 0 goto again
    r0 = 1
    exit
    count:
    r3 = r2
    r3 &= 1
    r3 <<= 3
    r1 += r3
    lock *(u64 *)(r1 +0) += r2
    r4 = 1
    r4 = atomic64_fetch_add((u64 *)(r1 +16), r4)
    r0 = r4
    exit";

fn main() {
    println!("{:36}{:>13}{:>26}{:>14}  kernel, ns a run", "", "instructions", "ns a run", "M a second");
    for subject in [arithmetic(), steered(), calls()] {
        subject.measure();
    }
}

/// A program to be measured.
struct Subject {
    name: &'static str,
    program: ProgramSpec,
    maps: Vec<MapSpec>,
    /// Which of the maps holds the sockmap of a label, in which there is a listener.
    label: Option<usize>,
}

fn arithmetic() -> Subject {
    Subject { name: "arithmetic, a loop", program: of_text(ARITHMETIC), maps: Vec::new(), label: None }
}

fn calls() -> Subject {
    let counters = MapSpec::new("counters", MapType::Array, 4, 32, 1);
    Subject { name: "subprogram, atomic operations", program: of_text(CALLS), maps: vec![counters], label: None }
}

/// A policy of 10,000 bindings, one of which steers the packet.
fn steered() -> Subject {
    let bindings = (0..10_000).map(|n| format!("web tcp 192.0.{}.{} 80", n / 256, n % 256));
    let entries = bindings.flat_map(|text| parse_binding(&text, Origin::Command("bench".into())).unwrap());
    let policy = Policy::new(entries.collect()).unwrap();
    let options = Options { cpus: 1, strategy: Some(Strategy::Hash), ..Options::default() };
    let compiled = compile(&policy, &options).unwrap();
    Subject {
        name: "steered, a table of 10,000 bindings",
        label: compiled.maps.iter().position(|(role, _)| *role == MapRole::Labels),
        program: compiled.program,
        maps: compiled.maps.into_iter().map(|(_, spec)| spec).collect(),
    }
}

fn of_text(text: &str) -> ProgramSpec {
    let Parsed { insns, maps } = parse(text).unwrap();
    ProgramSpec::sk_lookup("measured", Code { insns, notes: BTreeMap::new() }, maps)
}

/// Source and destination of the packet.
fn packet() -> (SocketAddr, SocketAddr) {
    (SocketAddr::from(([198, 51, 100, 9], 40_000)), SocketAddr::from(([192, 0, 2, 7], 80)))
}

/// Where the label's listener is in its sockmap.
fn slot() -> u32 {
    label_map::slot(Family::V4, Protocol::Tcp, 0)
}

impl Subject {
    fn measure(&self) {
        let (instructions, nanos) = self.on_engine();
        let [least, median, most] = nanos;
        let rate = instructions as f64 * 1e3 / median;
        let kernel = match sklookup_testbed::why_no_hook().or_else(sklookup_testbed::why_no_sandbox) {
            Some(reason) => format!("not asked: {reason}"),
            None => {
                let [least, median, most] = kernel::in_sandbox(|_| self.on_kernel()).unwrap();
                format!("{median:.0} ({least:.0} to {most:.0})")
            }
        };
        let range = format!("{median:.0} ({least:.0} to {most:.0})");
        println!("{:36}{instructions:>13}{range:>26}{rate:>14.0}  {kernel}", self.name);
    }

    /// How many instructions a run takes, and how many nanoseconds.
    fn on_engine(&self) -> (u64, [f64; 3]) {
        let machine = engine::Machine::default();
        let netns = engine::Netns::new_private(&machine);
        let listener = engine::Socket::listener(&netns, SocketAddr::from((Ipv4Addr::LOCALHOST, 9000))).unwrap();
        let maps: Vec<engine::Map> =
            self.maps.iter().map(|spec| engine::Map::create(&machine, spec).unwrap()).collect();
        if let Some(labels) = self.label {
            let map = engine::Map::create(&machine, &label_map::spec("label")).unwrap();
            let sockets: engine::Sockmap = map.try_into().unwrap();
            sockets.put(slot(), &listener).unwrap();
            maps[labels].fill_maps(&[sockets.map()]).unwrap();
        }
        let program = engine::Program::load(&machine, &self.program, &maps.iter().collect::<Vec<_>>()).unwrap();
        let (source, destination) = packet();
        let packet = engine::Context { protocol: 6, source, destination };
        let run = |repeat| program.test_run(&packet, repeat).unwrap();
        let once = run(1);
        assert_eq!((once.verdict, once.cookie.is_some()), (engine::Verdict::Pass, self.label.is_some()));
        let repeat = u32::try_from(INSTRUCTIONS / once.instructions).unwrap();
        let nanos = rounds(|| {
            let start = Instant::now();
            run(repeat);
            start.elapsed().as_nanos() as f64 / f64::from(repeat)
        });
        (once.instructions, nanos)
    }

    /// Nanoseconds of a run in the kernel.
    fn on_kernel(&self) -> [f64; 3] {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let maps: Vec<kernel::Map> = self.maps.iter().map(|spec| kernel::Map::create(spec).unwrap()).collect();
        if let Some(labels) = self.label {
            let sockets: kernel::Sockmap = kernel::Map::create(&label_map::spec("label")).unwrap().try_into().unwrap();
            sockets.put(slot(), listener.as_fd()).unwrap();
            maps[labels].fill_maps(&[sockets.map().as_fd()]).unwrap();
        }
        let fds: Vec<_> = maps.iter().map(AsFd::as_fd).collect();
        let program = kernel::Program::load(&self.program, &fds).unwrap();
        let (source, destination) = packet();
        let packet = kernel::Context { protocol: 6, source, destination };
        let run = |repeat| program.test_run(&packet, repeat).unwrap();
        let once = run(1);
        assert_eq!((once.verdict, once.cookie.is_some()), (kernel::Verdict::Pass, self.label.is_some()));
        rounds(|| run(KERNEL_RUNS).nanos as f64)
    }
}

/// Least, median and most of the rounds.
fn rounds(round: impl Fn() -> f64) -> [f64; 3] {
    let mut nanos: Vec<f64> = (0..ROUNDS).map(|_| round()).collect();
    nanos.sort_by(f64::total_cmp);
    [nanos[0], nanos[ROUNDS / 2], nanos[ROUNDS - 1]]
}
