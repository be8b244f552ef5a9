//! docs/terminal.md shows what the commands print: it is made again, and compared.
//!
//! `SKLOOKUP_WRITE_TERMINAL=1 cargo test -p sklookup-cli --test terminal` writes it, as root.

use std::path::Path;
use std::process::Command;

use sklookup_testbed::{Completion, Sandbox, Trial, kernel_trial};

/// What the script takes besides the usual.
const TOOLS: [&str; 3] = ["script", "pgrep", "unshare"];

fn main() {
    const NAME: &str = "the_page_of_terminal_captures_is_what_the_commands_print";
    let missing = TOOLS.iter().find(|tool| Command::new(tool).arg("--version").output().is_err());
    sklookup_testbed::main(vec![match missing {
        None => kernel_trial(NAME, page),
        Some(tool) => {
            Trial::ignorable_test(NAME, move || Ok(Completion::ignored_with(format!("{tool} is not installed"))))
        }
    }]);
}

fn page(_: &Sandbox) {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let bin = Path::new(env!("CARGO_BIN_EXE_sklookup")).parent().expect("a program is in a directory");
    assert!(bin.join("examples/hello").exists(), "built with the tests: cargo build -p sklookup-cli --examples");
    let output = Command::new(docs.join("terminal")).env("BIN", bin).output().unwrap();
    let made = String::from_utf8(output.stdout).expect("the page is text");
    assert!(output.status.success(), "{}{made}", String::from_utf8_lossy(&output.stderr));

    let path = docs.join("terminal.md");
    if std::env::var_os("SKLOOKUP_WRITE_TERMINAL").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap();
    let differ = committed.lines().zip(made.lines()).enumerate().find(|(_, (before, now))| before != now);
    if let Some((line, (before, now))) = differ {
        panic!(
            "docs/terminal.md:{}: the page has\n  {before}\nand now it is\n  {now}\nSKLOOKUP_WRITE_TERMINAL=1 writes it anew",
            line + 1
        );
    }
    assert_eq!(committed.lines().count(), made.lines().count(), "one has more than the other");
}
