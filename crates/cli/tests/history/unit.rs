//! The systemd unit: what it starts is a command line of ours, and what it may do is enough for it.

use sklookup_testbed::{Sandbox, Trial, kernel_trial};

use crate::command::sklookup;
use crate::world::{applied, bind, name, reboot};

pub fn trials() -> Vec<Trial> {
    vec![kernel_trial("what_the_unit_starts_brings_the_last_policy_back", starts)]
}

const UNIT: &str = include_str!("../../../../examples/systemd/sklookup.service");

fn settings(key: &str) -> Vec<&'static str> {
    UNIT.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect()
}

fn starts(sandbox: &Sandbox) {
    let commands = settings("ExecStart");
    let [command] = commands[..] else { panic!("one command: {commands:?}") };
    let (program, arguments) = command.split_once(' ').unwrap();
    assert!(program.starts_with('/') && program.ends_with("/sklookup"), "{program}");
    let arguments: Vec<&str> = arguments.split(' ').collect();
    assert_eq!(sklookup(&[&arguments[..], &["--help"]].concat()).exit, 0, "{arguments:?}");
    assert_eq!(settings("StateDirectory"), ["sklookup"], "the directory that is the default");

    name(&sandbox.netns);
    // At the first boot of all there is nothing, which is no failure of the unit.
    let exit = sklookup(&arguments).exit;
    assert!(settings("SuccessExitStatus").contains(&exit.to_string().as_str()), "{exit}");
    bind("web tcp 127.7.0.0/16 80");
    let before = applied();
    let fresh = reboot(sandbox);
    fresh
        .run(|| {
            assert_eq!(sklookup(&arguments).exit, 0);
            assert_eq!(applied(), before);
        })
        .unwrap();
}
