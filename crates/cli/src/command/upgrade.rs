//! `upgrade`: the applied policy, compiled by this sklookup.

use serde_json::{Value, json};
use sklookup_steering::{Error, Generation, STATE_VERSION};

use crate::args::{Global, Upgrade};
use crate::context::existing_state;
use crate::counts::many;
use crate::kept;
use crate::output::{Answer, Failure};

pub fn upgrade(global: &Global, args: &Upgrade) -> Result<Answer, Failure> {
    let Some(state) = existing_state(global)? else { return Ok(nothing(args)) };
    let Some(before) = state.generation()? else { return Ok(nothing(args)) };
    if args.dry_run {
        return Ok(answer(&before, None));
    }
    match state.upgrade() {
        Ok(committed) => Ok(answer(&before, Some(committed.id())).saying(kept::keep(global, &state, None))),
        // Taken away in between.
        Err(Error::NotLoaded { .. }) => Ok(nothing(args)),
        Err(error) => Err(error.into()),
    }
}

/// What was in effect, and the generation that is now; `None`: nothing was changed.
fn answer(before: &Generation, now: Option<u32>) -> Answer {
    let (record, id) = (&before.record, before.live.id);
    let bindings = record.policy.len();
    let was = format!("generation {id} was made by sklookup {} (layout {})", record.writer, record.layout);
    let own = env!("CARGO_PKG_VERSION");
    let text = match now {
        Some(now) => {
            format!(
                "{was}; generation {now}, by {own} (layout {STATE_VERSION}), has its {}\n",
                many(bindings, "binding")
            )
        }
        None => format!(
            "{was}; its {} would be compiled anew by {own} (layout {STATE_VERSION}); nothing was changed (--dry-run)\n",
            many(bindings, "binding")
        ),
    };
    let json = json!({
        "generation": now,
        "bindings": bindings,
        "before": { "generation": id, "writer": record.writer, "layout": record.layout },
        "dry-run": now.is_none(),
    });
    Answer::yes(text, json).in_effect(now.is_some())
}

/// Who installs a new version asks everywhere: where nothing is steered nothing is to be done.
fn nothing(args: &Upgrade) -> Answer {
    let json = json!({ "generation": Value::Null, "bindings": 0, "before": Value::Null, "dry-run": args.dry_run });
    Answer::yes("nothing is steered here: nothing to compile anew\n", json)
}
