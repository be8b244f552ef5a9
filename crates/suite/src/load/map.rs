//! Maps: `{ type = "sockmap", entries = 2, sockets = { 0 = "A" } }`.

use sklookup_bpf::{MapFlags, MapSpec, MapType};
use sklookup_policy::reading::quote;

use super::tree::{Keys, Node, Read, Value as Tree, Wrong};
use crate::bytes::Bytes;
use crate::case::{Map, Value};

const FORM: &str = "{ type = \"sockmap\", entries = 2, sockets = { 0 = \"A\" } }";
const KINDS: [(&str, MapType); 13] = [
    ("array", MapType::Array),
    ("array-of-maps", MapType::ArrayOfMaps),
    ("hash", MapType::Hash),
    ("hash-of-maps", MapType::HashOfMaps),
    ("lpm-trie", MapType::LpmTrie),
    ("lru-hash", MapType::LruHash),
    ("percpu-array", MapType::PercpuArray),
    ("percpu-hash", MapType::PercpuHash),
    ("prog-array", MapType::ProgArray),
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
    if !keys.has("type") && ["sockets", "values", "programs", "maps"].iter().any(|key| keys.has(key)) {
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
    let usual = usual(*kind);
    let entries = keys.number("entries", "a number of entries")?.unwrap_or(usual.max_entries);
    let key = keys.number("key-size", "a number of bytes")?.unwrap_or(usual.key_size);
    let value = keys.number("value-size", "a number of bytes")?.unwrap_or(usual.value_size);
    let flags = keys.number("flags", "a number")?.unwrap_or(usual.flags.0);
    let inner = keys.take("inner").map(|node| inner(name, node)).transpose()?;
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
    let spec = MapSpec { flags: MapFlags(flags), inner, ..MapSpec::new(name, *kind, key, value, entries) };
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
    for (key, node) in keys.named("programs", "{ 0 = \"p\" }")? {
        let program = node.text("a program", "the name of a program")?.to_owned();
        contents.push((key_of(&key, node.line)?, Value::Program(program)));
    }
    for (key, node) in keys.named("maps", "{ 0 = \"m\" }")? {
        let map = node.text("a map", "the name of a map")?.to_owned();
        contents.push((key_of(&key, node.line)?, Value::Map(map)));
    }
    Ok(contents)
}

/// What the maps in a map of maps look like.
fn inner(name: &str, node: Node) -> Read<Box<MapSpec>> {
    let line = node.line;
    if let Said::Map(inner) = map(&format!("{name}, inner"), node)?
        && inner.contents.is_empty()
    {
        return Ok(Box::new(inner.spec));
    }
    let message = format!("what maps in {name} look like has something in it");
    Err(Wrong::new(line, message, "write what is in a map where that map is"))
}

/// What a map of this type is like unless the case says otherwise.
fn usual(kind: MapType) -> MapSpec {
    match kind {
        MapType::Ringbuf => MapSpec::ringbuf("", 4096),
        MapType::LpmTrie => MapSpec { flags: MapFlags::NO_PREALLOC, ..MapSpec::new("", kind, 8, 8, 1) },
        MapType::ProgArray | MapType::ArrayOfMaps | MapType::HashOfMaps => MapSpec::new("", kind, 4, 4, 1),
        _ => MapSpec::new("", kind, 4, 8, 1),
    }
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
