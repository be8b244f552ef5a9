//! Memory: what a command may use is limited, and it has to do.

use std::process::{Command, Stdio};

use sklookup_testbed::{Sandbox, Trial, kernel_trial};

use crate::command::{Ran, sklookup};
use crate::counts::policy;

pub fn trials() -> Vec<Trial> {
    vec![kernel_trial("memory::documents_of_10_000_bindings_take_no_more_than_40_mb", documents)]
}

/// What a document of 3 MB needs is a few times its text. As values it would be some 70 MB.
fn documents(sandbox: &Sandbox) {
    const KIB: &str = "40960";
    let policy = policy(sandbox, 10_000);
    assert_eq!(sklookup(&["apply", &policy]).exit, 0);
    let commands: [&[&str]; 6] = [
        &["list"],
        &["list", "--addresses"],
        &["list", "--sockets"],
        &["status"],
        &["export"],
        &["diff", "/dev/null", &policy],
    ];
    for arguments in commands {
        let ran: Ran = Command::new("sh")
            .args(["-c", "ulimit -d \"$0\" && exec \"$@\"", KIB, env!("CARGO_BIN_EXE_sklookup"), "--json"])
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap()
            .into();
        let whole = ran.stdout.starts_with("{\"version\":1,") && ran.stdout.ends_with("}\n");
        assert!(whole, "{arguments:?}: exit {}, {}", ran.exit, ran.stderr);
    }
}
