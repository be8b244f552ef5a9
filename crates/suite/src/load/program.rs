//! Programs: the text form, a policy to compile, or one of an object file.

use std::sync::Arc;

use sklookup_bpf::{ProgramSpec, ProgramType, parse};
use sklookup_compiler::Strategy;
use sklookup_policy::reading::{parse_binding_up_to, quote};
use sklookup_policy::{Label, Origin, Policy, Problem};

use super::object::Objects;
use super::tree::{Keys, Node, Read, Value, Wrong};
use crate::case::{Compiled, Program};

const FORM: &str =
    "a program's text, { text = \"...\" }, { policy = [\"web tcp 192.0.2.0/24 80\"] } or { object = \"x.o\" }";

/// The most bindings of a case's policy: enough for every strategy, and a line can be a million.
const MAX_BINDINGS: usize = 10_000;

pub(super) fn program(name: &str, node: Node, objects: &Objects<'_>) -> Read<Program> {
    if let Value::Text(text) = &node.value {
        return Ok(Program::Text(Arc::new(spec(name, text, ProgramType::SkLookup, "GPL", node.line)?)));
    }
    let mut keys = node.keys(&format!("program {name}"), FORM)?;
    let read = match (keys.has("policy"), keys.has("object")) {
        (true, _) => Program::Policy(Arc::new(compiled(&mut keys)?)),
        (_, true) => Program::Object(Box::new(objects.program(name, &mut keys)?)),
        _ => {
            let text = keys.required("text", FORM)?;
            let kind = keys.take("type");
            let kind = match kind.as_ref().map(|kind| kind.text("type", "\"sk_reuseport\"")).transpose()? {
                None | Some("sk_lookup") => ProgramType::SkLookup,
                Some("sk_reuseport") => ProgramType::SkReuseport,
                Some(other) => {
                    let message = format!("{} is no type of program", quote(other));
                    return Err(Wrong::new(text.line, message, "the types are sk_lookup and sk_reuseport"));
                }
            };
            let license = keys.text("license", "\"GPL\"")?.unwrap_or_else(|| "GPL".to_owned());
            Program::Text(Arc::new(spec(name, text.text("text", FORM)?, kind, &license, text.line)?))
        }
    };
    keys.end()?;
    Ok(read)
}

fn spec(name: &str, text: &str, kind: ProgramType, license: &str, line: u32) -> Read<ProgramSpec> {
    let parsed = parse(text).map_err(|error| Wrong {
        line,
        problem: Problem::new(format!("program {name}, {}: {}", place(&error), error.what)).help(error.valid),
    })?;
    Ok(ProgramSpec {
        name: name.to_owned(),
        kind,
        license: license.to_owned(),
        insns: parsed.insns,
        maps: parsed.maps,
        notes: Default::default(),
        btf: None,
    })
}

fn place(error: &sklookup_bpf::ParseError) -> String {
    format!("its line {}, column {}", error.line, error.column)
}

fn compiled(keys: &mut Keys) -> Read<Compiled> {
    let node = keys.required("policy", "[\"web tcp 192.0.2.0/24 80\"]")?;
    let line = node.line;
    let lines = node.texts("policy", "an array of bindings, [\"web tcp 192.0.2.0/24 80\"]")?;
    let mut entries = Vec::new();
    let wrong = |problem: Problem| Wrong { line, problem: Problem { origin: None, ..problem } };
    for text in &lines {
        let left = MAX_BINDINGS - entries.len();
        entries.extend(parse_binding_up_to(left, text, Origin::Command(text.as_str().into())).map_err(wrong)?);
    }
    let policy = Policy::new(entries).map_err(|mut problems| wrong(problems.swap_remove(0)))?;
    let strategy = keys.take("strategy");
    let strategy = match strategy.as_ref().map(|node| node.text("strategy", "\"branches\" or \"hash\"")).transpose()? {
        None => None,
        Some("branches") => Some(Strategy::Branches),
        Some("hash") => Some(Strategy::Hash),
        Some(other) => {
            return Err(Wrong::new(line, format!("{} is no strategy", quote(other)), "write \"branches\" or \"hash\""));
        }
    };
    let mut sockets = Vec::new();
    for (label, node) in keys.named("sockets", "{ web = [\"A\"] }")? {
        if !policy.labels().iter().any(|known| known.as_str() == label) {
            let labels: Vec<&str> = policy.labels().iter().map(Label::as_str).collect();
            return Err(Wrong::new(
                node.line,
                format!("no binding has label {}", quote(&label)),
                format!("the labels are {}", labels.join(", ")),
            ));
        }
        sockets.push((label, node.texts("sockets", "{ web = [\"A\"] }")?));
    }
    Ok(Compiled { policy, strategy, sockets })
}
