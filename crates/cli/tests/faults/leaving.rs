//! A socket that is registered under a label while a commit is about to let that label go.

use sklookup_testbed::{Fault, Sandbox, Trial, fault, kernel_trial};

use crate::command::Ran;
use crate::subjects::BOUND;
use crate::world::{Step, World};

pub fn trials() -> Vec<Trial> {
    vec![kernel_trial(
        "a_registration_that_is_done_while_its_label_is_let_go_outlives_the_commit_and_its_death",
        registered_at_each_call,
    )]
}

/// The label is there, has no binding and no socket: the next commit lets it go.
const EMPTY: &[Step] = &[Step::Register("new", "second"), Step::Unregister("new")];
const COMMIT: Step = Step::Bind("api tcp 127.8.0.0/16 80");

/// Stops the commit before each of its calls, registers meanwhile, and has it killed as soon as it is in effect: what is then
/// to be seen is what anybody saw at that moment had it lived.
fn registered_at_each_call(sandbox: &Sandbox) {
    let mut world = World::new(sandbox);
    world.done(BOUND);
    world.done(EMPTY);
    let calls = world.run(&COMMIT, None).1;
    let switch = calls.iter().find(|call| call.call == "BPF_LINK_UPDATE").expect("it switches").number;
    let registration = Step::Register("new", "second");
    let mut locked = 0;
    for number in 1..=switch {
        world.done(&[Step::Unload]);
        world.done(BOUND);
        world.done(EMPTY);
        let before = world.seen();
        let trace = world.trace();
        let fault = Fault::StopAndKillAfter(number, "BPF_LINK_UPDATE");
        let child = fault.in_command(trace.of(&mut world.command(&COMMIT))).spawn().unwrap();
        assert!(fault::stops(&child));
        let (registered, _) = world.run(&registration, None);
        fault::go_on(&child);
        let ran: Ran = child.wait_with_output().unwrap().into();
        let calls = world.read(&trace);
        let doing = format!("stopped before {:?}: {registered:?}, then {ran:?}", calls.get(number as usize - 1));
        if registered.exit == 0 {
            assert_eq!(world.seen(), before.after(&COMMIT).after(&registration), "{doing}");
        } else {
            // Who has the lock of the state is the one that we have stopped.
            assert!(registered.stderr.contains("locked for more than 5 s"), "{doing}");
            locked += 1;
        }
    }
    println!("{switch} calls up to the switch, {locked} registrations in vain for the lock");
    assert!(locked <= LOCKED, "{locked} of {switch} registrations waited in vain for the lock");
    world.end();
}

/// Calls that a commit makes with the lock of the state before it is in effect.
const LOCKED: u32 = 6;
