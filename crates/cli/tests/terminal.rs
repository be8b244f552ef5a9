//! docs/terminal.md shows what the commands print: it is made again, and compared.
//!
//! `SKLOOKUP_WRITE_TERMINAL=1 cargo test -p sklookup-cli --test terminal` writes it, as root.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use sklookup_testbed::{Completion, Sandbox, Trial, kernel_trial, kernel_trial_with};

/// What the script takes besides the usual.
const TOOLS: [&str; 3] = ["script", "pgrep", "unshare"];

/// The section that takes tmux: without it the script leaves that out.
const SCREEN: &str = "## Again and again";

/// With this in the environment the page is written.
const WRITE: &str = "SKLOOKUP_WRITE_TERMINAL";

fn main() {
    const NAMES: [&str; 2] =
        ["the_page_of_terminal_captures_is_what_the_commands_print", "the_screen_on_it_is_what_top_draws"];
    let missing = TOOLS.iter().find(|tool| Command::new(tool).arg("--version").output().is_err());
    sklookup_testbed::main(match missing {
        None => vec![
            kernel_trial(NAMES[0], |_: &Sandbox| compare(false)),
            kernel_trial_with("tmux", NAMES[1], |_: &Sandbox| compare(true)),
        ],
        Some(tool) => {
            let ignored = move || Ok(Completion::ignored_with(format!("{tool} is not installed")));
            NAMES.map(|name| Trial::ignorable_test(name, ignored)).into()
        }
    });
}

/// Compares the page with what the script makes: the section of the screen, or all but that.
fn compare(screen: bool) {
    let made = made();
    let committed = std::fs::read_to_string(docs("terminal.md")).unwrap();
    let (committed, made) = (lines(&committed, screen), lines(made, screen));
    let differ = committed.iter().zip(&made).find(|((_, before), (_, now))| before != now);
    if let Some(((line, before), (_, now))) = differ {
        panic!("docs/terminal.md:{line}: the page has\n  {before}\nand now it is\n  {now}\n{WRITE}=1 writes it anew");
    }
    assert_eq!(committed.len(), made.len(), "one has more than the other; {WRITE}=1 writes it anew");
}

/// The lines of a part of a page, with their numbers.
fn lines(page: &str, screen: bool) -> Vec<(usize, &str)> {
    let mut within = false;
    let mut is_part = |line: &str| {
        within = line.starts_with(SCREEN) || within && !line.starts_with("## ");
        within == screen
    };
    (1..).zip(page.lines()).filter(|(_, line)| is_part(line)).collect()
}

/// The page that the script makes now.
fn made() -> &'static str {
    static MADE: OnceLock<String> = OnceLock::new();
    MADE.get_or_init(|| {
        let bin = Path::new(env!("CARGO_BIN_EXE_sklookup")).parent().expect("a program is in a directory");
        assert!(bin.join("hello").exists(), "built with all tests, not with those of one package: cargo build");
        let output = Command::new(docs("terminal")).env("BIN", bin).output().unwrap();
        let made = String::from_utf8(output.stdout).expect("the page is text");
        assert!(output.status.success(), "{}{made}", String::from_utf8_lossy(&output.stderr));
        if std::env::var_os(WRITE).is_some() {
            assert!(made.contains(SCREEN), "the whole page takes tmux");
            std::fs::write(docs("terminal.md"), &made).unwrap();
        }
        made
    })
}

fn docs(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(file)
}
