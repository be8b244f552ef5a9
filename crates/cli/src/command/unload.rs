//! `unload`: takes steering away.

use serde_json::json;

use crate::args::{Global, Unload};
use crate::context::existing_state;
use crate::output::{Answer, Failure};

pub fn unload(global: &Global, args: &Unload) -> Result<Answer, Failure> {
    let state = existing_state(global)?;
    let unloaded = match &state {
        None => false,
        Some(state) if args.dry_run => state.is_steering()?,
        Some(state) => state.unload()?,
    };
    let text = match (unloaded, args.dry_run) {
        (false, _) => "nothing is steered here\n",
        (true, true) => "steering would be taken away; nothing was changed\n",
        (true, false) => "steering is taken away\n",
    };
    let done = unloaded && !args.dry_run;
    Ok(Answer::yes(text, json!({ "unloaded": done, "dry-run": args.dry_run })).in_effect(done))
}
