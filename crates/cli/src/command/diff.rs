//! `diff`: what applying a policy would change.

use std::path::Path;

use serde_json::json;
use sklookup_policy::{Policy, difference};

use crate::args::{Diff, Global};
use crate::context::{existing_state, read_whole};
use crate::output::{Answer, Failure, NO, Said, YES};
use crate::render;

pub fn diff(global: &Global, args: &Diff) -> Result<Answer, Failure> {
    if args.files.len() == 2 && args.files.iter().all(|file| file == Path::new("-")) {
        return Err(Failure::new(Said::with_help(
            "diff - -: standard input can be read once only",
            "name a file for one of the two, or one policy alone: `sklookup diff -`",
        )));
    }
    let (old, new) = match args.files.as_slice() {
        [old, new] => (read_whole(old)?, read_whole(new)?),
        [new] => (applied(global)?, read_whole(new)?),
        _ => unreachable!("one or two files"),
    };
    let difference = difference(&old, &new);
    let json = json!({
        "added": difference.added.len(),
        "removed": difference.removed.len(),
        "changed": difference.changed.len(),
    });
    let mut answer = Answer::yes(render::difference(&difference), json);
    if global.json {
        answer = answer.with_rows("changes", render::changes(&difference));
    }
    Ok(answer.exit(if difference.is_empty() { YES } else { NO }))
}

/// What is applied, without what belongs to a living `run`: `apply` leaves that alone.
fn applied(global: &Global) -> Result<Policy, Failure> {
    let Some(state) = existing_state(global)? else { return Ok(Policy::default()) };
    let Some(generation) = state.generation()? else { return Ok(Policy::default()) };
    Ok(generation.record.policy.filtered(|entry| entry.owner.is_none()))
}
