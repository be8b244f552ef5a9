//! Maps: `{ type = "sockmap", entries = 2, sockets = { 0 = "A" } }`.

use sklookup_bpf::{MapFlags, MapSpec, MapType};
use sklookup_policy::reading::quote;

use super::tree::{Keys, Node, Read, Value as Tree, Wrong};
use crate::bytes::Bytes;
use crate::case::{Map, Value};

const FORM: &str = "{ type = \"sockmap\", entries = 2, sockets = { 0 = \"A\" } }";
const KINDS: [(&str, MapType); 10] = [
    ("array", MapType::Array),
    ("hash", MapType::Hash),
    ("lpm-trie", MapType::LpmTrie),
    ("lru-hash", MapType::LruHash),
    ("percpu-array", MapType::PercpuArray),
    ("percpu-hash", MapType::PercpuHash),
    ("ringbuf", MapType::Ringbuf),
    ("sockmap", MapType::Sockmap),
    ("sockhash", MapType::Sockhash),
    ("reuseport", MapType::ReuseportSockarray),
];
const BYTES: &str = "a number, or bytes such as \"hex:00ff\", \"u32:7\" or \"be16:80\"";

/// Larger maps are refused here: a case shows a rule, it does not fill the memory. What the kernel refuses at once is not.
const MAX_ENTRIES: u32 = 1 << 20;
const MAX_KEY: u32 = 1 << 16;
const MAX_VALUE: u32 = 1 << 20;
const MAX_MEMORY: u64 = 16 << 20;

/// What a case says of a map.
#[derive(Clone)]
pub(super) enum Said {
    /// All of it.
    Map(Map),
    /// What is in it: it is a map of an object.
    Contents(Contents),
}

/// What is in a map of an object, besides what the object puts there.
#[derive(Clone)]
pub(super) struct Contents {
    /// Where it is said.
    pub(super) line: u32,
    pub(super) values: Vec<(Bytes, Value)>,
}

pub(super) fn map(name: &str, node: Node) -> Read<Said> {
    let line = node.line;
    let mut keys = node.keys(&format!("map {name}"), FORM)?;
    if !keys.has("type") && (keys.has("sockets") || keys.has("values")) {
        let values = contents(&mut keys)?;
        keys.end()?;
        return Ok(Said::Contents(Contents { line, values }));
    }
    let kind = keys.required("type", "\"sockmap\"")?;
    let word = kind.text("type", "\"sockmap\"")?;
    let Some((_, kind)) = KINDS.iter().find(|(known, _)| *known == word) else {
        let names: Vec<&str> = KINDS.iter().map(|(name, _)| *name).collect();
        return Err(Wrong::new(
            kind.line,
            format!("{} is no type of map", quote(word)),
            format!("the types are {}", names.join(", ")),
        ));
    };
    let entries = keys.number("entries", "a number of entries")?.unwrap_or(1);
    let key = keys.number("key-size", "a number of bytes")?.unwrap_or(4);
    let value = keys.number("value-size", "a number of bytes")?.unwrap_or(8);
    let flags = keys.number("flags", "a number")?.unwrap_or(0);
    let small = entries <= MAX_ENTRIES && u64::from(entries) * (u64::from(key) + u64::from(value)) <= MAX_MEMORY;
    // The kernel refuses a sockhash of so many entries before it asks for memory.
    let refused = *kind == MapType::Sockhash && entries > i32::MAX as u32;
    if !(small || refused) || key > MAX_KEY || value > MAX_VALUE {
        return Err(Wrong::new(
            line,
            format!("map {name} is too large for a case"),
            "make it smaller: 16 MiB and a million entries are the most",
        ));
    }
    let contents = contents(&mut keys)?;
    keys.end()?;
    let spec = MapSpec { flags: MapFlags(flags), ..MapSpec::new(name, *kind, key, value, entries) };
    Ok(Said::Map(Map { spec, contents }))
}

/// What is put into a map at the start.
fn contents(keys: &mut Keys) -> Read<Vec<(Bytes, Value)>> {
    let mut contents = Vec::new();
    for (key, node) in keys.named("sockets", "{ 0 = \"A\" }")? {
        let socket = node.text("a socket", "the name of a socket")?.to_owned();
        contents.push((key_of(&key, node.line)?, Value::Socket(socket)));
    }
    for (key, node) in keys.named("values", "{ 0 = 7 }")? {
        contents.push((key_of(&key, node.line)?, Value::Bytes(bytes(&node, "a value")?)));
    }
    Ok(contents)
}

/// A key or value, written as a number or as bytes.
pub(super) fn bytes(node: &Node, what: &str) -> Read<Bytes> {
    let bytes = match &node.value {
        Tree::Number(number) => Some(Bytes::Number(*number)),
        Tree::Text(text) => Bytes::parse(text),
        _ => None,
    };
    bytes.ok_or_else(|| node.not(what, BYTES))
}

/// A key that stands as the key of a TOML table: always text there.
fn key_of(text: &str, line: u32) -> Read<Bytes> {
    let number = text.parse().ok().map(Bytes::Number);
    number
        .or_else(|| Bytes::parse(text))
        .ok_or_else(|| Wrong::new(line, format!("{} is no key", quote(text)), format!("write {BYTES}")))
}
