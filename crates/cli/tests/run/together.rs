//! Several runs at once, and beside an applied policy.

use sklookup_testbed::{Sandbox, Trial, kernel_trial};

use crate::under_test::{Run, assert_clean, server, sklookup, tcp};

pub fn trials() -> Vec<Trial> {
    vec![
        kernel_trial("two_runs_serve_side_by_side", side_by_side),
        kernel_trial("runs_that_conflict_are_refused_and_both_are_named", conflict),
        kernel_trial("a_policy_that_is_replaced_leaves_a_run_its_bindings", replaced),
        kernel_trial("of_two_runs_for_one_binding_at_the_same_moment_one_serves_and_the_other_is_told", at_once),
        kernel_trial("a_policy_that_is_emptied_leaves_a_run_its_bindings", emptied),
        kernel_trial("a_run_whose_steering_is_taken_away_leaves_it_so", taken_away),
        kernel_trial("a_policy_applied_after_an_unload_is_not_the_runs_to_change", applied_after_unload),
    ]
}

fn side_by_side(sandbox: &Sandbox) {
    let wide = Run::steering(&["--bind", "tcp 127.7.0.0/16 80"], &server("wide", &["tcp 127.0.0.1:8080"]));
    let long = Run::steering(&["--bind", "tcp 127.7.7.0/24 80"], &server("long", &["tcp 127.0.0.1:8081"]));
    assert_eq!(tcp("127.7.0.1:80").unwrap(), "wide");
    assert_eq!(tcp("127.7.7.1:80").unwrap(), "long");
    long.end();
    assert_eq!(tcp("127.7.7.1:80").unwrap(), "wide");
    wide.end();
    assert!(tcp("127.7.0.1:80").is_err());
    assert_clean(sandbox);
}

fn conflict(sandbox: &Sandbox) {
    let first = Run::steering(&["--bind", "tcp 127.7.0.0/16 80-89"], &server("first", &["tcp 127.0.0.1:8080"]));
    let started = sandbox.scratch.join("started");
    let second = ["touch".to_owned(), started.to_str().unwrap().to_owned()];
    let ended = Run::start(&["--bind", "tcp 127.7.0.0/16 85-94"], &second).wait();
    assert_eq!(ended.code, Some(125), "{ended:?}");
    assert!(ended.stderr.contains("127.7.0.0/16 80-89"), "{ended:?}");
    assert!(ended.stderr.contains("127.7.0.0/16 85-94"), "{ended:?}");
    assert!(!started.exists());
    assert_eq!(tcp("127.7.0.1:85").unwrap(), "first");
    first.end();
    assert_clean(sandbox);
}

fn replaced(sandbox: &Sandbox) {
    let apply = |text: &str| {
        let file = sandbox.scratch.join("policy.toml");
        std::fs::write(&file, text).unwrap();
        let applied = sklookup(&["apply", file.to_str().unwrap(), "--allow", "shrink"]).output().unwrap();
        assert!(applied.status.success(), "{applied:?}");
    };
    let export = || String::from_utf8(sklookup(&["export"]).output().unwrap().stdout).unwrap();
    apply("bindings = ['web tcp 127.8.0.0/16 80']");
    let run = Run::steering(&["--bind", "tcp 127.7.0.0/16 80"], &server("run", &["tcp 127.0.0.1:8080"]));
    apply("bindings = ['other tcp 127.8.0.0/16 80']");
    assert_eq!(tcp("127.7.0.1:80").unwrap(), "run");
    assert!(export().contains("other tcp 127.8.0.0/16 80"));
    run.end();
    assert!(tcp("127.7.0.1:80").is_err());
    assert!(export().contains("other tcp 127.8.0.0/16 80"), "what others applied stays");
    assert!(sklookup(&["unload"]).output().unwrap().status.success());
    assert_clean(sandbox);
}

fn taken_away(sandbox: &Sandbox) {
    let mut run = Run::steering(&["--bind", "tcp 127.7.0.0/16 80"], &server("web", &["tcp 127.0.0.1:8080"]));
    assert!(sklookup(&["unload"]).output().unwrap().status.success());
    run.tell("close");
    run.tell("tcp 127.0.0.1:8080");
    run.hear("sklookup: the bindings of this run were taken away");
    assert_eq!(tcp("127.0.0.1:8080").unwrap(), "web");
    assert!(tcp("127.7.0.1:80").is_err());
    assert_clean(sandbox);
    assert_eq!(run.end().code, Some(0));
}

fn at_once(sandbox: &Sandbox) {
    let bind = ["--bind", "tcp 127.7.0.0/16 80"];
    for _ in 0..5 {
        let mut runs: Vec<Run> =
            (0..2).map(|n| Run::start(&bind, &server("web", &[&format!("tcp 127.0.0.1:{}", 8080 + n)]))).collect();
        // Whichever was faster: the other one's server is started in vain at most.
        let loser = loop {
            let ended = runs.iter_mut().position(|run| run.child.try_wait().unwrap().is_some());
            match ended {
                Some(loser) => break runs.swap_remove(loser).wait(),
                None => std::thread::yield_now(),
            }
        };
        assert_eq!((loser.code, loser.stderr.contains("conflicts")), (Some(125), true), "{loser:?}");
        let mut winner = runs.remove(0);
        winner.hear("sklookup: steering ");
        assert_eq!(tcp("127.7.0.1:80").unwrap(), "web");
        assert_eq!(winner.end().code, Some(0));
        assert_clean(sandbox);
    }
}

fn emptied(sandbox: &Sandbox) {
    let file = sandbox.scratch.join("empty.toml");
    std::fs::write(&file, "").unwrap();
    assert!(sklookup(&["bind", "web", "tcp", "127.8.0.0/16", "80"]).output().unwrap().status.success());
    let run = Run::steering(&["--bind", "tcp 127.7.0.0/16 80"], &server("run", &["tcp 127.0.0.1:8080"]));
    let applied = sklookup(&["apply", file.to_str().unwrap(), "--allow", "empty"]).output().unwrap();
    assert!(applied.status.success(), "{applied:?}");
    assert_eq!(tcp("127.7.0.1:80").unwrap(), "run");
    let exported = sklookup(&["export"]).output().unwrap().stdout;
    assert_eq!(String::from_utf8(exported).unwrap(), "bindings = [\n]\n");
    assert_eq!(run.end().code, Some(0));
    // The empty policy was applied on purpose; the run takes away what is its own.
    assert!(tcp("127.7.0.1:80").is_err());
    let _ = sklookup(&["unload"]).output().unwrap();
    assert_clean(sandbox);
}

fn applied_after_unload(sandbox: &Sandbox) {
    let mut run = Run::steering(&["--bind", "tcp 127.7.0.0/16 80"], &server("run", &["tcp 127.0.0.1:8080"]));
    assert!(sklookup(&["unload"]).output().unwrap().status.success());
    // Without anything happening to its server, too.
    run.hear("sklookup: the bindings of this run were taken away");
    assert!(sklookup(&["bind", "pass", "tcp", "127.7.0.0/16", "80"]).output().unwrap().status.success());
    assert!(tcp("127.7.0.1:80").is_err());
    assert_eq!(run.end().code, Some(0));
    let listed = String::from_utf8(sklookup(&["list"]).output().unwrap().stdout).unwrap();
    assert!(listed.starts_with("pass tcp 127.7.0.0/16 80 ") && listed.lines().count() == 1, "{listed}");
    assert!(sklookup(&["unload"]).output().unwrap().status.success());
    assert_clean(sandbox);
}
