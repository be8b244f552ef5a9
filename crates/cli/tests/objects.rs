//! Object files: docs/objects.md as it is typed, and what is said of an object that is refused.

#[path = "command/mod.rs"]
mod command;

use std::path::{Path, PathBuf};
use std::process::Command;

use command::sklookup;
use sklookup_testbed::{Completion, Sandbox, Trial, kernel_trial, plain_trial};

fn main() {
    sklookup_testbed::main(vec![
        plain_trial("the_example_holds_on_the_engine", || example(&["--on", "engine"])),
        kernel_trial("the_example_holds_on_the_kernel", |_: &Sandbox| example(&["--on", "kernel"])),
        Trial::ignorable_test("the_page_works_as_typed", || Ok(page()?)),
        plain_trial("an_object_that_is_refused_is_told_with_the_line_that_names_it", refused),
        plain_trial("an_object_that_is_not_there_is_told", missing),
    ])
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// An empty directory of this test's own.
fn directory(test: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("objects").join(test);
    let _ = std::fs::remove_dir_all(&directory);
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

fn example(arguments: &[&str]) {
    let cases = root().join("examples/objects/steer.toml");
    let ran = sklookup(&[&["test", cases.to_str().unwrap()], arguments].concat());
    assert_eq!(ran.exit, 0, "{ran:?}");
    assert!(ran.stdout.ends_with(" passed, 0 failed, 0 skipped\n"), "{ran:?}");
}

/// The first block of commands, in a copy of the example without its object; `sudo` is left out.
fn page() -> Result<Completion, String> {
    let Some(clang) = ["clang-19", "clang"].into_iter().find(|name| runs(name)) else {
        let reason = "there is no clang to compile the example with";
        return match std::env::var_os("CI") {
            Some(_) => Err(format!("{reason}, and .ci/run installs it")),
            None => Ok(Completion::ignored_with(reason)),
        };
    };
    let page = std::fs::read_to_string(root().join("docs/objects.md")).unwrap();
    let block = page.split("```sh\n").nth(1).and_then(|rest| rest.split("```").next()).expect("it shows commands");
    let here = directory("page");
    for file in ["steer.c", "steer.toml"] {
        std::fs::copy(root().join("examples/objects").join(file), here.join(file)).unwrap();
    }
    let mut ran = 0;
    for line in block.lines() {
        let line = line.strip_prefix("sudo ").unwrap_or(line);
        let line = match line.split_once(' ') {
            Some(("clang", rest)) => format!("{clang} {rest}"),
            Some(("sklookup", rest)) => format!("{} {rest}", env!("CARGO_BIN_EXE_sklookup")),
            _ => panic!("{line}: another command"),
        };
        let output = Command::new("sh").args(["-c", &line]).current_dir(&here).output().unwrap();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        ran += 1;
    }
    assert_eq!(ran, 3);
    Ok(Completion::Completed)
}

fn runs(command: &str) -> bool {
    Command::new(command).arg("--version").output().is_ok_and(|output| output.status.success())
}

fn case(test: &str, object: &str) -> PathBuf {
    let path = directory(test).join("c.toml");
    let text = format!(
        "[[case]]\nname = \"x\"\nprogram.p = {{ object = \"{object}\" }}\nstep = [{{ query = true, expect = [] }}]\n"
    );
    std::fs::write(&path, text).unwrap();
    path
}

fn refused() {
    let path = case("refused", root().join("testdata/objects/refused/kconfig.o").to_str().unwrap());
    let ran = sklookup(&["test", path.to_str().unwrap()]);
    assert_eq!((ran.exit, ran.stdout.as_str()), (2, ""), "{ran:?}");
    assert!(ran.stderr.contains(&format!("{}:3: case \"x\": program p, object ", path.display())), "{ran:?}");
    assert!(
        ran.stderr.contains("section sk_lookup, function hz: slot 0 uses CONFIG_HZ: variables of .kconfig"),
        "{ran:?}"
    );
    assert!(ran.stderr.ends_with("\n    make it a `const volatile` global and set it before loading\n"), "{ran:?}");
}

fn missing() {
    let ran = sklookup(&["test", case("missing", "gone.o").to_str().unwrap()]);
    assert_eq!(ran.exit, 2, "{ran:?}");
    assert!(ran.stderr.contains("program p, object \"gone.o\": no such file or directory\n"), "{ran:?}");
    assert!(ran.stderr.ends_with("    name an object file, from the directory of the case file\n"), "{ran:?}");
}
