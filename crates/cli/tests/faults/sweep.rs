//! Each command, killed before, killed after and failed at each of its calls in turn.

use sklookup_testbed::{Fault, Sandbox, Trial, kernel_trial};

use crate::sites::Sites;
use crate::subjects::{ROLLBACK, SUBJECTS, Subject};
use crate::world::{Effect, Step, World};

pub type Mode = (&'static str, fn(u32) -> Fault);

pub const MODES: [Mode; 4] = [
    ("killed_before", Fault::KillBefore),
    ("killed_after", Fault::KillAfter),
    ("failed", Fault::Fail),
    ("forbidden", |number| Fault::FailWith(number, "EPERM")),
];

pub fn trials() -> Vec<Trial> {
    let pairs = SUBJECTS.into_iter().flat_map(|subject| MODES.map(|mode| (subject.clone(), mode)));
    // But for those on the disk its calls are the ones of `apply`, which is swept in every way.
    let rollback = MODES[1..3].iter().map(|mode| (ROLLBACK, *mode));
    pairs
        .chain(rollback)
        .map(|(subject, (how, fault))| {
            let name = format!("{}::{how}_at_each_call", subject.name);
            kernel_trial(&name.clone(), move |sandbox| sweep(sandbox, &subject, fault, &name))
        })
        .collect()
}

/// There and back again, each time with a fault at the next call of both.
fn sweep(sandbox: &Sandbox, subject: &Subject, fault: fn(u32) -> Fault, name: &str) {
    let mut world = World::new(sandbox);
    world.done(subject.before);
    let old = world.seen();
    let mut steps = vec![Sites::of(&mut world, &subject.there)];
    steps.extend(subject.back.as_ref().map(|back| Sites::of(&mut world, back)));
    loop {
        if subject.anew {
            world.done(&[Step::Unload]);
            world.done(subject.before);
        }
        assert_eq!(world.seen(), old, "where it starts");
        for sites in &mut steps {
            let from = world.seen();
            if let Some(number) = sites.next()
                && !survives(&mut world, sites.step(), fault(number), &from)
            {
                sites.missed(number);
            }
            // The way goes on from where the command leads to, whatever became of it.
            let to = from.after(sites.step());
            if world.seen() != to {
                world.done(std::slice::from_ref(sites.step()));
            }
        }
        if steps.iter().all(Sites::are_done) {
            break;
        }
    }
    world.end();
    println!("{name}: {}; {} commands", Sites::summary(&steps), world.runs);
}

/// Runs a command with a fault, and then as if nothing had been; false: it makes no such call.
fn survives(world: &mut World<'_>, step: &Step, fault: Fault, old: &Effect) -> bool {
    let new = old.after(step);
    let (ran, calls) = world.run(step, Some(fault));
    let failed = calls.iter().find(|call| call.outcome.starts_with("failed "));
    let call = failed.or(calls.last()).map(|call| format!("{} {}", call.call, call.on)).unwrap_or_default();
    let doing = format!("{step:?} {fault}, {call}");
    let hit = match fault {
        Fault::KillBefore(_) | Fault::KillAfter(_) => ran.exit == -1,
        _ => failed.is_some(),
    };
    let seen = world.seen();
    world.agrees(&seen, &doing);
    let seen = seen.to_packets(old);
    assert!(seen == *old || seen == new, "{doing}: neither the old nor the new state: {seen:?}\n{ran:?}");
    match ran.exit {
        0 => assert_eq!(seen, new, "{doing}: it said that it is done: {ran:?}"),
        2 => {
            assert!(ran.stdout.is_empty() && ran.stderr.starts_with("sklookup: "), "{doing}: {ran:?}");
            // Who is told that it failed believes that nothing has changed.
            let told = seen == *old || ran.stderr.contains("in effect all the same");
            assert!(told, "{doing}: it said that it failed, and it is done: {ran:?}");
        }
        exit => assert_eq!((exit, hit), (-1, true), "{doing}: {ran:?}"),
    }

    let (again, _) = world.run(step, None);
    let moot = step.may_be_moot() && seen == new;
    assert!(again.exit == 0 || again.exit == 1 && moot, "{doing}: the next command: {again:?}");
    assert_eq!(world.seen(), new, "{doing}: after the next command");
    if step.sweeps() {
        world.is_tidy(&doing);
    }
    hit
}
