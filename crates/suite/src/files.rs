//! Which files a person means: those named, and all `*.toml` under the directories named.

use std::path::{Path, PathBuf};
use std::{fs, io};

use sklookup_bpf::object::MAX_BYTES;
use sklookup_policy::Problem;

use crate::case::Case;
use crate::load::{MAX_FILE_BYTES, load_with};

/// How deep directories are looked into: further down there is a loop.
const MAX_DEPTH: usize = 32;

/// The case files among these, sorted within each directory.
///
/// # Errors
/// What can't be read, with why.
pub fn case_files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Vec<Problem>> {
    let (mut files, mut problems) = (Vec::new(), Vec::new());
    for path in paths {
        if let Err((path, error)) = collect(path, 0, &mut files) {
            problems.push(unreadable(&path, &error));
        }
    }
    if problems.is_empty() { Ok(files) } else { Err(problems) }
}

/// The cases of these files, in their order.
///
/// # Errors
/// Everything that is wrong with any of them.
pub fn read_cases(files: &[PathBuf]) -> Result<Vec<Case>, Vec<Problem>> {
    let (mut cases, mut problems) = (Vec::new(), Vec::new());
    for path in files {
        match read(path)
            .map_err(|error| vec![unreadable(path, &error)])
            .and_then(|text| load_with(&text, &path.to_string_lossy(), &|object| read_object(path, object)))
        {
            Ok(read) => cases.extend(read),
            Err(wrong) => problems.extend(wrong),
        }
    }
    if problems.is_empty() { Ok(cases) } else { Err(problems) }
}

fn collect(path: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), (PathBuf, io::Error)> {
    let at = |error| (path.to_owned(), error);
    if !fs::metadata(path).map_err(at)?.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    if depth == MAX_DEPTH {
        return Ok(());
    }
    let mut entries: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(path).map_err(at)? {
        entries.push(entry.map_err(at)?.path());
    }
    entries.sort();
    for entry in entries {
        if entry.is_dir() || entry.extension().is_some_and(|extension| extension == "toml") {
            collect(&entry, depth + 1, files)?;
        }
    }
    Ok(())
}

/// The object file that a case file names, from the directory of the case file.
///
/// # Errors
/// Why it can't be read, in words.
pub fn read_object(cases: &Path, object: &str) -> Result<Vec<u8>, String> {
    let path = cases.parent().unwrap_or(Path::new("")).join(object);
    let read = fs::metadata(&path).and_then(|file| match file.is_file() {
        true => bytes(&path, MAX_BYTES),
        // Nobody can say when a pipe or a device ends.
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no file")),
    });
    read.map_err(|error| lower(error.to_string().split(" (os error").next().unwrap_or_default()))
}

fn read(path: &Path) -> io::Result<String> {
    String::from_utf8(bytes(path, MAX_FILE_BYTES)?)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8 text"))
}

/// The bytes of a file, and one more than it may have: enough to know that it is too long.
fn bytes(path: &Path, most: usize) -> io::Result<Vec<u8>> {
    use io::Read;
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(most as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn unreadable(path: &Path, error: &io::Error) -> Problem {
    let why = error.to_string();
    let why = why.split(" (os error").next().unwrap_or_default();
    Problem::new(format!("{}: {}", path.display(), lower(why)))
        .help("name a case file that can be read, or a directory with such files")
}

/// The sentence with its first letter small, as messages here are.
fn lower(sentence: &str) -> String {
    let mut chars = sentence.chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}
