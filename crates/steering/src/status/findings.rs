//! What is dead or missing, in sentences.

use sklookup_compiler::Family;

use super::{Health, InterfaceStatus, LabelStatus, Missing, Status, Steering};

/// What kind of thing is dead or missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A registered socket gets no packets.
    DeadSocket,
    /// Packets are steered to a label that has no socket for them.
    NoSocket,
    /// A name of an interface means another device, or none.
    Interface,
    /// A `run` has ended and left its bindings.
    EndedRun,
    /// The link, or the pin of the generation, holds a program that is not the generation's.
    Replaced,
    /// A binding of the policy file is not applied, or otherwise.
    NotApplied,
    /// A binding is applied that the policy file does not have.
    NotInFile,
    /// What is kept on disk is not what is in effect.
    Kept,
}

impl Kind {
    /// As documents have it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::DeadSocket => "dead-socket",
            Kind::NoSocket => "no-socket",
            Kind::Interface => "interface",
            Kind::EndedRun => "ended-run",
            Kind::Replaced => "replaced",
            Kind::NotApplied => "not-applied",
            Kind::NotInFile => "not-in-file",
            Kind::Kept => "kept",
        }
    }
}

/// Something dead or missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Of which kind: of one kind there may be thousands.
    pub kind: Kind,
    /// What.
    pub message: String,
    /// What to do about it.
    pub help: String,
}

impl Status {
    /// Everything dead or missing that could be seen.
    pub fn findings(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        if let Steering::Replaced { link, program, dir } = &self.steering {
            findings.push(Finding {
                kind: Kind::Replaced,
                message: format!(
                    "link {link}, which sklookup pinned in {}, runs program {program}, which is no generation of ours: \
                     somebody else put it there, and no policy is in effect",
                    dir.display()
                ),
                help: "find out who did; `sklookup unload`, then apply the policy again, takes the link back"
                    .to_owned(),
            });
        }
        let Some(in_effect) = self.in_effect() else { return findings };
        if in_effect.pinned != in_effect.generation {
            findings.push(Finding {
                kind: Kind::Replaced,
                message: format!(
                    "the link runs program {}, and the pin that should hold it holds program {}: somebody exchanged it",
                    in_effect.generation, in_effect.pinned
                ),
                help: "find out who did; `sklookup unload`, then apply the policy again, makes it whole".to_owned(),
            });
        }
        for label in &in_effect.labels {
            dead_sockets(label, &mut findings);
            missing_sockets(label, &mut findings);
        }
        findings.extend(in_effect.interfaces.iter().filter_map(drift));
        for run in in_effect.runs.iter().filter(|run| !run.alive) {
            findings.push(Finding {
                kind: Kind::EndedRun,
                message: format!(
                    "the `run` of pid {} has ended without removing its {}",
                    run.owner.pid,
                    counted(run.bindings, "binding")
                ),
                help: "the next command that changes something removes them".to_owned(),
            });
        }
        findings
    }
}

fn dead_sockets(label: &LabelStatus, findings: &mut Vec<Finding>) {
    let mut told = Vec::new();
    for socket in &label.sockets {
        let Health::Dead(why) = &socket.health else { continue };
        // A dual-stack socket stands in two slots.
        if told.contains(&(socket.slot.cookie, why)) {
            continue;
        }
        told.push((socket.slot.cookie, why));
        let place = socket.local.map_or_else(|| format!("of cookie {}", socket.slot.cookie), |local| local.to_string());
        findings.push(Finding {
            kind: Kind::DeadSocket,
            message: format!(
                "label {}: the {} socket {place} gets no packets: {why}",
                label.label, socket.slot.protocol
            ),
            help: format!("sklookup register {} --pid PID", label.label),
        });
    }
}

fn missing_sockets(label: &LabelStatus, findings: &mut Vec<Finding>) {
    for &Missing { protocol, family, refused, passed } in &label.missing {
        let fate = match (refused, passed) {
            (_, 0) => "packets are refused",
            (0, _) => "packets go on to the regular lookup",
            _ => "packets are refused or go on to the regular lookup, as each binding says",
        };
        let family = in_words(family);
        findings.push(Finding {
            kind: Kind::NoSocket,
            message: format!(
                "label {}: no socket for {protocol} over {family}, which {} steered to it: {fate}",
                label.label,
                match refused + passed {
                    1 => "1 binding has".to_owned(),
                    many => format!("{many} bindings have"),
                }
            ),
            help: format!("sklookup register {} --pid PID", label.label),
        });
    }
}

fn drift(interface: &InterfaceStatus) -> Option<Finding> {
    let InterfaceStatus { name, applied, now } = interface;
    let (message, help) = match now {
        Some(now) if now == applied => return None,
        Some(now) => (
            format!(
                "interface {name}: made again since the policy was applied: bindings match the device that had index \
                 {applied}, and the name now means {now}"
            ),
            "apply the policy again",
        ),
        None => (
            format!(
                "interface {name}: there is none of this name any more (it had index {applied}): its bindings match \
                 no packet"
            ),
            "make it and apply the policy again, or take its bindings out: `sklookup list` shows them",
        ),
    };
    Some(Finding { kind: Kind::Interface, message, help: help.to_owned() })
}

fn in_words(family: Family) -> &'static str {
    match family {
        Family::V4 => "IPv4",
        Family::V6 => "IPv6",
    }
}

fn counted(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
