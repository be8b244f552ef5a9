//! Completions, asked of real shells: options, and names that only the machine knows.

#[path = "command/mod.rs"]
mod command;

use std::path::Path;
use std::process::Command;

use sklookup_kernel::Sandbox;
use sklookup_testbed::kernel_trial_with;

use command::sklookup;

fn main() {
    let shells: [(&'static str, Ask); 3] = [("bash", bash), ("zsh", zsh), ("fish", fish)];
    let trial = |(shell, ask): (&'static str, Ask)| {
        let name = format!("{shell}_completes_labels_attached_programs_and_namespaces");
        kernel_trial_with(shell, &name, move |sandbox| completes(sandbox, shell, ask))
    };
    sklookup_testbed::main(shells.map(trial).into());
}

/// Has a shell complete the last of these words, by the script in a file; answers what it offers.
type Ask = fn(script: &Path, words: &[&str]) -> Vec<String>;

fn completes(sandbox: &Sandbox, shell: &str, ask: Ask) {
    std::fs::create_dir_all("/run/netns").unwrap();
    for name in ["blue", "bluegreen", "red", "blu\u{1b}[2J"] {
        std::fs::write(format!("/run/netns/{name}"), "").unwrap();
    }
    for binding in ["web tcp 127.7.0.0/16 80", "web-admin tcp 127.7.0.1 81", "dns udp 127.7.0.1 53"] {
        assert_eq!(sklookup(&["bind", binding]).exit, 0);
    }
    let object = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/objects/clang-19-v3/assign.o");
    for name in ["edge", "edge-2", "other", "ed\u{1b}[2J"] {
        assert_eq!(sklookup(&["attach", object.to_str().unwrap(), "--name", name]).exit, 0);
    }
    let script = sandbox.scratch.join("_sklookup");
    std::fs::write(&script, sklookup(&["completions", shell]).stdout).unwrap();
    for (words, expected) in [
        (&["--netns", "b"][..], &["blue", "bluegreen"][..]),
        (&["list", "--label", "w"], &["web", "web-admin"]),
        (&["register", "d"], &["dns"]),
        (&["unregister", "web-"], &["web-admin"]),
        (&["explain", "--to", "we"], &["web", "web-admin"]),
        (&["--netns", "/proc/self/ns/net", "unregister", "d"], &["dns"]),
        (&["detach", "e"], &["edge", "edge-2"]),
        (&["--netns", "/proc/self/ns/net", "detach", "o"], &["other"]),
        (&["attach", "steer.o", "--name", "ed"], &["edge", "edge-2"]),
        (&["status", "--net"], &["--netns"]),
        (&["expl"], &["explain"]),
    ] {
        let mut offered = ask(&script, words);
        offered.sort_unstable();
        assert_eq!(offered, expected, "{shell}: {words:?}");
    }
}

/// What a shell prints, with the command that is tested in front of its path.
fn output(shell: &str, arguments: &[&str], text: &str) -> String {
    let own = Path::new(env!("CARGO_BIN_EXE_sklookup")).parent().unwrap();
    let path = format!("{}:/usr/bin:/bin", own.display());
    let ran = Command::new(shell).args(arguments).arg(text).env("PATH", path).env("TERM", "dumb").output().unwrap();
    let error = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success() && error.is_empty(), "{shell}: {error}");
    String::from_utf8(ran.stdout).unwrap()
}

fn bash(script: &Path, words: &[&str]) -> Vec<String> {
    let words = words.join(" ");
    let text = format!(
        r#"source {}
           words=(sklookup {words})
           COMP_WORDS=("${{words[@]}}") COMP_CWORD=$((${{#words[@]}} - 1))
           COMP_LINE="sklookup {words}" COMP_POINT=${{#COMP_LINE}}
           function=$(complete -p sklookup | sed 's/.*-F \([^ ]*\).*/\1/')
           $function sklookup "${{words[-1]}}" "${{words[-2]}}"
           printf '%s\n' "${{COMPREPLY[@]}}""#,
        script.display()
    );
    lines(&output("bash", &["--norc", "-c"], &text))
}

fn fish(script: &Path, words: &[&str]) -> Vec<String> {
    let text = format!("source {}; complete --do-complete 'sklookup {}'", script.display(), words.join(" "));
    // A tab and what it means follow each.
    lines(&output("fish", &["--no-config", "-c"], &text))
        .into_iter()
        .map(|line| line.split('\t').next().unwrap().to_owned())
        .collect()
}

/// zsh completes at a prompt alone: what its functions would add is caught on the way.
fn zsh(script: &Path, words: &[&str]) -> Vec<String> {
    let directory = script.parent().unwrap().display();
    let text = format!(
        r#"fpath=({directory} $fpath)
           autoload -Uz compinit && compinit -u -d {directory}/zcompdump
           zmodload zsh/zpty
           zpty shell zsh -f -i
           typeset -g out=
           zpty -w shell "PS1=; fpath=({directory} \$fpath); path=(${{(j: :)path}}); autoload -Uz compinit; compinit -u -d {directory}/zcompdump"
           zpty -w shell 'null-line () {{ zle -K main; print -rn -- DONE; exit }}; zle -N null-line'
           zpty -w shell 'compadd () {{ local -a found; builtin compadd -O found "$@"; (( ${{#found}} )) && print -rl -- "FOUND:"${{^found}}; builtin compadd "$@" }}'
           zpty -w shell 'bindkey "^M" null-line; bindkey "^J" null-line; bindkey "^I" complete-word; print RE"ADY"'
           zpty -r -m shell out '*READY*'
           zpty -w -n shell $'sklookup {}\t\n'
           zpty -r -m shell out '*DONE*'
           print -r -- "$out""#,
        words.join(" ")
    );
    let shown = output("zsh", &["-f", "-c"], &text);
    let found = shown.lines().filter_map(|line| line.split("FOUND:").nth(1));
    let mut found: Vec<String> = found.map(|name| name.trim().to_owned()).collect();
    found.sort_unstable();
    found.dedup();
    found
}

fn lines(text: &str) -> Vec<String> {
    text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}
