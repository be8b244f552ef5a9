//! Each command, stopped before each of its calls in turn while another one runs to its end, and then continued.

use sklookup_testbed::{Fault, Sandbox, Trial, fault, kernel_trial};

use crate::command::Ran;
use crate::sites::{self, Sites};
use crate::subjects::{BOUND, OTHER, SUBJECTS, Subject};
use crate::world::{Effect, Step, World};

pub fn trials() -> Vec<Trial> {
    let turns: Vec<Option<usize>> =
        if sites::all_are_asked_for() { vec![Some(0), Some(1), Some(2)] } else { vec![None] };
    let pairs =
        SUBJECTS.into_iter().flat_map(|subject| turns.clone().into_iter().map(move |turn| (subject.clone(), turn)));
    pairs
        .map(|(subject, turn)| {
            let with = turn.map_or_else(String::new, |turn| format!("_{}", others(&subject.there)[turn].name()));
            let name = format!("{}::stopped_at_each_call_while_another_runs{with}", subject.name);
            kernel_trial(&name.clone(), move |sandbox| sweep(sandbox, &subject, turn, &name))
        })
        .chain([kernel_trial("a_generation_that_is_put_into_effect_while_a_sweeper_reaches_for_it_stays", reached_for)])
        .collect()
}

/// What runs meanwhile: something that leaves alone what the stopped one changes, something that leaves nothing alone, and the
/// same once more.
fn others(step: &Step) -> [Step; 3] {
    [Step::Bind(OTHER), Step::Unload, step.clone()]
}

fn sweep(sandbox: &Sandbox, subject: &Subject, turn: Option<usize>, name: &str) {
    let mut world = World::new(sandbox);
    world.done(subject.before);
    let old = world.seen();
    let mut steps = vec![Sites::of(&mut world, &subject.there)];
    let new = world.seen();
    steps.extend(subject.back.as_ref().map(|back| Sites::of(&mut world, back)));
    let mut waited = 0;
    for (from, sites) in [&old, &new].into_iter().zip(&mut steps) {
        while let Some(number) = sites.next() {
            if subject.anew {
                world.done(&[Step::Unload]);
                world.done(subject.before);
                if *from != old {
                    world.done(std::slice::from_ref(&subject.there));
                }
            } else {
                world.go_to(from);
            }
            let other = &others(sites.step())[turn.unwrap_or(number as usize % 3)];
            match overtaken(&mut world, sites.step(), other, number) {
                Some(locked) => waited += usize::from(locked),
                None => sites.missed(number),
            }
        }
    }
    world.end();
    println!("{name}: {}; {} commands, {waited} in vain for a lock", Sites::summary(&steps), world.runs);
}

/// Stops `step` before a call, and has `other` run meanwhile. Whether that waited for the stopped one in vain; `None`: there
/// is no such call.
fn overtaken(world: &mut World<'_>, step: &Step, other: &Step, number: u32) -> Option<bool> {
    let old = world.seen();
    let trace = world.trace();
    let child = Fault::Stop(number).in_command(trace.of(&mut world.command(step))).spawn().unwrap();
    if !fault::stops(&child) {
        let ran: Ran = child.wait_with_output().unwrap().into();
        world.read(&trace);
        assert_eq!(ran.exit, 0, "{ran:?}");
        return None;
    }
    let stopped = child.id();
    let at = world.seen();
    let (meanwhile, _) = world.run(other, None);
    let between = world.seen();
    fault::go_on(&child);
    let ran: Ran = child.wait_with_output().unwrap().into();
    let calls = world.read(&trace);
    let last = world.seen();
    let before = calls.iter().find(|call| call.number == number).expect("it went on there");
    let doing = format!(
        "{step:?} stopped before {number}, {} {}, while {other:?}\nthe other: {meanwhile:?}\nthe stopped: {ran:?}\n\
         at first: {old:?}\nwhen it stopped: {at:?}\nwhen it went on: {between:?}\nin the end: {last:?}\n",
        before.call, before.on
    );

    let at = at.to_packets(&old);
    let was_done = at != old;
    assert!(!was_done || at == old.after(step), "{doing}neither the old nor the new state");
    let locked = meanwhile.exit == 2;
    if locked {
        // Only the lock of the state is waited for, not for long, and who holds it is named.
        let named = format!("locked for more than 5 s by process {stopped}");
        assert!(meanwhile.stderr.contains(&named), "{doing}it could not be done, and not for a lock");
        assert_eq!(between.to_packets(&old), at, "{doing}it could not be done, and is");
    } else {
        assert!(meanwhile.exit == 0 || meanwhile.exit == 1 && other.may_be_moot(), "{doing}the other one failed");
        assert_eq!(between, at.after(other), "{doing}the other one said that it is done");
    }

    assert!(ran.exit == 0 || ran.exit == 1 && step.may_be_moot(), "{doing}the stopped one failed");
    assert!(possible(step, &between, was_done).contains(&last), "{doing}not what they add up to");
    world.agrees(&last, &doing);

    world.done(&[Step::Bind(OTHER)]);
    assert_eq!(world.seen(), last.after(&Step::Bind(OTHER)), "{doing}after the next command");
    world.is_tidy(&doing);
    Some(locked)
}

/// What may be in effect once a command that was stopped has ended, given what was in effect when it went on.
fn possible(step: &Step, between: &Effect, was_done: bool) -> Vec<Effect> {
    let after = between.after(step);
    match (was_done, step) {
        (false, _) => vec![after],
        // It looks whether what it put into the label is still there, and puts it there again.
        (true, Step::Register(..)) => vec![between.clone(), after],
        (true, _) => vec![between.clone()],
    }
}

/// Two are stopped: a writer before it switches, and a sweeper that took what the writer has made for litter, before it
/// opens the directory to lock it. Then the writer comes to its end first.
fn reached_for(sandbox: &Sandbox) {
    let (writer, undo, sweeper) = (Step::Bind(OTHER), Step::Unbind(OTHER), &BOUND[0]);
    let mut world = World::new(sandbox);
    world.done(BOUND);
    // Twice: the first time what it builds on has no parent.
    world.done(&[writer.clone(), undo.clone()]);
    let calls = world.run(&writer, None).1;
    let switch = calls.iter().find(|call| call.call == "BPF_LINK_UPDATE").expect("it switches").number;
    world.done(&[undo]);
    let old = world.seen();

    let trace = world.trace();
    let committing = Fault::Stop(switch).in_command(trace.of(&mut world.command(&writer))).spawn().unwrap();
    assert!(fault::stops(&committing));
    let calls = world.run(sweeper, None).1;
    let reach = calls.iter().find(|call| call.call == "open" && call.on.contains("/gen-")).expect("it looks").number;
    let sweeping = Fault::Stop(reach).in_command(trace.of(&mut world.command(sweeper))).spawn().unwrap();
    assert!(fault::stops(&sweeping));
    for child in [committing, sweeping] {
        fault::go_on(&child);
        let ran: Ran = child.wait_with_output().unwrap().into();
        assert_eq!(ran.exit, 0, "{ran:?}");
    }
    let calls = world.read(&trace);
    assert!(calls.iter().any(|call| call.number == switch && call.call == "BPF_LINK_UPDATE"), "{calls:?}");
    assert_eq!(world.seen(), old.after(&writer));
    world.is_tidy("in the end");
    world.end();
}
