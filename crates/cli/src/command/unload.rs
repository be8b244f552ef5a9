//! `unload`: takes steering away.

use serde_json::json;

use crate::args::{Global, Unload};
use crate::context::existing_state;
use crate::kept;
use crate::output::{Answer, Failure};

pub fn unload(global: &Global, args: &Unload) -> Result<Answer, Failure> {
    let state = existing_state(global)?;
    let (unloaded, kept) = match &state {
        None => (false, None),
        Some(state) if args.dry_run => (state.live_id()?.is_some(), None),
        Some(state) => {
            // What can't be read can be taken away all the same; then what was kept before it is what can be brought back.
            let last = state.generation().ok().flatten();
            let unloaded = state.unload()?;
            (unloaded, kept::keep(global, state, last.as_ref().map(kept::known)))
        }
    };
    let text = match (unloaded, args.dry_run) {
        (false, _) => "nothing is steered here\n",
        (true, true) => "steering would be taken away; nothing was changed\n",
        (true, false) => "steering is taken away\n",
    };
    let done = unloaded && !args.dry_run;
    Ok(Answer::yes(text, json!({ "unloaded": done, "dry-run": args.dry_run })).in_effect(done).saying(kept))
}
