//! What the README says, as it says it, and the policies under `examples/`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use sklookup_testbed::{Sandbox, kernel_trial, plain_trial};

fn main() {
    sklookup_testbed::main(vec![
        plain_trial("every_example_policy_is_right", examples_are_right),
        plain_trial("the_policy_in_the_readme_is_right", readme_policy_is_right),
        plain_trial("every_command_in_the_readme_exists", commands_exist),
        kernel_trial("the_first_success_of_the_readme_works_as_typed", first_success),
    ]);
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn sklookup(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sklookup")).args(arguments).output().unwrap()
}

/// The fenced blocks of a language in the README.
fn blocks(language: &str) -> Vec<String> {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let fence = format!("```{language}\n");
    readme.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

fn examples_are_right() {
    let mut checked = 0;
    for entry in std::fs::read_dir(root().join("examples")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            continue; // units for systemd
        }
        let output = sklookup(&["check", path.to_str().unwrap()]);
        assert!(output.status.success(), "{}: {}", path.display(), String::from_utf8_lossy(&output.stderr));
        assert!(output.stderr.is_empty(), "{}: {}", path.display(), String::from_utf8_lossy(&output.stderr));
        checked += 1;
    }
    assert!(checked >= 4, "only {checked} examples were found");
}

fn readme_policy_is_right() {
    for policy in blocks("toml") {
        let mut child = Command::new(env!("CARGO_BIN_EXE_sklookup"))
            .args(["check", "-"])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(policy.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

fn commands_exist() {
    let mut seen = 0;
    for line in blocks("sh").iter().flat_map(|block| block.lines()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        for pair in words.windows(2).filter(|pair| pair[0] == "sklookup" || pair[0].ends_with("/sklookup")) {
            let output = sklookup(&[pair[1], "--help"]);
            assert!(output.status.success(), "{line}");
            seen += 1;
        }
    }
    assert!(seen >= 8, "only {seen} commands were found");
}

/// The command that starts with `sudo target/release/sklookup run`, then the one that starts with `curl`.
fn first_success(_: &Sandbox) {
    let lines: Vec<String> = blocks("sh").iter().flat_map(|block| block.lines()).map(str::to_owned).collect();
    // `.ci/run` sees to it that this has no fault door. With examples or tests built beside it, it would have.
    assert!(lines.iter().any(|line| line == "cargo build --release"));
    let run = lines.iter().find(|line| line.contains("sklookup run")).expect("the README starts a server");
    let run = run.strip_prefix("sudo target/release/sklookup ").expect("as root, from the build");
    let hello = std::env::current_exe().unwrap().with_file_name("").join("../hello");
    assert!(hello.exists(), "built with all tests, not with those of one package: cargo build");
    let run = run.replace("target/release/hello", hello.to_str().unwrap());
    let url = lines.iter().find_map(|line| line.strip_prefix("curl ")).expect("the README asks the server");
    let answer = blocks("text").first().unwrap().clone();

    // Through a shell, for the quotes are part of what is typed; `exec`, so that the signal reaches sklookup.
    let mut child = Command::new("sh")
        .args(["-c", &format!("exec {} {run}", env!("CARGO_BIN_EXE_sklookup"))])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    while !said.contains("sklookup: steering") {
        assert_ne!(stderr.read_line(&mut said).unwrap(), 0, "it ended without steering: {said}");
    }

    let address = url.strip_prefix("http://").unwrap().trim_end_matches('/');
    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut page = String::new();
    client.read_to_string(&mut page).unwrap();
    assert!(page.ends_with(&answer), "{page:?} does not end with {answer:?}");

    let pid = rustix::process::Pid::from_raw(child.id() as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    child.wait().unwrap();
    assert!(TcpStream::connect(address).is_err(), "Ctrl-C takes all of it back");
}
