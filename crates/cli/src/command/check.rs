//! `check`: everything wrong with a policy at once, or what it does to a packet. No rights, no kernel.

use serde_json::{Value, json};
use sklookup_policy::{Packet, Policy, decide, shadowed};

use crate::args::Check;
use crate::context::read_policy;
use crate::counts::many;
use crate::output::{Answer, Failure, NO, Said};
use crate::render;

pub fn check(args: &Check) -> Result<Answer, Failure> {
    let packet = if args.packet.is_empty() {
        None
    } else {
        Some(Packet::from_words(&args.packet).map_err(|problem| Failure::new(Said::from(&problem)))?)
    };
    let entries = read_policy(&args.file, NO)?;
    let policy = Policy::new(entries).map_err(|problems| Failure::problems(NO, &problems))?;
    let warnings = shadows(&policy);
    let answer = match packet {
        Some(packet) => decision(&policy, &packet),
        None => {
            let (bindings, labels) = (policy.len(), policy.labels().len());
            let text = format!("{}, {}: no conflicts\n", many(bindings, "binding"), many(labels, "label"));
            Answer::yes(text, json!({ "bindings": bindings, "labels": labels }))
        }
    };
    let empty = policy.is_empty().then(|| Said::new("the policy has no bindings"));
    Ok(answer.saying(empty).saying(warnings))
}

/// What the policy does to a packet, and who else matched.
fn decision(policy: &Policy, packet: &Packet) -> Answer {
    let decision = decide(policy, packet);
    let entry = |index: usize| &policy.entries()[index];
    let described = |index: usize| Value::Object(render::entry(entry(index)));
    let runners_up: Vec<Value> = decision.runners_up.iter().map(|&index| described(index)).collect();
    let Some(winner) = decision.winner else {
        let text = format!("{packet}\n  no binding: the regular lookup decides\n");
        let json = json!({ "packet": packet.to_string(), "decision": null, "runners-up": [] });
        return Answer::yes(text, json).exit(NO);
    };
    let mut text = format!("{packet}\n  {}    # {}\n", entry(winner).binding, entry(winner).origin);
    for &index in &decision.runners_up {
        text.push_str(&format!("  less exact: {}    # {}\n", entry(index).binding, entry(index).origin));
    }
    let json = json!({ "packet": packet.to_string(), "decision": described(winner), "runners-up": runners_up });
    Answer::yes(text, json)
}

/// Bindings that no packet can reach, with who takes their packets.
pub fn shadows(policy: &Policy) -> Vec<Said> {
    const NAMED: usize = 5;
    let entry = |index: usize| &policy.entries()[index];
    let shadow = |shadow: sklookup_policy::Shadow| {
        let by: Vec<String> = shadow
            .by
            .iter()
            .take(NAMED)
            .map(|&index| format!("`{}` ({})", entry(index).binding, entry(index).origin))
            .collect();
        let more = match shadow.by.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let shadowed = entry(shadow.binding);
        Said::new(format!(
            "{}: `{}` is shadowed: no packet can reach it, they all go to {}{more}",
            shadowed.origin,
            shadowed.binding,
            by.join(", ")
        ))
    };
    shadowed(policy).into_iter().map(shadow).collect()
}
