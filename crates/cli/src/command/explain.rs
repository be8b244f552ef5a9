//! `explain`: which socket gets a packet, and why; what every port does; who sends to whom.

mod document;
mod ports;
mod sentences;
mod sockets;
mod text;
pub mod to;

use std::path::Path;

use serde_json::{Value, json};
use sklookup_explain::{Astray, Decision, Fate};
use sklookup_policy::{Interface, Outcome, Packet, Policy, winner};

use crate::args::{Explain, Global};
use crate::context::{existing_state, netns, read_policy};
use crate::output::{Answer, COULD_NOT, Failure, NO, Said, YES};

pub fn explain(global: &Global, args: &Explain) -> Result<Answer, Failure> {
    if !args.ports.is_empty() {
        return ports::ports(global, args);
    }
    if !args.to.is_empty() {
        return to::to(global, args);
    }
    let packet = Packet::from_words(&args.packet).map_err(|problem| Failure::new(Said::from(&problem)))?;
    match &args.policy {
        Some(file) => Ok(by_policy(&policy_of(file)?, &packet)),
        None => live(global, &packet, args.run_others),
    }
}

/// The policy of a file.
fn policy_of(file: &Path) -> Result<Policy, Failure> {
    Policy::new(read_policy(file, COULD_NOT)?).map_err(|problems| Failure::problems(COULD_NOT, &problems))
}

/// What becomes of the packet in the namespace.
fn live(global: &Global, packet: &Packet, run_others: bool) -> Result<Answer, Failure> {
    let state = existing_state(global)?;
    let own;
    let netns = match &state {
        Some(state) => state.netns(),
        None => {
            own = netns(global)?;
            &own
        }
    };
    let mut explanation = sklookup_explain::explain(netns, state.as_ref(), packet)?;
    if run_others {
        explanation.run_others(netns);
    }
    let exit = match explanation.fate {
        Fate::Socket(_) => YES,
        Fate::Refused | Fate::Astray(Astray::NotLocal | Astray::Dropped) => NO,
        Fate::Unknown(_) | Fate::Astray(Astray::Copied) => COULD_NOT,
    };
    Ok(Answer::yes(text::of(&explanation), document::of(&explanation)).exit(exit))
}

/// What a policy decides, applied or not.
fn by_policy(policy: &Policy, packet: &Packet) -> Answer {
    let decision = Decision::of(policy, packet);
    let depends = depends_on(policy, packet);
    let exit = match decision.winner.as_ref().map(|entry| &entry.binding.outcome) {
        _ if !depends.is_empty() => COULD_NOT,
        Some(Outcome::Steer { .. }) => YES,
        Some(Outcome::Pass | Outcome::Refuse) | None => NO,
    };
    let mut fields = json!({ "packet": packet.to_string() });
    let object = fields.as_object_mut().expect("it is one");
    object.extend(document::decision(&decision));
    object.insert("depends-on-interface".to_owned(), depends.iter().map(|name| Value::from(name.as_str())).collect());
    let doubt = (!depends.is_empty()).then(|| {
        let names: Vec<&str> = depends.iter().map(Interface::as_str).collect();
        Said::with_help(
            format!("it depends on the interface: a packet that comes in on {} gets another binding", names.join(", ")),
            "say which with dev, as in: dev eth0",
        )
    });
    Answer::yes(text::of_policy(packet, &decision, !depends.is_empty()), fields).exit(exit).saying(doubt)
}

/// The interfaces on which another binding would decide, if the packet does not say where it comes in.
fn depends_on(policy: &Policy, packet: &Packet) -> Vec<Interface> {
    if packet.interface.is_some() {
        return Vec::new();
    }
    let nowhere = winner(policy, packet);
    let differs = |interface: &&Interface| {
        let there = Packet { interface: Some((*interface).clone()), ..packet.clone() };
        winner(policy, &there) != nowhere
    };
    policy.interfaces().iter().filter(differs).cloned().collect()
}
