//! `export`: the applied policy as a policy file.

use serde_json::{Value, json};
use sklookup_policy::Policy;

use crate::args::Global;
use crate::context::existing_state;
use crate::output::{Answer, COULD_NOT, Failure};
use crate::render;

pub fn export(global: &Global) -> Result<Answer, Failure> {
    let generation = match existing_state(global)? {
        Some(state) => state.generation()?,
        None => None,
    };
    // What a living `run` added goes with it and is not part of the policy: applying an export changes nothing.
    let entries = generation.map(|generation| generation.record.policy).unwrap_or_default();
    let entries = entries.entries().iter().filter(|entry| entry.owner.is_none()).cloned().collect();
    let policy = Policy::new(entries).map_err(|problems| Failure::problems(COULD_NOT, &problems))?;
    let bindings: Vec<Value> = policy.entries().iter().map(|entry| Value::Object(render::entry(entry))).collect();
    Ok(Answer::yes(policy.canonical(), json!({ "policy": policy.canonical(), "bindings": bindings })))
}
