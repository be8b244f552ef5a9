//! Writes what the fuzzers start from, `fuzz/corpus/TARGET/*`, made of the cases and documents of this repository:
//! whatever is stated there is tried with a difference.
//!
//! It runs in the root of the repository; in `fuzz` it would be compiled as a fuzzer.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use sklookup_bpf::{Insn, encode, parse};
use sklookup_compiler::{Options, Strategy, compile};
use sklookup_policy::{Origin, Policy, parse_binding, parse_file};
use toml::{Table, Value};

/// Directories with files of TOML, and documents with blocks of it.
const DIRECTORIES: [&str; 2] = ["testdata/lookup", "crates/policy/testdata"];
const DOCUMENTS: [&str; 3] = ["README.md", "docs/cases.md", "docs/policy.md"];
const STATES: &str = "testdata/state";
const CAPTURES: &str = "testdata/captures";
const OBJECTS: &str = "testdata/objects";

/// For the maps of a vm's input: all an array, all a hash, all a SOCKMAP, all a SOCKHASH, or one after the other.
const MAP_SHAPES: [[u8; 4]; 5] = [[1; 4], [0; 4], [9; 4], [10; 4], [3, 4, 6, 7]];
/// Bindings of a policy that is made of some.
const BINDINGS: usize = 6;

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result {
    let mut corpus = Corpus { root: "fuzz/corpus".into(), seeds: 0 };
    for text in documents()? {
        let Ok(document) = text.parse::<Table>() else { continue };
        if document.contains_key("binding") || document.contains_key("bindings") {
            corpus.policy(&text)?;
        }
        for case in cases(&document) {
            corpus.add("cases", toml::to_string(&case)?.as_bytes())?;
        }
        let mut strings = Vec::new();
        collect(&Value::Table(document), &mut strings);
        for text in &strings {
            match parse(text) {
                Ok(parsed) if parsed.insns.len() > 1 => {
                    corpus.add("text", text.as_bytes())?;
                    corpus.program(&parsed.insns)?;
                }
                _ => {}
            }
        }
        let is_binding = |line: &&String| parse_binding(line, Origin::Command("seed".into())).is_ok();
        let bindings: Vec<String> = strings.iter().filter(is_binding).cloned().collect();
        for some in bindings.chunks(BINDINGS) {
            corpus.policy(&toml::to_string(&Table::from_iter([("bindings".to_owned(), some.to_vec().into())]))?)?;
        }
    }
    for path in files(Path::new(STATES))? {
        corpus.add("record", &fs::read(path)?)?;
    }
    for path in files(Path::new(CAPTURES))?.iter().filter(|path| path.extension().is_some_and(|kind| kind != "md")) {
        // What is said beside it: nothing, and everything.
        for asked in [0, 0xff] {
            corpus.add("capture", &[&[asked], &fs::read(path)?[..]].concat())?;
        }
    }
    for directory in files(Path::new(OBJECTS))?.iter().filter(|path| path.is_dir()) {
        for path in files(directory)?.iter().filter(|path| path.extension().is_some_and(|kind| kind == "o")) {
            corpus.add("object", &fs::read(path)?)?;
        }
    }
    println!("{} seeds in {}", corpus.seeds, corpus.root.display());
    Ok(())
}

/// Every file and every block of TOML.
fn documents() -> Result<Vec<String>> {
    let mut documents = Vec::new();
    for directory in DIRECTORIES {
        for path in files(Path::new(directory))? {
            documents.push(fs::read_to_string(path)?);
        }
    }
    for path in DOCUMENTS {
        let text = fs::read_to_string(path)?;
        let blocks = text.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
        documents.extend(blocks.map(str::to_owned));
    }
    Ok(documents)
}

fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(directory)? {
        files.push(entry?.path());
    }
    files.sort();
    Ok(files)
}

/// Each case or table of a file as a file of its own, with what the cases share.
fn cases(document: &Table) -> Vec<Table> {
    let of = |key: &'static str| {
        let items = document.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
        items.into_iter().map(move |item| (key, item))
    };
    let shared = document.iter().filter(|(key, _)| *key == "map" || *key == "program");
    let shared: Table = shared.map(|(key, value)| (key.clone(), value.clone())).collect();
    let alone = |(key, item): (&str, Value)| {
        let mut file = shared.clone();
        file.insert(key.to_owned(), vec![item].into());
        file
    };
    of("case").chain(of("table")).map(alone).collect()
}

/// All strings in a value.
fn collect(value: &Value, strings: &mut Vec<String>) {
    match value {
        Value::String(text) => strings.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| collect(item, strings)),
        Value::Table(table) => table.iter().for_each(|(_, value)| collect(value, strings)),
        _ => {}
    }
}

/// The directories of all targets.
struct Corpus {
    root: PathBuf,
    seeds: usize,
}

impl Corpus {
    fn add(&mut self, target: &str, bytes: &[u8]) -> Result {
        let directory = self.root.join(target);
        fs::create_dir_all(&directory)?;
        fs::write(directory.join(format!("seed-{:04}", self.seeds)), bytes)?;
        self.seeds += 1;
        Ok(())
    }

    /// A program for those who read instructions.
    fn program(&mut self, insns: &[Insn]) -> Result {
        let code = encode(insns);
        self.add("decoder", &code)?;
        for shape in MAP_SHAPES {
            self.add("vm", &[&shape[..], &[0; 4], &code].concat())?;
        }
        Ok(())
    }

    /// A policy, and the programs that it compiles to.
    fn policy(&mut self, text: &str) -> Result {
        self.add("policy", text.as_bytes())?;
        let Ok(policy) = parse_file(text, "seed").and_then(Policy::new) else { return Ok(()) };
        for strategy in [Strategy::Branches, Strategy::Hash] {
            let interfaces = policy.interfaces().iter().cloned().zip(1..).collect();
            let options = Options { interfaces, cpus: 2, strategy: Some(strategy) };
            if let Ok(compiled) = compile(&policy, &options) {
                self.add("text", compiled.program.listing().to_string().as_bytes())?;
                self.add("decoder", &compiled.program.bytes())?;
            }
        }
        Ok(())
    }
}
