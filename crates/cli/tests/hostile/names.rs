//! Names that would command a terminal, wherever a stranger can put one.

use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::process::Output;

use sklookup_kernel::{Sockmap, bpffs, interface};
use sklookup_testbed::{Sandbox, Trial, kernel_trial};

use crate::rename::{ADDRESS, Renamed};
use crate::world::{command, every_command, policy, testdata};

pub fn trials() -> Vec<Trial> {
    vec![
        kernel_trial("no_name_of_anything_commands_the_terminal", everywhere),
        kernel_trial("nothing_typed_commands_the_terminal", typed),
    ]
}

/// Clears a screen in two ways, sets a title, rings, moves back, turns the direction of writing, and has no width.
const EVIL: &str = "\u{1b}[2J\u{9b}2J\u{7}\r\u{8}\u{202e}\u{200b}\u{7f}";

/// Runs a command and makes sure that a terminal shows what it says, and obeys none of it.
fn harmless(words: &[&str]) -> Output {
    let ran = command(words).output().unwrap();
    for bytes in [&ran.stdout, &ran.stderr] {
        let text = std::str::from_utf8(bytes).unwrap_or_else(|error| panic!("{words:?}: {error}"));
        let obeyed = |c: char| c != '\n' && (c.is_control() || ['\u{202e}', '\u{200b}'].contains(&c));
        assert!(!text.contains(obeyed), "{words:?}: {text:?}");
    }
    if words.contains(&"--json") {
        serde_json::from_slice::<serde_json::Value>(&ran.stdout).unwrap_or_else(|error| panic!("{words:?}: {error}"));
    }
    ran
}

fn both(words: &[&str]) {
    harmless(words);
    harmless(&[&["--json"], words].concat());
}

fn everywhere(sandbox: &Sandbox) {
    let text = "bindings = [\"web tcp 127.7.0.0/16 80\"]";
    let policy = policy(sandbox, &format!("{EVIL}.toml"), text);
    // At most 15 bytes, and no blank.
    let server = Renamed::new("x\u{1b}[2J\u{9b}2J\u{202e}\r");
    interface::add_veth("\u{1b}[2Ja", "\u{202e}\u{9b}b").unwrap();
    for name in ["link", "stranger"] {
        bpffs::create_dir(&sandbox.bpffs.join(format!("{name}{}", EVIL.replace('.', ""))), 0o711).unwrap();
    }
    // The usual way first, with everything in effect; then once more in each other form.
    for line in every_command(&policy, server.0.id()) {
        let words: Vec<&str> = line.iter().map(String::as_str).collect();
        let ran = match words[0] {
            // Said in the language of the shell, or of troff.
            "completions" | "man" => continue,
            _ => harmless(&words),
        };
        assert!(matches!(ran.status.code(), Some(0 | 1)), "{words:?}: {ran:?}");
        if words[0] == "unload" {
            break;
        }
        harmless(&[&["--json"], &words[..]].concat());
    }
    harmless(&["unload"]);
    recorded(sandbox);
    object(sandbox);

    // A catch names the process, a state what is wrong in it.
    both(&["bind", "web", "tcp", ADDRESS.split(':').next().unwrap(), "8080"]);
    both(&["--bpffs", &format!("{}/{EVIL}", sandbox.scratch.display()), "status"]);
    assert_eq!(harmless(&["bind", "web", "tcp", "127.7.0.0/16", "80"]).status.code(), Some(0));
    let state = sandbox.bpffs.join("sklookup").join(sandbox.netns.inode().to_string());
    let stranger = state.join(std::ffi::OsStr::from_bytes(EVIL.as_bytes()));
    bpffs::create_dir(&stranger, 0o711).unwrap();
    both(&["bind", "web", "tcp", "127.7.0.0/16", "443"]);
    both(&["doctor"]);
    both(&["status"]);
    bpffs::rmdir(&stranger).unwrap();
    // A label map that no label could have.
    let label = state.join("current").join("labels").join("=1B=5B2J");
    bpffs::pin(Sockmap::create("theirs", 1).unwrap().as_fd(), &label).unwrap();
    for words in [&["status"][..], &["list"], &["export"], &["bind", "web", "tcp", "127.7.0.0/16", "444"], &["unload"]]
    {
        both(words);
    }
    harmless(&["run", "--bind", "tcp 127.9.0.0/16 80", "--timeout", "1", "--", EVIL]);
}

/// A capture of such a name, in which an interface has another, with policies of such names; whole, and cut off.
fn recorded(sandbox: &Sandbox) {
    let capture = sandbox.scratch.join(format!("{EVIL}.pcapng"));
    let capture = capture.to_str().unwrap();
    let bytes = std::fs::read(testdata("captures/interfaces.pcapng")).unwrap();
    let nothing = policy(sandbox, &format!("{EVIL}.1"), "bindings = []");
    // Interfaces matter only where a binding asks for one.
    let bindings = "bindings = [\"a udp 192.0.2.7 53\", \"b udp 192.0.2.7 53 dev eth0\"]";
    let bindings = policy(sandbox, &format!("{EVIL}.2"), bindings);
    let words = ["replay", capture, "--policy", &bindings, "--against", &nothing];
    std::fs::write(capture, &bytes).unwrap();
    both(&words);
    let text = String::from_utf8(harmless(&words).stdout).unwrap();
    assert!(text.contains(" dev e\\u{202e}0\n"), "the name of the interface is told: {text}");
    std::fs::write(capture, &bytes[..bytes.len() - 3]).unwrap();
    both(&words);
    both(&words[..4]);
    // As TOML writes what has no place in a text.
    let label: String = EVIL.chars().map(|c| format!("\\u{:04x}", u32::from(c))).collect();
    let labels = policy(sandbox, "labels", &format!("bindings = [\"a{label} tcp 127.7.0.0/16\"]"));
    for (words, exit) in
        [(&["check", &labels][..], 1), (&["apply", &labels], 2), (&["replay", capture, "--policy", &labels], 2)]
    {
        both(words);
        assert_eq!(harmless(words).status.code(), Some(exit), "{words:?}");
    }
}

/// An object of such a name, attached under such a name.
fn object(sandbox: &Sandbox) {
    let file = sandbox.scratch.join(format!("{EVIL}.o"));
    std::fs::copy(testdata("objects/clang-19-v3/assign.o"), &file).unwrap();
    let attach = ["attach", file.to_str().unwrap(), "--name", EVIL];
    // Once for people and once for machines: the first does it, the second hears that it is done.
    for words in [&attach[..], &["programs"], &["status"], &["doctor"], &["detach", EVIL]] {
        both(words);
    }
    both(&["attach", &format!("{}/{EVIL}", sandbox.scratch.display())]);
}

fn typed(sandbox: &Sandbox) {
    let word = format!("a{EVIL}");
    let [capture, object] = ["captures/ethernet.pcap", "objects/clang-19-v3/assign.o"].map(testdata);
    let nowhere = format!("{}/{word}/{word}", sandbox.scratch.display());
    for words in [
        &["--netns", &word, "status"][..],
        &["--netns", &format!("/{word}"), "status"],
        &["--bpffs", &word, "status"],
        &["check", &word],
        &["apply", &word],
        &["diff", &word, &word],
        &["bind", &word, "tcp", "127.7.0.0/16"],
        &["bind", "web", "tcp", "127.7.0.0/16", "80", "dev", &word],
        &["bind", "web", "tcp", "127.7.0.0/16", "80", "from", &word],
        &["unbind", "web", &word],
        &["register", &word, "--pid", "1"],
        &["register", "web", "--pid", &word],
        &["register", "web", "--pid", "1", "--match", &word],
        &["unregister", &word],
        &["list", "--to", &word],
        &["list", "--label", &word],
        &["explain", &word],
        &["explain", "--to", &word],
        &["explain", "--to", "pid", &word],
        &["explain", "--ports", &word],
        &["explain", "--ports", "127.7.0.1", "dev", &word],
        &["explain", "--policy", &word, "--to", "web"],
        &["run", "--bind", &word, "--", "true"],
        &["run", "--bind", "tcp 127.9.0.0/16", "--user", &word, "--", "true"],
        &["run", "--bind", "tcp 127.9.0.0/16", "--", &word],
        &["replay", &word],
        &["replay", &capture, "--policy", &word],
        &["replay", &capture, "--policy", "/dev/null", "--against", &word],
        &["replay", &capture, "--policy", "/dev/null", "--local", &word],
        &["replay", &capture, "--policy", "/dev/null", "--dev", &word],
        &["attach", &word],
        &["attach", &object, "--program", &word],
        &["attach", &object, "--map", &word],
        &["attach", &object, "--map", &format!("{word}=kept")],
        &["attach", &object, "--socket", &word],
        &["attach", &object, "--socket", &format!("{word}[0]=1")],
        &["detach", &word],
        &["detach", "--link", &word],
        &["rollback", &word],
        &["test", &word],
        &["test", "/dev/null", "--case", &word],
        &["metrics", "--listen", &word],
        &["metrics", "--listen", &format!("unix:{nowhere}")],
        &["metrics", "--textfile", &nowhere],
        &["watch", "--rate", &word],
        &["top", "--interval", &word],
        &["completions", &word],
        &[&word],
    ] {
        both(words);
    }
}
