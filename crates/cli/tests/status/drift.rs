//! What is in effect and should not be, or the other way round, is named, difference by difference.

use serde_json::Value;
use sklookup_bpf::{Builder, ProgramSpec, Reg, abi};
use sklookup_kernel::{Link, Program, Sandbox, bpffs};
use sklookup_testbed::{Trial, kernel_trial};

use crate::command::{document, sklookup};
use crate::world::{bind, findings, tcp_server};

pub fn trials() -> Vec<Trial> {
    vec![
        kernel_trial("each_binding_that_only_the_file_or_only_the_kernel_has_is_named_with_where_it_is_from", file),
        kernel_trial("where_nothing_is_steered_no_binding_of_the_file_is_applied", nothing),
        kernel_trial("a_file_that_is_wrong_is_no_answer", wrong),
        kernel_trial("a_program_of_others_under_our_link_is_named_and_unload_takes_the_link_back", replaced),
        kernel_trial("a_pin_that_holds_another_program_is_named_and_unload_mends_it", exchanged),
    ]
}

fn write(sandbox: &Sandbox, bindings: &[&str]) -> String {
    let path = sandbox.scratch.join("policy.toml");
    let lines: Vec<String> = bindings.iter().map(|binding| format!("  '{binding}',\n")).collect();
    std::fs::write(&path, format!("bindings = [\n{}]\n", lines.concat())).unwrap();
    path.to_str().unwrap().to_owned()
}

/// The differences of a kind.
fn of_kind<'a>(status: &'a Value, kind: &str) -> Vec<&'a str> {
    let warnings = status["warnings"].as_array().map_or(&[][..], Vec::as_slice);
    let of_kind = warnings.iter().filter(|warning| warning["kind"] == kind);
    of_kind.map(|warning| warning["message"].as_str().unwrap()).collect()
}

/// What the doctor found of something.
fn doctor(arguments: &[&str], what: &str) -> (i32, Value) {
    let (exit, answer) = document(&[&["doctor"], arguments].concat());
    let checks = answer["checks"].as_array().unwrap();
    (exit, checks.iter().find(|check| check["what"] == what).cloned().unwrap_or_default())
}

fn file(sandbox: &Sandbox) {
    let path = write(sandbox, &["web tcp 127.7.0.0/16 80", "pass tcp 127.7.0.1 22"]);
    assert_eq!(sklookup(&["apply", &path]).exit, 0);
    let _server = tcp_server("web", "127.0.0.1");
    let status = |file: &str| document(&["status", "--policy", file]);
    let (exit, same) = status(&path);
    assert_eq!((exit, findings(&same)), (0, vec![]));
    assert_eq!(doctor(&["--policy", &path], "policy file").1["result"], "fine");

    write(sandbox, &["refuse tcp 127.7.0.0/16 80", "pass tcp 127.7.0.1 25"]);
    let (exit, drifted) = status(&path);
    assert_eq!(exit, 1);
    assert_eq!(
        of_kind(&drifted, "not-applied"),
        [
            format!("{path}:3: `pass tcp 127.7.0.1 25` is not applied"),
            format!("{path}:2: `refuse tcp 127.7.0.0/16 80` is applied as `web tcp 127.7.0.0/16 80`"),
        ]
    );
    let gone = format!("{path}: does not have `pass tcp 127.7.0.1 22`, which is applied, from {path}:3");
    assert_eq!(of_kind(&drifted, "not-in-file"), [gone]);
    assert_eq!(findings(&drifted).len(), 3, "{drifted}");
    let told = sklookup(&["status", "--policy", &path]);
    assert!(told.exit == 1 && told.stderr.contains(&format!("`sklookup apply {path}` does it")), "{told:?}");
    // It is no reason why steering could not work.
    let (exit, check) = doctor(&["--policy", &path], "policy file");
    assert_eq!((exit, &check["result"]), (0, &"poor".into()));
    assert_eq!(check["found"], format!("{path}: 2 bindings not applied as written, 1 applied that it does not have"));
    assert_eq!(sklookup(&["status"]).exit, 0, "nobody asked about the file");

    bind("web tcp 127.9.0.0/16 80");
    let (_, bound) = status(&path);
    assert!(of_kind(&bound, "not-in-file")[1].ends_with("from `sklookup bind web tcp 127.9.0.0/16 80`"), "{bound}");
    assert_eq!(sklookup(&["apply", &path, "--allow", "shrink"]).exit, 0);
    assert_eq!(status(&path).0, 0);
}

fn nothing(sandbox: &Sandbox) {
    let path = write(sandbox, &["web tcp 127.7.0.0/16 80"]);
    let (exit, status) = document(&["status", "--policy", &path]);
    assert_eq!((exit, of_kind(&status, "not-applied").len()), (1, 1), "{status}");
    let empty = write(sandbox, &[]);
    assert_eq!(document(&["status", "--policy", &empty]).0, 0);
}

fn wrong(sandbox: &Sandbox) {
    bind("pass tcp 127.7.0.0/16 80");
    let path = write(sandbox, &["web xyz 127.7.0.0/16 80"]);
    for command in ["status", "doctor"] {
        let ran = sklookup(&[command, "--policy", &path]);
        assert!(ran.exit == 2 && ran.stdout.is_empty() && ran.stderr.contains("policy.toml:2: "), "{ran:?}");
    }
}

fn other() -> Program {
    let mut b = Builder::new();
    b.mov(Reg::R0, abi::SK_PASS);
    b.exit();
    Program::load(&ProgramSpec::sk_lookup("other", b.finish().unwrap(), Vec::new()), &[]).unwrap()
}

fn replaced(sandbox: &Sandbox) {
    bind("refuse tcp 127.7.0.0/16 80");
    let state = sandbox.bpffs.join("sklookup").join(sandbox.netns.inode().to_string());
    let theirs = other();
    Link::open(&state.join("link")).unwrap().update_any(&theirs).unwrap();
    let (exit, status) = document(&["status"]);
    assert_eq!((exit, &status["steering"], &status["generation"]), (1, &"replaced".into(), &Value::Null));
    let said = of_kind(&status, "replaced");
    assert!(said[0].contains(&format!("runs program {}, which is no generation of ours", theirs.id())), "{said:?}");
    let told = sklookup(&["status"]);
    assert!(told.stdout.contains(&format!("runs program {}, which is not ours", theirs.id())), "{told:?}");
    let (exit, check) = doctor(&[], "applied policy");
    assert_eq!((exit, &check["result"]), (1, &"broken".into()));
    // As the help says.
    assert_eq!(sklookup(&["unload"]).exit, 0);
    bind("refuse tcp 127.7.0.0/16 80");
    assert_eq!(sklookup(&["status"]).exit, 0);
}

fn exchanged(sandbox: &Sandbox) {
    bind("refuse tcp 127.7.0.0/16 80");
    let state = sandbox.bpffs.join("sklookup").join(sandbox.netns.inode().to_string());
    let (_, status) = document(&["status"]);
    let pin = state.join(format!("gen-{}", status["generation"])).join("program");
    bpffs::unlink(&pin).unwrap();
    let theirs = other();
    theirs.pin(&pin).unwrap();
    let (exit, status) = document(&["status"]);
    assert_eq!((exit, &status["steering"]), (1, &"live".into()));
    let said = of_kind(&status, "replaced");
    assert!(said[0].ends_with(&format!("holds program {}: somebody exchanged it", theirs.id())), "{said:?}");
    assert_eq!(sklookup(&["unload"]).exit, 0);
    bind("refuse tcp 127.7.0.0/16 80");
    assert_eq!(sklookup(&["status"]).exit, 0);
}
