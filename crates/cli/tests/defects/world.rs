//! Commands as typed, and what they leave behind.

use std::path::{Path, PathBuf};

use sklookup_testbed::Sandbox;

use crate::command::{Ran, document, sklookup};

/// Runs a command line; no word has a blank in it.
pub fn typed(line: &str) -> Ran {
    sklookup(&line.split(' ').collect::<Vec<_>>())
}

/// Runs a command line that has to work.
pub fn done(line: &str) -> Ran {
    let ran = typed(line);
    assert_eq!(ran.exit, 0, "{line}: {ran:?}");
    ran
}

/// Writes a policy file of one-line bindings.
pub fn policy(sandbox: &Sandbox, lines: impl IntoIterator<Item = String>) -> String {
    let lines: Vec<String> = lines.into_iter().map(|line| format!("  {line:?},\n")).collect();
    let file = sandbox.scratch.join("policy.toml");
    std::fs::write(&file, format!("bindings = [\n{}]\n", lines.concat())).unwrap();
    file.to_str().unwrap().to_owned()
}

/// The applied policy.
pub fn exported() -> String {
    done("export").stdout
}

/// The labels that `status` shows.
pub fn labels() -> Vec<String> {
    let (_, status) = document(&["status"]);
    let labels = status["labels"].as_array().unwrap();
    labels.iter().map(|label| label["label"].as_str().unwrap().to_owned()).collect()
}

/// The directory of the state of a namespace.
pub fn state_directory(sandbox: &Sandbox, netns_inode: u64) -> PathBuf {
    sandbox.bpffs.join("sklookup").join(netns_inode.to_string())
}

/// The names of the label maps that the live generation keeps.
pub fn label_pins(state: &Path) -> usize {
    std::fs::read_dir(state.join("current").join("labels")).unwrap().count()
}
