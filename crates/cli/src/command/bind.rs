//! `bind` and `unbind`: single bindings of the applied policy.

use std::collections::HashSet;

use sklookup_policy::{Binding, Entry, Origin, parse_binding};
use sklookup_steering::Error;

use crate::args::{Bind, Global, Unbind};
use crate::command::apply::{Manner, change};
use crate::context::state;
use crate::output::{Answer, Failure, Said};

pub fn bind(global: &Global, args: &Bind) -> Result<Answer, Failure> {
    let added = parse(&args.words, "bind")?;
    let state = state(global)?;
    change(global, &state, &args.edit, Manner::Edit, &mut |current| {
        current.policy.with(added.clone()).map_err(Error::Policy)
    })
}

pub fn unbind(global: &Global, args: &Unbind) -> Result<Answer, Failure> {
    let removed = parse(&args.words, "unbind")?;
    let removed: Vec<Binding> = removed.into_iter().map(|entry| entry.binding).collect();
    let state = state(global)?;
    let mut missing = Vec::new();
    let result = change(global, &state, &args.edit, Manner::Edit, &mut |current| {
        let applied = |binding: &Binding| {
            let entries = current.policy.entries();
            let place = entries.binary_search_by(|entry| entry.binding.cmp(binding));
            place.is_ok_and(|place| entries[place].owner.is_none())
        };
        missing = removed.iter().filter(|binding| !applied(binding)).cloned().collect();
        if !missing.is_empty() {
            return Err(Error::Refused(String::new()));
        }
        let gone: HashSet<&Binding> = removed.iter().collect();
        Ok(current.policy.filtered(|entry| entry.owner.is_some() || !gone.contains(&entry.binding)))
    });
    if missing.is_empty() {
        return result;
    }
    let said = missing.iter().map(|binding| Said::with_help(format!("`{binding}` is not applied"), "sklookup list"));
    Err(Failure { exit: crate::output::NO, said: said.collect() })
}

fn parse(words: &[String], command: &str) -> Result<Vec<Entry>, Failure> {
    let line = words.join(" ");
    parse_binding(&line, Origin::Command(format!("sklookup {command} {line}").into()))
        .map_err(|problem| Failure::new(Said { message: problem.message, help: problem.help, place: None }))
}
