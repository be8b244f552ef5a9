//! `--textfile`: a file that is whole at every moment.

use std::os::unix::fs::{PermissionsExt, symlink};

use sklookup_testbed::{CapabilitySet, Rights, Sandbox, Trial, copy_program, kernel_trial};

use crate::command::{document, sklookup};
use crate::world::{bind, send, value};

pub fn trials() -> Vec<Trial> {
    vec![
        kernel_trial("textfile::it_is_replaced_and_everybody_may_read_it", replaced),
        kernel_trial("textfile::what_can_not_be_read_is_said_in_the_file", unreadable),
        kernel_trial("textfile::a_directory_that_is_not_there_is_named", nowhere),
    ]
}

fn replaced(sandbox: &Sandbox) {
    bind("dns udp 127.7.0.0/16 53");
    let directory = sandbox.scratch.join("node");
    std::fs::create_dir(&directory).unwrap();
    let file = directory.join("sklookup.prom");
    let elsewhere = sandbox.scratch.join("elsewhere");
    std::fs::write(&elsewhere, "precious").unwrap();
    // Whoever owns the directory does not get us to write elsewhere.
    symlink(&elsewhere, &file).unwrap();
    let path = file.to_str().unwrap();
    for runs in [0.0, 1.0] {
        let (exit, written) = document(&["metrics", "--textfile", path]);
        let text = std::fs::read_to_string(&file).unwrap();
        assert_eq!((exit, written["bytes"].as_u64()), (0, Some(text.len() as u64)));
        assert_eq!(value(&text, r#"sklookup_hook_runs_total{label="dns",outcome="steer"}"#), runs);
        send("127.7.0.1:53");
    }
    let found = std::fs::symlink_metadata(&file).unwrap();
    assert!(found.is_file() && found.permissions().mode() & 0o777 == 0o644, "{found:?}");
    assert_eq!(std::fs::read_to_string(&elsewhere).unwrap(), "precious");
    assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 1, "nothing unfinished is left");
    let printed = sklookup(&["metrics", "--textfile", "-"]);
    assert_eq!(value(&printed.stdout, "sklookup_up"), 1.0);
    assert!(!printed.stdout.contains("sklookup_http_"), "nobody is served");
}

fn unreadable(sandbox: &Sandbox) {
    bind("dns udp 127.7.0.0/16 53");
    let copy = sandbox.scratch.join("sklookup");
    copy_program(env!("CARGO_BIN_EXE_sklookup"), &copy);
    let nobody = Rights { uid: 65534, caps: CapabilitySet::empty() };
    let output = nobody.command(&copy).args(["metrics", "--textfile", "-"]).output().unwrap();
    let (text, said) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!((output.status.code(), value(&text, "sklookup_up")), (Some(2), 0.0));
    assert!(said.contains("EACCES"), "{said}");
}

fn nowhere(sandbox: &Sandbox) {
    let path = sandbox.scratch.join("no/such/directory.prom");
    let ran = sklookup(&["metrics", "--textfile", path.to_str().unwrap()]);
    assert!(ran.exit == 2 && ran.stderr.contains("no/such") && ran.stderr.contains("has to be there"), "{ran:?}");
}
