//! `replay`: what a policy would do to recorded traffic.

mod document;
mod input;
mod sums;
mod text;

use std::path::Path;

use sklookup_policy::Policy;
use sklookup_replay::{Devices, OpenError, Options, REMEMBERED_FLOWS};

use crate::args::{Global, Replay};
use crate::context::{existing_state, named, read_policy};
use crate::escape::printable;
use crate::output::{Answer, COULD_NOT, Failure, NO, Said, YES};
use input::Input;
use sums::{Changes, Sums};

/// A policy, and what to call it.
pub struct Named {
    pub name: String,
    pub policy: Policy,
}

pub fn replay(global: &Global, args: &Replay) -> Result<Answer, Failure> {
    let files = [Some(&args.capture), args.policy.as_ref(), args.against.as_ref()];
    if files.iter().flatten().filter(|file| file.as_path() == Path::new("-")).count() > 1 {
        return Err(Failure::new(Said::with_help(
            "standard input can be read once only",
            "give - in one place, and files in the others",
        )));
    }
    let policy = match &args.policy {
        Some(file) => read(file)?,
        None => live(global, "name a policy file with --policy")?,
    };
    let against = match &args.against {
        Some(word) if word == Path::new("live") => Some(live(global, "name a policy file in place of `live`")?),
        Some(file) => Some(read(file)?),
        None => None,
    };
    let mut devices = Devices::default();
    for device in &args.dev {
        match &device.called {
            Some(called) => drop(devices.called.insert(called.clone(), device.interface.clone())),
            None => devices.untold = Some(device.interface.clone()),
        }
    }

    let mut input = Input::open(&args.capture)?;
    let options = Options {
        policy: &policy.policy,
        against: against.as_ref().map(|against| &against.policy),
        local: args.local.clone(),
        devices,
        flows: REMEMBERED_FLOWS,
    };
    let report = sklookup_replay::replay(&mut input, &options).map_err(|error| unreadable(&input, &error))?;
    let interrupted = input
        .interrupted
        .then(|| Said::new(format!("{}: interrupted: this is about what was read until then", input.name)));
    // An interrupted writer may leave half a record.
    let damage = Some(&report.damage).filter(|damage| !damage.is_none() && !input.interrupted);
    let damaged = damage.map(|damage| Said::new(text::damage(&input.name, damage, input.size)));
    let (text, mut fields, exit) = match &against {
        None => {
            let sums = Sums::of(&report, &policy.policy);
            (text::sums(&sums, &report, &policy, &input.name), document::sums(&sums, &policy.policy, global.json), YES)
        }
        Some(from) => {
            let changes = Changes::of(&report, &policy.policy, &from.policy);
            let exit = match (changes.rows.is_empty(), changes.untold.flows) {
                (true, 0) => YES,
                (true, _) => COULD_NOT,
                (false, _) => NO,
            };
            let text = text::changes(&changes, &report, &policy, from, &input.name);
            (text, document::changes(&changes, global.json), exit)
        }
    };
    document::common(&mut fields, &report, &input);
    let exit = if damage.is_some() { COULD_NOT } else { exit };
    Ok(Answer::yes(text, fields).exit(exit).saying(interrupted).saying(damaged))
}

fn read(file: &Path) -> Result<Named, Failure> {
    let entries = read_policy(file, COULD_NOT)?;
    let policy = Policy::new(entries).map_err(|problems| Failure::problems(COULD_NOT, &problems))?;
    Ok(Named { name: printable(&named(file)), policy })
}

/// The applied policy, with what belongs to a living `run`.
fn live(global: &Global, instead: &str) -> Result<Named, Failure> {
    let generation = match existing_state(global)? {
        Some(state) => state.generation()?,
        None => None,
    };
    match generation {
        Some(generation) => {
            Ok(Named { name: "the applied policy".to_owned(), policy: generation.record.policy.clone() })
        }
        None => Err(Failure::new(Said::with_help("nothing is steered here: there is no applied policy", instead))),
    }
}

/// Why a capture can't be read at all, with what may help.
fn unreadable(input: &Input, error: &OpenError) -> Failure {
    let name = &input.name;
    let said = match error {
        OpenError::Read(error) => Said::new(format!("{name}: {error}")),
        OpenError::NotACapture(start) if start.is_empty() => Said::with_help(
            format!("{name}: it is empty"),
            "a capture begins with a header, even one without packets; `tcpdump -w FILE` writes one",
        ),
        OpenError::NotACapture(start) => {
            let unpack = match start[..] {
                [0x1f, 0x8b, ..] => Some(("gzip", "zcat")),
                [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(("zstd", "zstdcat")),
                [0xfd, b'7', b'z', b'X', ..] => Some(("xz", "xzcat")),
                _ => None,
            };
            match unpack {
                Some((packer, unpack)) => Said::with_help(
                    format!("{name}: it is compressed by {packer}"),
                    format!("{unpack} {name} | sklookup replay -"),
                ),
                None => {
                    let bytes: Vec<String> = start.iter().map(|byte| format!("{byte:02x}")).collect();
                    Said::with_help(
                        format!("{name}: it is no capture: it begins with {}", bytes.join(" ")),
                        "pcap and pcapng can be read; `tcpdump -w FILE` writes one",
                    )
                }
            }
        }
    };
    Failure::new(said)
}
