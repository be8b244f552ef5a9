//! `apply`: a whole policy in place of the applied one.

use serde_json::{Value, json};
use sklookup_policy::{Difference, Entry, Policy, difference};
use sklookup_steering::safety::{Catch, Hazard};
use sklookup_steering::{Committed, Current, Error, State};

use crate::args::{Apply, EditFlags, Global};
use crate::command::check::shadows;
use crate::context::{read_policy, state};
use crate::output::{Answer, COULD_NOT, Failure, NO, Said};
use crate::render;

pub fn apply(global: &Global, args: &Apply) -> Result<Answer, Failure> {
    let entries = read_policy(&args.file, COULD_NOT)?;
    let wanted = Policy::new(entries.clone()).map_err(|problems| Failure::problems(COULD_NOT, &problems))?;
    let state = state(global)?;
    let shadows = shadows(&wanted);
    // What a living `run` added is not the policy's to remove.
    let answer = change(&state, &args.edit, true, &mut |current| {
        let runs = current.policy.entries().iter().filter(|entry| entry.owner.is_some()).cloned();
        Ok(entries.iter().cloned().chain(runs).collect())
    })?;
    Ok(answer.saying(shadows))
}

/// Changes what is applied, unless a safety catch refuses it, and says what changed.
pub fn change(
    state: &State,
    flags: &EditFlags,
    replaces: bool,
    edit: &mut dyn FnMut(&Current<'_>) -> Result<Vec<Entry>, Error>,
) -> Result<Answer, Failure> {
    let mut changed = None;
    let mut caught = Vec::new();
    let committed = state.commit(&[], &mut |current| {
        let entries = edit(current)?;
        let new = Policy::new(entries.clone()).map_err(Error::Policy)?;
        caught = state.review(current.policy, &new, replaces, &[])?;
        let refused = caught.iter().any(|catch| !flags.allow.allow.contains(&catch.hazard));
        changed = Some((difference(current.policy, &new), new));
        if refused || flags.dry_run {
            // Nothing has been made so far; the words are chosen below.
            return Err(Error::Refused(String::new()));
        }
        Ok(entries)
    });
    let (refusals, allowed): (Vec<Catch>, Vec<Catch>) =
        caught.into_iter().partition(|catch| !flags.allow.allow.contains(&catch.hazard));
    if !refusals.is_empty() {
        return Err(Failure { exit: NO, said: refuse(&refusals) });
    }
    let committed = match committed {
        Ok(committed) => Some(committed),
        Err(Error::Refused(_)) if flags.dry_run => None,
        Err(error) => return Err(error.into()),
    };
    let (difference, new) = changed.expect("an edit that was committed was asked for");
    let without = match committed {
        Some(_) => labels_without_sockets(state)?,
        None => Vec::new(),
    };
    Ok(report(&difference, &new, committed, &without)
        .saying(allowed.iter().map(|catch| Said::new(format!("allowed: {}", catch.message)))))
}

/// What closed, and how to go on all the same.
pub fn refuse(catches: &[Catch]) -> Vec<Said> {
    let mut said: Vec<Said> = catches
        .iter()
        .map(|catch| Said {
            message: format!("refused ({}): {}", catch.hazard, catch.message),
            help: catch.help.clone(),
            place: None,
        })
        .collect();
    let mut hazards: Vec<Hazard> = catches.iter().map(|catch| catch.hazard).collect();
    hazards.dedup();
    let names: Vec<&str> = hazards.iter().map(|hazard| hazard.name()).collect();
    said.push(Said::new(format!("nothing was changed; to do it all the same: --allow {}", names.join(","))));
    said
}

fn report(difference: &Difference, new: &Policy, committed: Option<Committed>, without: &[String]) -> Answer {
    let (mut text, changes) = render::difference(difference);
    let tally = render::tally(difference);
    // A large load is not a listing: `list` is.
    const LISTED: usize = 50;
    if text.lines().count() > LISTED {
        text.clear();
    }
    let bindings = new.len();
    let generation = match committed {
        None => {
            text.push_str(&format!("{tally}; nothing was changed (--dry-run)\n"));
            Value::Null
        }
        Some(Committed::Unchanged { id }) => {
            text = format!("nothing to change; {bindings} bindings are applied\n");
            json!(id)
        }
        Some(Committed::Generation { id, .. }) => {
            text.push_str(&format!("{tally}; {bindings} bindings are applied\n"));
            json!(id)
        }
    };
    let json = json!({
        "changes": changes,
        "added": difference.added.len(),
        "removed": difference.removed.len(),
        "changed": difference.changed.len(),
        "bindings": bindings,
        "generation": generation,
        "dry-run": committed.is_none(),
        "labels-without-sockets": without,
    });
    let empty = (!without.is_empty()).then(|| {
        Said::with_help(
            format!("no socket is registered yet under {}", without.join(", ")),
            "sklookup register LABEL --pid PID",
        )
    });
    Answer::yes(text, json).saying(empty)
}

fn labels_without_sockets(state: &State) -> Result<Vec<String>, Failure> {
    let Some(generation) = state.generation()? else { return Ok(Vec::new()) };
    let mut without = Vec::new();
    for label in generation.record.policy.labels() {
        if generation.live.registered(label)?.is_empty() {
            without.push(label.to_string());
        }
    }
    Ok(without)
}
