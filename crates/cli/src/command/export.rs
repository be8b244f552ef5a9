//! `export`: the applied policy as a policy file.

use serde_json::json;

use crate::args::Global;
use crate::context::existing_state;
use crate::output::{Answer, Failure};
use crate::render;

pub fn export(global: &Global) -> Result<Answer, Failure> {
    let generation = match existing_state(global)? {
        Some(state) => state.generation()?,
        None => None,
    };
    // What a living `run` added goes with it and is not part of the policy: applying an export changes nothing.
    let applied = generation.map(|generation| generation.record.policy).unwrap_or_default();
    let policy = applied.filtered(|entry| entry.owner.is_none());
    let text = policy.canonical();
    if !global.json {
        return Ok(Answer::yes(text, json!({})));
    }
    let bindings = policy.entries().iter().map(render::entry).collect();
    Ok(Answer::yes("", json!({ "policy": text })).with_rows("bindings", bindings))
}
