//! `upgrade`: the applied policy as this version compiles it; and what every command says to state of another version.

#[path = "../command/mod.rs"]
mod command;
#[path = "../services/mod.rs"]
mod services;

use serde_json::json;
use sklookup_bpf::MapSpec;
use sklookup_kernel::{Map, Sandbox, bpffs};
use sklookup_steering::STATE_VERSION;
use sklookup_testbed::kernel_trial;

use command::{document, sklookup};
use services::{REFUSED, Server, reached};

fn main() {
    sklookup_testbed::main(vec![
        kernel_trial("an_upgrade_keeps_sockets_counts_and_origins", keeps),
        kernel_trial("a_dry_run_changes_nothing", dry_run),
        kernel_trial("where_nothing_is_steered_nothing_is_to_be_done", nothing),
        kernel_trial("every_command_says_what_to_do_about_state_of_a_newer_version", newer),
    ]);
}

fn bind(binding: &str) {
    let ran = sklookup(&[&["bind"], &binding.split(' ').collect::<Vec<_>>()[..]].concat());
    assert_eq!(ran.exit, 0, "{binding}: {ran:?}");
}

fn keeps(_: &Sandbox) {
    bind("web tcp 127.7.0.0/16 80");
    let server = Server::registered("web", "tcp 127.0.0.1:0");
    let packet = "tcp 127.0.0.1 > 127.7.0.1:80";
    assert_eq!(reached(&[&server], packet), "web");
    let before = document(&["list"]).1;
    assert_eq!(before["bindings"][0]["counts"]["hits"], 1);
    let (exit, upgraded) = document(&["upgrade"]);
    assert_eq!((exit, &upgraded["before"]["layout"]), (0, &json!(STATE_VERSION)), "{upgraded}");
    assert_eq!(document(&["list"]).1, before);
    let status = document(&["status"]).1;
    assert_eq!(
        (&status["generation"], &status["policy"]["parent"]),
        (&upgraded["generation"], &upgraded["before"]["generation"])
    );
    assert_eq!(status["litter"], json!([]));
    assert_eq!(reached(&[&server], packet), "web");
    drop(server);
    let ran = sklookup(&["upgrade"]);
    assert!(ran.exit == 0 && ran.stderr.is_empty() && ran.stdout.contains("has its 1 binding\n"), "{ran:?}");
}

fn dry_run(_: &Sandbox) {
    bind("refuse tcp 127.7.0.0/16 80");
    let id = document(&["status"]).1["generation"].clone();
    let ran = sklookup(&["upgrade", "--dry-run"]);
    assert!(ran.exit == 0 && ran.stdout.ends_with("nothing was changed (--dry-run)\n"), "{ran:?}");
    assert_eq!(document(&["status"]).1["generation"], id);
    assert_eq!(reached(&[], "tcp 127.0.0.1 > 127.7.0.1:80"), REFUSED);
}

fn nothing(sandbox: &Sandbox) {
    for arguments in [&["upgrade"][..], &["upgrade", "--dry-run"]] {
        let ran = sklookup(arguments);
        assert_eq!((ran.exit, ran.stderr.as_str()), (0, ""));
        assert_eq!(ran.stdout, "nothing is steered here: nothing to compile anew\n");
    }
    assert!(!sandbox.bpffs.join("sklookup").exists());
}

fn newer(sandbox: &Sandbox) {
    bind("web tcp 127.7.0.0/16 80");
    let state = sandbox.bpffs.join("sklookup").join(sandbox.netns.inode().to_string());
    let text = state.join("current").canonicalize().unwrap().join("policy");
    bpffs::unlink(&text).unwrap();
    let newer = b"sklookup-state 99\nwriter 9.9\n".to_vec();
    Map::create(&MapSpec::table("sklookup_policy", newer)).unwrap().pin(&text).unwrap();
    let policy = sandbox.scratch.join("policy.toml");
    std::fs::write(&policy, "bindings = ['web tcp 127.8.0.0/16 80']").unwrap();
    let policy = policy.to_str().unwrap();
    let server = Server::open("web", "tcp 127.0.0.1:0");
    let (pid, socket) = (std::process::id().to_string(), server.described());
    for (arguments, exit) in [
        (&["apply", policy][..], 2),
        (&["apply", "--dry-run", policy], 2),
        (&["bind", "web", "tcp", "127.8.0.0/16"], 2),
        (&["unbind", "web", "tcp", "127.7.0.0/16", "80"], 2),
        (&["register", "web", "--pid", &pid, "--match", &socket], 2),
        (&["register", "new", "--pid", &pid, "--match", &socket], 2),
        (&["unregister", "web"], 2),
        (&["run", "--bind", "tcp 127.8.0.0/16 80", "--", "touch", "/run/started"], 125),
        (&["status"], 2),
        (&["list"], 2),
        (&["export"], 2),
        (&["diff", policy], 2),
        (&["upgrade"], 2),
        (&["upgrade", "--dry-run"], 2),
        (&["doctor"], 1),
    ] {
        let ran = sklookup(arguments);
        assert_eq!(ran.exit, exit, "{arguments:?}: {ran:?}");
        let said = format!("{}{}", ran.stdout, ran.stderr);
        for words in ["this state has layout version 99; this sklookup reads up to", "use the newer sklookup, or "] {
            assert!(said.contains(words), "{arguments:?}: {ran:?}");
        }
    }
    assert!(!sandbox.scratch.join("started").exists());
    assert_eq!(reached(&[&server], "tcp 127.0.0.1 > 127.7.0.1:80"), REFUSED, "nothing was put under the label");
    // The way out that is always there.
    assert_eq!(sklookup(&["unload", "--dry-run"]).stdout, "steering would be taken away; nothing was changed\n");
    assert_eq!(sklookup(&["unload"]).exit, 0);
    assert!(!sandbox.bpffs.join("sklookup").exists());
}
