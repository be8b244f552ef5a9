//! `sklookup test`: what it says and how it exits.

#[path = "command/mod.rs"]
mod command;

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};

use sklookup_testbed::{Sandbox, kernel_trial, plain_trial};

use command::{Ran, document, sklookup};

fn main() {
    sklookup_testbed::main(vec![
        plain_trial("cases_that_hold_exit_0", holds),
        plain_trial("a_case_that_does_not_hold_exits_1_and_says_how_to_run_it_again", does_not_hold),
        plain_trial("one_case_is_run_by_its_name", by_name),
        plain_trial("what_can_not_be_run_exits_2", can_not_be_run),
        plain_trial("the_files_of_a_directory_are_read_and_all_mistakes_are_told", directories),
        kernel_trial("an_ordinary_user_has_the_engine", ordinary_user),
        kernel_trial("both_executors_are_asked", both),
    ])
}

const HOLDS: &str = r#"
[[case]]
name = "a-listener-gets-it"
socket.A = "tcp 127.0.0.1:7007"
step = [{ packet = "tcp 127.0.0.1:* > 127.0.0.1:7007", expect = "A" }]
"#;

const DOES_NOT_HOLD: &str = r#"
[[case]]
name = "nobody-listens!"
socket.A = "tcp 127.0.0.1:7007"
step = [
    { packet = "tcp 127.0.0.1:* > 127.0.0.1:7007", expect = "A" },
    { packet = "tcp 127.0.0.1:* > 127.0.0.1:7008", expect = "A" },
]
"#;

/// Writes a case file into a directory of this test's own.
fn file(test: &str, name: &str, text: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

fn test(path: &Path, arguments: &[&str]) -> Ran {
    sklookup(&[&["test", path.to_str().unwrap()], arguments].concat())
}

fn holds() {
    let ran = test(&file("holds", "c.toml", HOLDS), &["--on", "engine"]);
    assert_eq!((ran.exit, ran.stdout.as_str(), ran.stderr.as_str()), (0, "1 passed, 0 failed, 0 skipped\n", ""));
}

fn does_not_hold() {
    let path = file("does_not_hold", "c.toml", &[HOLDS, DOES_NOT_HOLD].concat());
    let ran = test(&path, &["--on", "engine"]);
    assert_eq!(ran.exit, 1, "{ran:?}");
    let shown = path.display();
    let expected = "tcp 127.0.0.1:* > 127.0.0.1:7008: expected A, got reset";
    assert!(ran.stdout.contains(&format!("{shown}:12: nobody-listens! @ engine failed: {expected}\n")), "{ran:?}");
    assert!(ran.stdout.contains("wildcard search"), "the steps of the lookup are shown: {ran:?}");
    let again = format!("    again: sklookup test {shown} --case 'nobody-listens!' --on engine\n");
    assert!(ran.stdout.contains(&again), "{ran:?}");
    assert!(ran.stdout.ends_with("1 passed, 1 failed, 0 skipped\n"), "{ran:?}");
}

fn by_name() {
    let path = file("by_name", "c.toml", &[HOLDS, DOES_NOT_HOLD].concat());
    let ran = test(&path, &["--on", "engine", "--case", "a-listener-gets-it"]);
    assert_eq!((ran.exit, ran.stdout.as_str()), (0, "1 passed, 0 failed, 0 skipped\n"));
    let ran = test(&path, &["--on", "engine", "--case", "another"]);
    assert_eq!(ran.exit, 2);
    assert!(ran.stderr.starts_with("sklookup: no case is called another; 2 others are\n    "), "{ran:?}");
}

fn can_not_be_run() {
    for (path, told) in [
        (PathBuf::from("/no/such/file"), "/no/such/file: no such file or directory\n    name a case file"),
        (file("can_not_be_run", "empty.toml", ""), "there is no case in what was named\n    docs/cases.md"),
        (file("can_not_be_run", "wrong.toml", "[[case]]\nname = 7"), "case \"\": name is 7\n"),
        (file("can_not_be_run", "binary.toml", "\u{0}"), "is not TOML"),
    ] {
        let ran = test(&path, &[]);
        assert_eq!((ran.exit, ran.stdout.as_str()), (2, ""), "{ran:?}");
        assert!(ran.stderr.starts_with("sklookup: ") && ran.stderr.contains(told), "{ran:?}");
    }
}

fn directories() {
    let path = file("directories/within", "a.toml", HOLDS);
    file("directories", "notes.txt", "[[case");
    let directory = path.parent().unwrap().parent().unwrap();
    assert_eq!(test(directory, &["--on", "engine"]).stdout, "1 passed, 0 failed, 0 skipped\n");
    file("directories", "b.toml", "[[case]]\nname = \"b\"");
    file("directories", "c.toml", "[[case]]\nname = \"c\"\nsocket.A = 7\nstep = []");
    let ran = test(directory, &["--on", "engine"]);
    assert_eq!(ran.exit, 2);
    assert!(ran.stderr.contains("b.toml:1: case \"b\"") && ran.stderr.contains("c.toml:3: case \"c\""), "{ran:?}");
    std::fs::remove_dir_all(directory).unwrap();
}

fn ordinary_user(sandbox: &Sandbox) {
    // The build directory may be closed to others.
    let copy = sandbox.scratch.join("sklookup");
    sklookup_testbed::copy_program(env!("CARGO_BIN_EXE_sklookup"), &copy);
    let cases = sandbox.scratch.join("c.toml");
    std::fs::write(&cases, HOLDS).unwrap();
    let run = |on: &str| {
        let mut command = std::process::Command::new(&copy);
        Ran::from(command.arg("test").arg(&cases).args(["--on", on]).uid(65534).gid(65534).output().unwrap())
    };
    let alone = run("kernel");
    assert_eq!((alone.exit, alone.stdout.as_str()), (2, ""));
    assert!(alone.stderr.starts_with("sklookup: no case could run: 1 skipped: kernel: "), "{alone:?}");
    let both = run("both");
    assert_eq!(both.exit, 0);
    assert!(both.stdout.starts_with("1 passed, 0 failed, 1 skipped\n  1 skipped: kernel: "), "{both:?}");
}

fn both(sandbox: &Sandbox) {
    let cases = sandbox.scratch.join("c.toml");
    std::fs::write(&cases, [HOLDS, DOES_NOT_HOLD].concat()).unwrap();
    let (exit, answer) = document(&["test", cases.to_str().unwrap()]);
    assert_eq!((exit, &answer["passed"], &answer["failed"]), (1, &2.into(), &2.into()), "{answer}");
    let ran: Vec<&str> = answer["cases"].as_array().unwrap().iter().map(|row| row["on"].as_str().unwrap()).collect();
    assert_eq!(ran, ["engine", "kernel", "engine", "kernel"]);
}
