//! `apply`: a whole policy in place of the applied one.

use serde_json::{Value, json};
use sklookup_policy::{Difference, Entry, Interface, Origin, Policy, Problem, difference};
use sklookup_steering::history::Known;
use sklookup_steering::safety::{Catch, Hazard};
use sklookup_steering::{Committed, Current, Error, Review, State};

use crate::args::{Apply, EditFlags, Global};
use crate::command::check::shadows;
use crate::context::{named, read_policy, state};
use crate::counts::many;
use crate::kept;
use crate::output::{Answer, COULD_NOT, Failure, NO, Said};
use crate::render;

pub fn apply(global: &Global, args: &Apply) -> Result<Answer, Failure> {
    let (name, entries) = match &args.file {
        Some(file) => (named(file), read_policy(file, COULD_NOT)?),
        None => kept::last(global)?,
    };
    let wanted = Policy::new(entries).map_err(|problems| Failure::problems(COULD_NOT, &problems))?;
    let manner = if args.last { Manner::BringBack } else { Manner::Replace };
    replace(global, &args.edit, manner, &name, &wanted)
}

/// Puts a policy, which is called so, in place of the applied one.
pub fn replace(
    global: &Global,
    flags: &EditFlags,
    manner: Manner,
    name: &str,
    wanted: &Policy,
) -> Result<Answer, Failure> {
    let state = state(global)?;
    let shadows = shadows(wanted);
    let empty = wanted.is_empty().then(|| Said::new(format!("{name}: it has no bindings")));
    // What a living `run` added is not the policy's to remove.
    let answer = change(global, &state, flags, manner, &mut |current| {
        let runs: Vec<Entry> = current.policy.entries().iter().filter(|entry| entry.owner.is_some()).cloned().collect();
        wanted.with(runs).map_err(Error::Policy)
    });
    match answer {
        Ok(answer) => Ok(answer.saying(empty).saying(shadows)),
        Err(failure) => Err(failure.after(empty)),
    }
}

/// How a policy changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Some bindings come or go.
    Edit,
    /// It is given as a whole.
    Replace,
    /// It is given as a whole, and was in effect before.
    BringBack,
}

impl Manner {
    /// The catches that close and only warn, given what is applied when the change is made.
    fn allowed(self, current: &Policy, flags: &EditFlags) -> Vec<Hazard> {
        let mut allowed = flags.allow.allow.clone();
        // What living `run`s added is not in the way.
        if self == Manner::BringBack && current.entries().iter().all(|entry| entry.owner.is_some()) {
            // It was accepted when it was applied. Who is locked out, however, can't come back to mend it.
            allowed.extend(Hazard::ALL.into_iter().filter(|hazard| *hazard != Hazard::Ssh));
        }
        allowed
    }
}

/// Changes what is applied, unless a safety catch refuses it, and says what changed.
pub fn change(
    global: &Global,
    state: &State,
    flags: &EditFlags,
    manner: Manner,
    edit: &mut dyn FnMut(&Current<'_>) -> Result<Policy, Error>,
) -> Result<Answer, Failure> {
    let mut changed = None;
    let mut review = Review::default();
    let mut interfaces = Vec::new();
    let mut allow = Vec::new();
    let committed = state.commit(&[], &mut |current| {
        changed = None;
        let new = edit(current)?;
        review = state.review(current.policy, &new, manner != Manner::Edit, &[])?;
        allow = manner.allowed(current.policy, flags);
        let refused = review.catches.iter().any(|catch| !allow.contains(&catch.hazard));
        interfaces = first_named(&new);
        changed = Some((current.policy.clone(), new.clone()));
        if refused || flags.dry_run {
            // Nothing has been made so far; the words are chosen below.
            return Err(Error::Refused(String::new()));
        }
        Ok(new)
    });
    let (refusals, allowed): (Vec<Catch>, Vec<Catch>) =
        review.catches.into_iter().partition(|catch| !allow.contains(&catch.hazard));
    if !refusals.is_empty() {
        return Err(Failure { exit: NO, said: refuse(&refusals) });
    }
    let committed = match committed {
        Ok(committed) => Some(committed),
        // With `changed` set it was we who refused; an edit that refuses has words of its own.
        Err(Error::Refused(_)) if flags.dry_run && changed.is_some() => None,
        Err(error @ Error::Interface { .. }) => return Err(unknown_interface(&error, &interfaces)),
        Err(error) => return Err(error.into()),
    };
    let (old, new) = changed.expect("an edit that was committed was asked for");
    let kept = committed
        .and_then(|committed| kept::keep(global, state, Some(Known { generation: committed.id(), policy: &new })));
    let empty = committed.map_or_else(|| Ok(Vec::new()), |_| state.empty_labels(new.labels()));
    // What is done is done, whatever becomes of a look at it.
    let unasked = empty.as_ref().err().map(|error| Said::new(format!("which labels have no socket: {error}")));
    let without: Vec<String> = empty.unwrap_or_default().iter().map(ToString::to_string).collect();
    Ok(report(global, &difference(&old, &new), new.len(), committed, &without)
        .saying(kept)
        .saying(allowed.iter().map(|catch| Said::new(format!("allowed: {}", catch.message))))
        .saying(review.unseen.map(|unseen| Said::new(format!("not seen: {unseen}"))))
        .saying(unasked))
}

/// Where each interface of a policy is named first.
fn first_named(policy: &Policy) -> Vec<(Interface, Origin)> {
    let first = |name: &Interface| {
        let entry = policy.entries().iter().find(|entry| entry.binding.interface.as_ref() == Some(name))?;
        Some((name.clone(), entry.origin.clone()))
    };
    policy.interfaces().iter().filter_map(first).collect()
}

/// The failure with the place in the file that is to be mended.
fn unknown_interface(error: &Error, named: &[(Interface, Origin)]) -> Failure {
    let origin = named.iter().find_map(|(name, origin)| match error {
        Error::Interface { interface, .. } if interface == name => Some(origin.clone()),
        _ => None,
    });
    Failure::new(Said::from(&Problem { origin, message: error.to_string(), help: error.help() }))
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

fn report(
    global: &Global,
    difference: &Difference<'_>,
    bindings: usize,
    committed: Option<Committed>,
    without: &[String],
) -> Answer {
    /// A large load is not a listing: `list` is.
    const LISTED: usize = 50;
    const NAMED: usize = 10;
    let Difference { added, removed, changed } = difference;
    let listed = added.len() + removed.len() + changed.len() <= LISTED;
    let mut text = if listed { render::difference(difference) } else { String::new() };
    let tally = render::tally(difference);
    let generation = match committed {
        None => {
            text.push_str(&format!("{tally}; nothing was changed (--dry-run)\n"));
            Value::Null
        }
        Some(Committed::Unchanged { id }) => {
            text = format!("nothing to change; {} applied\n", many(bindings, "binding"));
            json!(id)
        }
        Some(Committed::Generation { id, .. }) => {
            text.push_str(&format!("{tally}; {} applied\n", many(bindings, "binding")));
            json!(id)
        }
    };
    let json = json!({
        "added": added.len(),
        "removed": removed.len(),
        "changed": changed.len(),
        "bindings": bindings,
        "generation": generation,
        "dry-run": committed.is_none(),
        "labels-without-sockets": without,
    });
    let empty = (!without.is_empty()).then(|| {
        Said::with_help(
            format!("no socket is registered yet under {}", some(without, NAMED)),
            "sklookup register LABEL --pid PID",
        )
    });
    let in_effect = matches!(committed, Some(Committed::Generation { .. }));
    let mut answer = Answer::yes(text, json);
    // Nobody reads a document that was not asked for, and this one may have a million bindings.
    if global.json {
        answer = answer.with_rows("changes", render::changes(difference));
    }
    answer.in_effect(in_effect).saying(empty)
}

/// The first few of many names.
fn some(names: &[String], most: usize) -> String {
    let shown = names[..names.len().min(most)].join(", ");
    match names.len().saturating_sub(most) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
