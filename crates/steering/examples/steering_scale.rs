//! What a load and an edit of policies of three sizes cost, step by step, on the real hook: as root,
//! `cargo run --release -p sklookup-steering --example steering_scale`.
//!
//! Everything happens in a network namespace and a bpffs of its own. Peak memory is of the process, so it is that of the
//! largest policy so far.

use std::error::Error;
use std::fmt::Write;
use std::sync::Mutex;
use std::time::Instant;

use sklookup_kernel::{Netns, Sandbox, in_sandbox};
use sklookup_policy::{Entry, MAX_BINDINGS, Policy, parse_binding, parse_file};
use sklookup_steering::{Current, State, Step};

/// The last leaves room for one more.
const SIZES: [usize; 3] = [1_000, 100_000, MAX_BINDINGS - 10];

const LABELS: usize = 64;

/// When each step began.
static STEPS: Mutex<Vec<(Step, Instant)>> = Mutex::new(Vec::new());

fn main() -> Result<(), Box<dyn Error>> {
    let columns = ["file", "read", "check", "compile", "load", "switch", "sweep", "in all", "peak"];
    println!("{:>9} {:6} {}", "bindings", "", columns.map(|column| format!("{column:>8}")).concat());
    in_sandbox(|sandbox| {
        SIZES.iter().try_for_each(|&size| measure(sandbox, size)).map_err(|error| error.to_string())
    })??;
    Ok(())
}

fn measure(sandbox: &Sandbox, size: usize) -> Result<(), Box<dyn Error>> {
    let state = State::new(&sandbox.bpffs, Netns::current()?)?.watched(note);
    let text = (0..size).fold(String::from("bindings = [\n"), |mut text, n| {
        writeln!(text, "\"l{} tcp 127.{}.{}.{} 443\",", n % LABELS, n >> 16, n >> 8 & 255, n & 255)
            .expect("a String takes all");
        text
    }) + "]\n";

    let begun = Instant::now();
    let entries = parse_file(&text, "scale.toml").map_err(|problems| problems[0].clone())?;
    let file = Policy::new(entries).map_err(|problems| problems[0].clone())?;
    report(&state, size, "apply", begun, &mut |_| Ok(file.clone()))?;

    let one: Vec<Entry> = parse_binding("extra tcp 127.250.0.1 1", sklookup_policy::Origin::Command("bind".into()))?;
    report(&state, size, "bind", Instant::now(), &mut |current| {
        current.policy.with(one.clone()).map_err(sklookup_steering::Error::Policy)
    })?;
    let gone = &one[0].binding;
    report(&state, size, "unbind", Instant::now(), &mut |current| {
        Ok(current.policy.filtered(|entry| entry.binding != *gone))
    })?;
    state.unload()?;
    Ok(())
}

/// Commits, with the catches of a command, and prints how long each step took.
fn report(
    state: &State,
    size: usize,
    what: &str,
    begun: Instant,
    edit: &mut dyn FnMut(&Current<'_>) -> Result<Policy, sklookup_steering::Error>,
) -> Result<(), Box<dyn Error>> {
    STEPS.lock().expect("nobody panics with it").clear();
    state.commit(&[], &mut |current| {
        let new = edit(current)?;
        state.review(current.policy, &new, false, &[])?;
        Ok(new)
    })?;
    let end = Instant::now();
    let steps = STEPS.lock().expect("nobody panics with it");
    let mut took = [0.0; 7];
    let (starts, ends) = (steps.iter(), steps.iter().skip(1).map(|(_, began)| *began).chain([end]));
    took[0] = steps.first().map_or(0.0, |(_, began)| (*began - begun).as_secs_f64());
    for ((step, began), ended) in starts.zip(ends) {
        let column = match step {
            Step::Reading => 1,
            Step::Checking => 2,
            Step::Compiling(_) => 3,
            Step::Loading(_) => 4,
            Step::Switching => 5,
            Step::Sweeping => 6,
        };
        took[column] += (ended - *began).as_secs_f64();
    }
    let took = took.map(|seconds| format!("{seconds:>8.3}")).concat();
    println!("{size:>9} {what:6} {took}{:>8.3}{:>8}", (end - begun).as_secs_f64(), peak());
    Ok(())
}

fn note(step: Step) {
    STEPS.lock().expect("nobody panics with it").push((step, Instant::now()));
}

fn peak() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib: Option<u64> = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    kib.map_or("unknown".into(), |kib| format!("{} MiB", kib >> 10))
}
