//! Objects to test with: those of this repository, or those that were just built (`SKLOOKUP_OBJECTS`).

use std::path::{Path, PathBuf};

use sklookup_bpf::object::{Object, ObjectError};

/// Where they are.
pub fn directory() -> PathBuf {
    match std::env::var_os("SKLOOKUP_OBJECTS") {
        Some(path) => path.into(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/objects"),
    }
}

/// One directory for each compiler and instruction set.
pub fn builds() -> Vec<String> {
    let entries =
        std::fs::read_dir(directory()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut builds: Vec<String> = entries.filter(|name| name.starts_with("clang")).collect();
    builds.sort_unstable();
    assert!(builds.len() >= 4, "one for each instruction set at least: {builds:?}");
    builds
}

/// The object of this name, such as `clang-19-v3/assign`.
pub fn read(name: &str) -> Result<Object, ObjectError> {
    let path = directory().join(name).with_extension("o");
    Object::parse(&std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

/// Calls `check` with the object of this name as every compiler makes it.
pub fn of_every_build(name: &str, check: impl Fn(Object)) {
    for build in builds() {
        println!("{build}/{name}");
        check(read(&format!("{build}/{name}")).unwrap_or_else(|error| panic!("{build}/{name}: {error}")));
    }
}
