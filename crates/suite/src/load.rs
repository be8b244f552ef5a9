//! Case files: TOML that becomes [`Case`]s, or everything that is wrong with it.

mod case;
mod map;
mod object;
mod packet;
mod program;
mod program_context;
mod room;
mod socket;
mod step;
mod table;
mod tree;
mod world;

use std::collections::HashSet;
use std::sync::Arc;

use sklookup_policy::reading::{Lines, Problems, parse_toml, quote};
use sklookup_policy::{Origin, Problem};

use crate::case::Case;
use object::Objects;
use room::Room;
use tree::{Keys, Node, Read, Value, Wrong, tree};

/// The largest case file, in bytes.
pub const MAX_FILE_BYTES: usize = 4 << 20;

/// The most cases of a file.
pub const MAX_CASES: usize = 20_000;

/// Reads a case file; `path` is only used to say where something is. Nothing is opened: an object file that a case names is
/// a problem.
///
/// # Errors
/// Everything that is wrong, up to one problem a case; or what TOML finds wrong when it is not TOML.
pub fn load(text: &str, path: &str) -> Result<Vec<Case>, Vec<Problem>> {
    load_with(text, path, &|_| Err("object files are not read here".to_owned()))
}

/// Reads a case file whose cases may name object files; `read` has the bytes of one, or says why it hasn't.
///
/// # Errors
/// As [`load`], and what is wrong with an object.
pub fn load_with(
    text: &str,
    path: &str,
    read: &dyn Fn(&str) -> Result<Vec<u8>, String>,
) -> Result<Vec<Case>, Vec<Problem>> {
    let objects = Objects::new(read);
    let path: Arc<str> = path.into();
    let at = |line, problem: Problem| problem.at(Origin::File { path: path.clone(), line });
    if text.len() > MAX_FILE_BYTES {
        let problem = Problem::new(format!("the file has {} bytes", text.len()));
        return Err(vec![at(1, problem.help(format!("a case file has at most {MAX_FILE_BYTES} (4 MiB)")))]);
    }
    let lines = Lines::new(text);
    let document = parse_toml(text, &lines, &path)?;
    let mut problems = Problems::default();
    let mut cases = Vec::new();
    let mut names = HashSet::new();
    let mut shared = case::Shared::default();
    let root = Node { line: 1, value: Value::Table(tree(&document, &lines)) };
    let mut room = Room::of_a_file();
    let nodes = match written_out(root, &mut shared, &objects, &mut room) {
        Ok(nodes) => nodes,
        Err(wrong) => return Err(vec![at(wrong.line, wrong.problem)]),
    };
    room.share(nodes.len());
    for node in nodes {
        let (line, name) = (node.line, name_of(&node));
        let read = case::read(node, &shared, &path, &objects, &mut room).and_then(|case| {
            if !names.insert(case.name.clone()) {
                return Err(Wrong::new(
                    line,
                    "another case has this name",
                    "choose another: `--case` finds a case by it",
                ));
            }
            Ok(case)
        });
        match read {
            Ok(case) => cases.push(case),
            Err(Wrong { line, problem }) => problems.add(|| {
                let message = format!("case {}: {}", quote(&name), problem.message);
                at(line, Problem { message, ..problem })
            }),
        }
        if room.is_spent() {
            break;
        }
    }
    problems.or(cases)
}

/// The cases of a file, those of tables written out, in its order; what all share goes to `shared`.
fn written_out(root: Node, shared: &mut case::Shared, objects: &Objects<'_>, room: &mut Room) -> Read<Vec<Node>> {
    let mut keys = root.keys("the file", "[[case]]")?;
    shared.read(&mut keys, objects)?;
    let mut nodes = Vec::new();
    for node in list(&mut keys, "case")? {
        nodes.push(node);
    }
    for node in list(&mut keys, "table")? {
        nodes.extend(table::expand(node.keys("table", "[[table]] and its keys below")?, room)?);
    }
    keys.end()?;
    if nodes.len() > MAX_CASES {
        return Err(Wrong::new(
            1,
            format!("the file has {} cases", nodes.len()),
            format!("a file has at most {MAX_CASES}"),
        ));
    }
    nodes.sort_by_key(|node| node.line);
    Ok(nodes)
}

fn list(keys: &mut Keys, key: &'static str) -> Read<Vec<Node>> {
    match keys.take(key) {
        None => Ok(Vec::new()),
        Some(Node { value: Value::List(items), .. }) => Ok(items),
        Some(node) => Err(node.not(key, &format!("[[{key}]] above the keys of each"))),
    }
}

/// What a case that is wrong is called, for the message.
fn name_of(node: &Node) -> String {
    let Value::Table(entries) = &node.value else { return String::new() };
    let name = entries.iter().find(|(key, _)| key == "name").map(|(_, name)| &name.value);
    match name {
        Some(Value::Text(name)) => name.clone(),
        _ => String::new(),
    }
}
