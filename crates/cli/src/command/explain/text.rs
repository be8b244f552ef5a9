//! An explanation for people: the answer first, then the way of the packet.

use std::fmt::Write;

use sklookup_explain::{Account, Astray, Decision, Explanation, Fate, Others, Run, Verdict, Way};
use sklookup_policy::Packet;
use sklookup_steering::status::Attached;

use super::{sentences, sockets};
use crate::command::status::in_words;
use crate::escape::printable;

/// How wide the names of steps are.
const STEP: usize = 12;

/// The answer and every step.
pub fn of(explanation: &Explanation) -> String {
    let mut text = String::new();
    write(&mut text, explanation).expect("a String takes all");
    text
}

/// What a policy decides; `depends` says that it may be another binding, on another interface.
pub fn of_policy(packet: &Packet, decision: &Decision, depends: bool) -> String {
    let answer = match &decision.winner {
        _ if depends => "can't tell: it depends on the interface".to_owned(),
        Some(winner) => winner.binding.outcome.to_string(),
        None => "no binding: the regular lookup decides".to_owned(),
    };
    let mut text = format!("{packet}\n=> {answer}\n");
    if decision.winner.is_some() && !depends {
        text.push('\n');
        binding(&mut text, decision).expect("a String takes all");
    }
    text
}

fn write(text: &mut String, explanation: &Explanation) -> std::fmt::Result {
    let Explanation { packet, way, fate, disagreement, account, .. } = explanation;
    if let Some(disagreement) = disagreement {
        writeln!(text, "THE TWO WITNESSES DIFFER: {disagreement}.")?;
        writeln!(
            text,
            "That is a mistake of sklookup, or a program that could not be seen. The kernel's answer counts.\n"
        )?;
    }
    writeln!(text, "{}", printable(&packet.to_string()))?;
    match fate {
        Fate::Socket(cookie) => {
            writeln!(text, "=> {}", sockets::named(&explanation.sockets, *cookie))?;
            sockets::holders(text, &explanation.sockets, *cookie)?;
        }
        Fate::Refused => writeln!(text, "=> {}", sentences::refused(packet.protocol))?,
        Fate::Astray(Astray::Copied) => writeln!(text, "=> can't tell: {}", sentences::astray(Astray::Copied, packet))?,
        Fate::Astray(astray) => writeln!(text, "=> nobody: {}", sentences::astray(*astray, packet))?,
        Fate::Unknown(why) => writeln!(text, "=> can't tell: {why}")?,
    }
    let Way::Lookup(arrival) = way else { return notes(text, explanation) };
    writeln!(text)?;
    let interfaces: Vec<String> =
        arrival.interfaces.iter().map(|(index, name)| format!("{} (index {index})", printable(name))).collect();
    step(text, "interface", &format!("{}, {}", interfaces.join(", "), sentences::how(arrival, packet)))?;
    match account {
        Ok(account) => steps(text, explanation, account)?,
        Err(why) => step(text, "no account", why)?,
    }
    notes(text, explanation)?;
    for unseen in &explanation.unseen {
        step(text, "not seen", &format!("{}: {}", unseen.what, printable(&unseen.why)))?;
    }
    Ok(())
}

fn notes(text: &mut String, explanation: &Explanation) -> std::fmt::Result {
    for limit in &explanation.limits {
        step(text, "note", &sentences::limit(*limit))?;
    }
    // Who may look at a program of others may run it, too.
    let runnable = |program: &Attached| !program.ours && program.info.is_some();
    let decides = matches!(explanation.others, Others::Selected | Others::Dropped | Others::Unknown);
    if decides && explanation.alone.is_empty() && explanation.programs.iter().flatten().any(runnable) {
        step(text, "note", sentences::RUN_OTHERS)?;
    }
    Ok(())
}

fn steps(text: &mut String, explanation: &Explanation, account: &Account) -> std::fmt::Result {
    if let Some(cookie) = account.connected {
        return step(
            text,
            "connected",
            &format!("{}: no program is asked", sockets::named(&explanation.sockets, cookie)),
        );
    }
    step(text, "connected", "nobody is, between these two")?;
    match explanation.programs.as_deref() {
        None => step(text, "programs", &format!("can't be listed: {}", unlisted(explanation.others)))?,
        Some([]) => step(text, "programs", "none is attached")?,
        Some(programs) => programs.iter().try_for_each(|program| match &account.run {
            Some(run) if program.ours => ours(text, explanation, program, run),
            _ => other(text, explanation, program),
        })?,
    }
    // Shown also where no program of ours can be seen on the hook.
    if explanation.programs.is_none()
        && let Some(run) = &account.run
    {
        run_of(text, explanation, "this policy", run)?;
    }
    let asked = match &account.run {
        Some(Run { selected: Some(_), .. } | Run { verdict: Verdict::Drop, .. }) => "not asked; it would find ",
        _ => "",
    };
    let bound = if account.regular.exact { "bound to the very address" } else { "bound to any address" };
    let found = match &account.regular.matching[..] {
        [] => "nobody".to_owned(),
        [one] => format!("{}, {bound}", sockets::named(&explanation.sockets, *one)),
        [one, more @ ..] => format!(
            "{} or one of {} more that match on this port, by score, order and hash",
            sockets::named(&explanation.sockets, *one),
            more.len()
        ),
    };
    step(text, "regular", &format!("{asked}{found}"))
}

fn other(text: &mut String, explanation: &Explanation, program: &Attached) -> std::fmt::Result {
    step(text, "program", &format!("{}: {}", in_words(program), sentences::others(explanation.others)))?;
    match explanation.alone.get(&program.id) {
        Some(alone) => step(text, "", &sentences::alone(alone, &explanation.sockets)),
        None => Ok(()),
    }
}

fn ours(text: &mut String, explanation: &Explanation, program: &Attached, run: &Run) -> std::fmt::Result {
    run_of(text, explanation, &format!("{} this policy", program.id), run)
}

fn run_of(text: &mut String, explanation: &Explanation, who: &str, run: &Run) -> std::fmt::Result {
    let does = match (run.selected, run.verdict) {
        (Some(cookie), _) => format!("selects {}", sockets::named(&explanation.sockets, cookie)),
        (None, Verdict::Drop) => "drops it".to_owned(),
        (None, Verdict::Pass) if run.decision.winner.is_none() => "no binding matches, it passes".to_owned(),
        (None, Verdict::Pass) => "passes".to_owned(),
    };
    step(text, "program", &format!("{who}: {does}"))?;
    binding(text, &run.decision)?;
    let label = run.decision.winner.as_ref().and_then(|entry| entry.binding.label());
    if let (Some(label), [], None) = (label, &run.tried[..], run.selected) {
        step(text, "", &format!("no socket for it is registered under {label}"))?;
    }
    for tried in &run.tried {
        if let Some(why) = sentences::tried(tried) {
            step(text, "", &format!("can't select {}: {why}", sockets::named(&explanation.sockets, tried.cookie)))?;
        }
    }
    Ok(())
}

/// The binding that decides, and why it goes before the others.
fn binding(text: &mut String, decision: &Decision) -> std::fmt::Result {
    const NAMED: usize = 5;
    let Some(winner) = &decision.winner else { return Ok(()) };
    step(text, "", &printable(&format!("{}  # {}", winner.binding, winner.origin)))?;
    for (entry, reason) in decision.runners_up.iter().take(NAMED) {
        step(text, "", &printable(&format!("{reason} than `{}`  # {}", entry.binding, entry.origin)))?;
    }
    if let more @ 1.. = decision.runners_up.len().saturating_sub(NAMED) {
        step(text, "", &format!("and goes before {more} more that match"))?;
    }
    Ok(())
}

fn step(text: &mut String, name: &str, said: &str) -> std::fmt::Result {
    writeln!(text, "{name:STEP$} {said}")
}

/// What follows about programs that can't even be listed.
fn unlisted(others: Others) -> &'static str {
    match others {
        Others::NothingChanged | Others::None => "if there are any, who gets the packet is the same without them",
        Others::Selected => "one of them selects the socket",
        Others::Dropped => "one of them drops the packet",
        Others::NotAsked => "none is asked",
        Others::Unknown => "what they return is not known",
    }
}
